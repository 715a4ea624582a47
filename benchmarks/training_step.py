"""A training step of nncore, compared to its matrix products alone, scikit-learn, PyTorch and JAX.

``python -m benchmarks.training_step spiral tabular --threads 1 --rounds 5`` runs some of the workloads. Every
contestant has its own process. They run alternately, one at a time, and the best round counts. Our step is two
contestants: with the kernels "numpy" and "llvm".
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Any, NamedTuple

from benchmarks import machine, training_memory
from benchmarks.contestants import CONTESTANTS, WORKLOADS
from benchmarks.training_floors import RATIOS, judged, least
from benchmarks.workers import cores, worker


class Ours(NamedTuple):
    """One of our contestants: a line of the table for each workload."""

    contestant: str
    kernels: str
    package: str  # its lines are left out if this package is not installed


class Column(NamedTuple):
    """A column of the table: the contestant's time divided by ours."""

    title: str
    contestant: str
    package: str  # the column is left out if this package is not installed


OURS = (Ours("this core", "numpy", "numpy"), Ours("this core, compiled", "llvm", "llvmlite"))
COLUMNS = (
    Column("vs. products", "bare products", "numpy"),
    Column("vs. PyTorch", "torch", "torch"),
    Column("vs. scikit-learn", "scikit-learn", "sklearn"),
    Column("vs. JAX", "jax", "jax"),
)
ROUNDS = 5
#: Seconds between two rounds, after which threads that spin for more work are asleep.
PAUSE = 0.1


def main(arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Measure and print; return the machine, all times and ratios by number of threads and workload, and the floors."""
    options = _parse(arguments)
    described = machine.described()
    print(*machine.lines(described), "", sep="\n")
    kind, missing = described["kind"], _missing()
    ours = [one for one in OURS if one.kernels not in missing]
    columns = [column for column in COLUMNS if column.title not in missing]
    measured: dict[str, Any] = {}
    for threads in options.threads:
        if len(cores(threads)) < threads:
            print(f"only {len(cores(threads))} core for {threads} threads: not measured")
            continue
        print(f"threads: {threads}, each on its own core (best of {options.rounds} rounds; minimum in parentheses)")
        titles = "".join(f"{column.title:>21}" for column in columns)
        print(f"{'workload':<10}{'kernels':<8}{'µs per step':>12}{titles}")
        by_workload = measured[f"threads_{threads}"] = {}
        for name in options.workloads:
            by_workload[name] = _measure(name, threads, ours, columns, options.rounds)
            for one in ours:
                print(_line(name, one, columns, by_workload[name], kind if threads == 1 else None), flush=True)
        print()
    results = {"machine": described, **measured, "floors": judged(kind, measured, missing)}
    if "wide" in options.workloads:
        print()
        results["peak_memory"] = training_memory.main("wide")
    return results


def _missing() -> dict[str, str]:
    """Print which packages are not installed; return them by the column or the kernels that they are needed for."""
    missing = {}
    for one in OURS:
        if not find_spec(one.package):
            missing[one.kernels] = one.package
            print(f'{one.package} is not installed: no lines of the kernels "{one.kernels}"')
    for column in COLUMNS:
        if not find_spec(column.package):
            missing[column.title] = column.package
            print(f"{column.package} is not installed: no comparison with {column.contestant}")
    return missing


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.training_step")
    parser.add_argument("workloads", nargs="*", metavar="workload", help=f"of {', '.join(WORKLOADS)}; all by default")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="numbers of BLAS threads")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of each contestant")
    options = parser.parse_args(arguments)
    options.workloads = options.workloads or list(WORKLOADS)
    for name in options.workloads:
        if name not in WORKLOADS:
            parser.error(f"there is no workload {name!r}")
    if min(*options.threads, options.rounds) < 1:
        parser.error("threads and rounds must be at least 1")
    return options


def _measure(name: str, threads: int, ours: Sequence[Ours], columns: Sequence[Column], rounds: int) -> dict[str, Any]:
    """Run the contestants alternately on one workload."""
    chosen = {*(one.contestant for one in ours), *(column.contestant for column in columns)}
    times: dict[str, list[float]] = {contestant: [] for contestant in CONTESTANTS if contestant in chosen}
    with ExitStack() as stack:
        workers = {contestant: stack.enter_context(worker(contestant, name, threads)) for contestant in times}
        for _ in range(rounds):
            for contestant, one in workers.items():
                time.sleep(PAUSE)
                times[contestant].append(one.measure())
    best = {contestant: min(found) for contestant, found in times.items()}
    ratios = {
        RATIOS[one.kernels]: {column.title: best[column.contestant] / best[one.contestant] for column in columns}
        for one in ours
    }
    return {"microseconds_a_step": times, **ratios}


def _line(name: str, ours: Ours, columns: Sequence[Column], measured: dict[str, Any], kind: str | None) -> str:
    """Return a line of the table; an asterisk marks a ratio below its minimum on this kind of processor."""
    line = f"{name:<10}{ours.kernels:<8}{min(measured['microseconds_a_step'][ours.contestant]):>12,.1f}"
    for column in columns:
        ratio = measured[RATIOS[ours.kernels]][column.title]
        floor = least(kind, ours.kernels, column.title, name)
        cell = f"{ratio:.2f}"
        if floor is not None:
            cell += f"{'*' if ratio < floor else ''} ({floor:.2f})"
        line += f"{cell:>21}"
    return line


if __name__ == "__main__":
    main(sys.argv[1:])
