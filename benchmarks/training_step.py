"""A training step of nncore, compared to its matrix products alone, scikit-learn, PyTorch and JAX.

``python -m benchmarks.training_step spiral tabular --threads 1 --rounds 5`` runs some of the workloads. Every
contestant has its own process. They run alternately, one at a time, and the best round counts.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Any, NamedTuple

from benchmarks import training_memory
from benchmarks.contestants import CONTESTANTS, WORKLOADS
from benchmarks.workers import cores, worker


class Column(NamedTuple):
    """A column of the table: the contestant's time divided by ours."""

    title: str
    contestant: str
    package: str  # the column is omitted if this package is not installed
    floors: dict[str, float]


def _floors(*values: float) -> dict[str, float]:
    return dict(zip(WORKLOADS, values, strict=True))


#: The columns, with the minimum ratio for each workload with one thread.
COLUMNS = (
    Column("vs. products", "bare products", "numpy", _floors(0.28, 0.34, 0.76, 0.85, 0.90)),
    Column("vs. PyTorch", "torch", "torch", _floors(6.5, 6.5, 1.3, 1.15, 1.0)),
    Column("vs. scikit-learn", "scikit-learn", "sklearn", _floors(3.8, 3.7, 1.6, 1.45, 1.4)),
    Column("vs. JAX", "jax", "jax", _floors(0.85, 0.50, 0.88, 0.90, 0.95)),
)
ROUNDS = 5
#: Seconds between two rounds, after which threads that spin for more work are asleep.
PAUSE = 0.1


def main(arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Measure and print the table; return all times and ratios by number of threads and workload."""
    options = _parse(arguments)
    columns = []
    for column in COLUMNS:
        if find_spec(column.package):
            columns.append(column)
        else:
            print(f"{column.package} is not installed: no comparison with {column.contestant}")
    results: dict[str, Any] = {}
    for threads in options.threads:
        if len(cores(threads)) < threads:
            print(f"only {len(cores(threads))} core for {threads} threads: not measured")
            continue
        print(f"threads: {threads}, each on its own core (best of {options.rounds} rounds; minimum in parentheses)")
        print(f"{'workload':<10}{'µs per step':>12}" + "".join(f"{column.title:>21}" for column in columns))
        measured = results[f"threads_{threads}"] = {}
        for name in options.workloads:
            measured[name] = _measure(name, threads, columns, options.rounds)
            print(_line(name, threads, columns, measured[name]), flush=True)
        print()
    if "wide" in options.workloads:
        results["peak_memory"] = training_memory.main("wide")
    return results


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


def _measure(name: str, threads: int, columns: Sequence[Column], rounds: int) -> dict[str, Any]:
    """Run the contestants alternately on one workload."""
    chosen = {"this core", *(column.contestant for column in columns)}
    times: dict[str, list[float]] = {contestant: [] for contestant in CONTESTANTS if contestant in chosen}
    with ExitStack() as stack:
        workers = {contestant: stack.enter_context(worker(contestant, name, threads)) for contestant in times}
        for _ in range(rounds):
            for contestant, one in workers.items():
                time.sleep(PAUSE)
                times[contestant].append(one.measure())
    ours = min(times["this core"])
    ratios = {column.title: min(times[column.contestant]) / ours for column in columns}
    return {"microseconds_a_step": times, "ratios": ratios}


def _line(name: str, threads: int, columns: Sequence[Column], measured: dict[str, Any]) -> str:
    """Return a line of the table; an asterisk marks a ratio below its minimum."""
    line = f"{name:<10}{min(measured['microseconds_a_step']['this core']):>12,.1f}"
    for column in columns:
        ratio, floor = measured["ratios"][column.title], column.floors[name]
        cell = f"{ratio:.2f}"
        if threads == 1:
            cell += f"{'*' if ratio < floor else ''} ({floor:.2f})"
        line += f"{cell:>21}"
    return line


if __name__ == "__main__":
    main(sys.argv[1:])
