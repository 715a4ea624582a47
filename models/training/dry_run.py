"""A dry run: what a training run would take, from its sizes and a few measured steps, and what its data looks like."""

from __future__ import annotations

import statistics
from dataclasses import replace
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np

from models.data.dataset import Dataset
from models.definition.definition import ModelDefinition
from models.errors import describe
from models.training.request import TrainingRequest
from models.training.run import TrainingRun, activation_bytes, split_rows
from nncore.arrays import Array
from nncore.training import DivergedError

__all__ = ["dry_run"]

#: Steps that are measured at the most, and the time that they may take.
STEPS, SECONDS = 20, 0.5
#: A web worker measures steps of so many multiplications, over parameters of so many bytes, and no larger ones.
WORK, BYTES = 2e9, 512 * 2**20
#: Numbers beyond this are seldom meant, and make training start badly.
LARGE = 1e4
#: Columns, classes or values that a warning names at the most.
NAMED = 5


def dry_run(
    definition: ModelDefinition, request: TrainingRequest, data: Dataset, validation: Dataset | None = None
) -> dict[str, Any]:
    """Sizes in bytes, batches an epoch, seconds by a few measured steps, and warnings about the data.

    Steps that would take long are measured with fewer rows, and the time is scaled; a network that would take much
    memory is not measured, which a warning tells.
    """
    codes = data.codes_for(definition.classes, "/data/labels")
    rows, held_out = split_rows(codes, request)
    held = data.inputs[held_out] if held_out is not None else (validation.inputs if validation is not None else None)
    batch = len(rows) if request.batch_size == "full" else min(request.batch_size, len(rows))
    steps = -(-len(rows) // batch)
    vectors = (request.optimizer or definition.optimizer).vectors
    itemsize = np.dtype(definition.dtype).itemsize
    size = definition.parameter_count * itemsize
    warnings = data_warnings(definition, data, codes, rows, held)
    seconds = None
    if size * (2 + len(vectors)) > BYTES:
        warnings.append({"code": "not_measured", "detail": "the network is too large to measure steps of it here"})
    else:
        try:
            seconds = _seconds_a_step(definition, request, data, batch)
        except DivergedError as error:
            warnings.append({"code": "diverges", "detail": str(error)})
    held_rows = 0 if held is None else len(held)
    return {
        "dry_run": True,
        "model": definition.name,
        "parameters": definition.parameter_count,
        "bytes": {
            "parameters": size,
            "gradients": size,
            "moments": size * len(vectors),
            "activations": activation_bytes(definition, batch),
            "data": (len(rows) + held_rows) * ((definition.inputs + 1) * itemsize + np.dtype(np.intp).itemsize),
        },
        "rows": {"training": len(rows), "validation": held_rows},
        "batches_per_epoch": steps,
        "estimate": {
            "seconds_per_step": seconds,
            "seconds_per_epoch": None if seconds is None else seconds * steps,
            "seconds": None if seconds is None else seconds * steps * request.epochs,
        },
        "warnings": warnings,
    }


def _seconds_a_step(definition: ModelDefinition, request: TrainingRequest, data: Dataset, batch: int) -> float:
    """Median time of a few steps after the first, which warms up, without validation."""
    measured = max(1, min(batch, int(WORK / (6 * definition.parameter_count))))
    few = slice(0, measured * (STEPS + 2))
    run = TrainingRun(
        definition,
        replace(request, batch_size=measured, validation_fraction=None, early_stopping=None, publish=None),
        replace(
            data,
            inputs=data.inputs[few],
            labels=data.labels._replace(codes=data.labels.codes[few]),
            weights=None if data.weights is None else data.weights[few],
        ),
    )
    asked: list[float] = []

    def enough() -> bool:
        asked.append(perf_counter())
        return len(asked) > STEPS + 2 or (len(asked) > 2 and asked[-1] - asked[0] > SECONDS)

    while run.training.run_epoch(enough) is not None:
        pass
    times = [after - before for before, after in pairwise(asked)]
    return statistics.median(times[1:] or times) * batch / run.training.batch_size


def data_warnings(
    definition: ModelDefinition, data: Dataset, codes: Array, rows: Array, held_out: Array | None
) -> list[dict[str, str]]:
    """What of the data is probably not meant: a list of codes with a sentence each."""
    inputs = data.inputs
    warnings: list[dict[str, str]] = []

    def warn(code: str, detail: str) -> None:
        warnings.append({"code": code, "detail": detail})

    constant = [data.features[column] for column in np.flatnonzero((inputs == inputs[0]).all(axis=0))]
    if constant:
        warn("constant_columns", f"the same in every row, so nothing can be learned from them: {_some(constant)}")
    counts = np.bincount(codes, minlength=len(definition.classes))
    rare = [describe(definition.classes[code]) for code in np.flatnonzero(counts < 2)]
    if rare:
        warn("rare_classes", f"classes with fewer than two rows: {_some(rare)}")
    large = np.argwhere(np.abs(inputs) > LARGE)
    if len(large):
        row, column = large[0].tolist()
        place = f"row {row}, {data.features[column]}: {inputs[row, column]:g}"
        warn("large_values", f"{len(large)} values lie beyond ±{LARGE:g}, the first in {place}; scale the inputs")
    shared = _shared_rows(inputs[rows], held_out)
    if shared:
        warn("duplicates_across_split", f"{shared} validation rows stand among the training rows too")
    return warnings


def _shared_rows(training: Array, held_out: Array | None) -> int:
    """How many held-out rows equal a training row, number by number."""
    if held_out is None:
        return 0
    wanted = {row.tobytes() for row in np.ascontiguousarray(held_out, np.float64)}
    found = wanted & {each for row in training if (each := row.astype(np.float64).tobytes()) in wanted}
    return sum(row.tobytes() in found for row in np.ascontiguousarray(held_out, np.float64))


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
