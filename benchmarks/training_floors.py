"""The least ratios of the training step, by kind of processor and kernels, and what a measurement says of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from benchmarks.contestants import WORKLOADS
from benchmarks.floors import Floor, report

__all__ = ["FLOORS", "RATIOS", "Cell", "judged", "least"]

#: The kinds of kernels that our step is measured with, and the key that each one's ratios have in the results.
RATIOS = {"numpy": "ratios", "llvm": "ratios_compiled"}


class Cell(NamedTuple):
    """A cell of the table that has a floor on one kind of processor."""

    kind: str
    kernels: str
    column: str
    workload: str
    floor: float


def _all(*values: float) -> dict[str, float]:
    """The floors of all workloads."""
    return dict(zip(WORKLOADS, values, strict=True))


_COMPILED = {"vs. PyTorch": _all(1.0, 1.0, 1.0, 1.0, 1.0), "vs. JAX": _all(1.0, 1.0, 0.95, 0.95, 0.95)}
#: With one thread: by kind of processor and kernels, then by column and workload. Other cells have no floor.
FLOORS: dict[tuple[str, str], dict[str, dict[str, float]]] = {
    ("AVX2", "numpy"): {
        "vs. products": _all(0.28, 0.34, 0.76, 0.85, 0.90),
        "vs. PyTorch": _all(6.5, 6.5, 1.3, 1.15, 1.0),
        "vs. scikit-learn": _all(3.8, 3.7, 1.6, 1.45, 1.4),
        "vs. JAX": _all(0.85, 0.50, 0.88, 0.90, 0.95),
    },
    ("AVX2", "llvm"): _COMPILED,
    ("AVX-512", "numpy"): {"vs. PyTorch": {"mnist-512": 1.0}, "vs. JAX": {"tabular": 0.50, "mnist-512": 0.80}},
    ("AVX-512", "llvm"): _COMPILED,
}


def least(kind: str | None, kernels: str, column: str, workload: str) -> float | None:
    """The least ratio of a cell with one thread; None if it has no floor."""
    if kind is None:
        return None
    return FLOORS.get((kind, kernels), {}).get(column, {}).get(workload)


def judged(kind: str | None, results: Mapping[str, Any], missing: Mapping[str, str]) -> dict[str, Any]:
    """Print which floors are met on a kind of processor, and which were not measured; return it as JSON can hold it.

    ``results`` has the ratios by number of threads and workload. ``missing`` has the packages that are not installed,
    by the column or the kernels that were left out for them.
    """
    print(f"floors of processors with {kind}, one thread:" if kind else "this kind of processor has no floors")
    found, unmeasured = [], []
    for cell in _cells():
        reason = _reason(cell, kind, results, missing)
        if reason:
            unmeasured.append({**cell._asdict(), "reason": reason})
        else:
            ratio = results["threads_1"][cell.workload][RATIOS[cell.kernels]][cell.column]
            found.append(Floor(f"{cell.workload}, {cell.kernels}, {cell.column}", ratio, cell.floor))
    measured = report(found)
    _print_unmeasured(unmeasured)
    for threads in (name.removeprefix("threads_") for name in results if name != "threads_1"):
        print(f"not measured against floors: ratios with {threads} threads, which have none")
    return {"kind": kind, "measured": measured, "not_measured": unmeasured}


def _cells() -> Iterator[Cell]:
    for (kind, kernels), columns in FLOORS.items():
        for column, workloads in columns.items():
            for workload, floor in workloads.items():
                yield Cell(kind, kernels, column, workload, floor)


def _reason(cell: Cell, kind: str | None, results: Mapping[str, Any], missing: Mapping[str, str]) -> str | None:
    """Why a floor was not measured; None if it was."""
    if cell.kind != kind:
        return f"of processors with {cell.kind}"
    package = missing.get(cell.kernels) or missing.get(cell.column)
    if package:
        return f"{package} is not installed"
    if "threads_1" not in results:
        return "not run with one thread"
    return None if cell.workload in results["threads_1"] else "not run"


def _print_unmeasured(cells: Iterable[Mapping[str, Any]]) -> None:
    """Print a line for each reason, kernels and column."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for cell in cells:
        groups.setdefault((cell["reason"], cell["kernels"], cell["column"]), []).append(cell["workload"])
    for (reason, kernels, column), workloads in groups.items():
        print(f"not measured ({reason})  {kernels}, {column}: {', '.join(workloads)}")
