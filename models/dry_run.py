"""A dry run: what a training run would take, from its sizes and a few measured steps, and what its data looks like."""

from __future__ import annotations

import statistics
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np

from models.datasets import Dataset
from models.matrices import describe
from models.training_run import DivergedError, TrainingRun, activation_bytes
from nncore.arrays import Array

__all__ = ["dry_run"]

#: Steps that are measured at the most, and the time that they may take.
STEPS, SECONDS = 20, 0.5
#: Numbers beyond this are seldom meant, and make training start badly.
LARGE = 1e4
#: Columns, classes or values that a warning names at the most.
NAMED = 5


def dry_run(run: TrainingRun, data: Dataset) -> dict[str, Any]:
    """Sizes in bytes, batches an epoch, seconds by a few steps of ``run`` (which is used up), and warnings."""
    training, optimizer = run.training, run.training.optimizer
    network = training.network
    size = network.parameters.vector.nbytes
    warnings = data_warnings(run, data)
    try:
        seconds = _seconds_a_step(run)
    except DivergedError as error:
        seconds = None
        warnings.append({"code": "diverges", "detail": str(error)})
    an_epoch = None if seconds is None else seconds * training.steps_per_epoch
    return {
        "dry_run": True,
        "model": run.definition.name,
        "parameters": run.definition.parameter_count,
        "bytes": {
            "parameters": size,
            "gradients": size,
            "moments": size * len(optimizer.vectors),
            "activations": activation_bytes(run.definition, training.batch_size),
            "data": training.data_bytes,
        },
        "rows": {"training": training.samples, "validation": 0 if run.held_out is None else len(run.held_out[0])},
        "batches_per_epoch": training.steps_per_epoch,
        "estimate": {
            "seconds_per_step": seconds,
            "seconds_per_epoch": an_epoch,
            "seconds": None if an_epoch is None else an_epoch * run.request.epochs,
        },
        "warnings": warnings,
    }


def _seconds_a_step(run: TrainingRun) -> float:
    """Median time of a few steps after the first, which warms up."""
    asked: list[float] = []

    def enough() -> bool:
        asked.append(perf_counter())
        return len(asked) > STEPS + 2 or (len(asked) > 3 and asked[-1] - asked[0] > SECONDS)

    while run.training.run_epoch(enough) is not None:
        pass
    return statistics.median(after - before for before, after in list(pairwise(asked))[1:])


def data_warnings(run: TrainingRun, data: Dataset) -> list[dict[str, str]]:
    """What of the data is probably not meant: a list of codes with a sentence each."""
    inputs, warnings = data.inputs, []

    def warn(code: str, detail: str) -> None:
        warnings.append({"code": code, "detail": detail})

    constant = [data.features[column] for column in np.flatnonzero((inputs == inputs[0]).all(axis=0))]
    if constant:
        warn("constant_columns", f"the same in every row, so nothing can be learned from them: {_some(constant)}")
    counts = np.bincount(data.labels.codes, minlength=len(data.labels.classes))
    rare = [describe(data.labels.classes[code]) for code in np.flatnonzero(counts < 2)]
    if rare:
        warn("rare_classes", f"classes with fewer than two rows: {_some(rare)}")
    large = np.argwhere(np.abs(inputs) > LARGE)
    if len(large):
        row, column = large[0].tolist()
        place = f"row {row}, {data.features[column]}: {inputs[row, column]:g}"
        warn("large_values", f"{len(large)} values lie beyond ±{LARGE:g}, the first in {place}; scale the inputs")
    shared = _shared_rows(inputs[run.rows], run.held_out[0] if run.held_out is not None else None)
    if shared:
        warn("duplicates_across_split", f"{shared} validation rows stand among the training rows too")
    return warnings


def _shared_rows(training: Array, held_out: Array | None) -> int:
    """How many held-out rows equal a training row, number by number."""
    if held_out is None:
        return 0
    known = {row.tobytes() for row in np.ascontiguousarray(training)}
    return sum(row.tobytes() in known for row in np.ascontiguousarray(held_out.astype(training.dtype)))


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
