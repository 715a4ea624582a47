"""A dry run: the memory and time that a training run would take, and warnings about its data."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from time import perf_counter

import numpy as np

from models.definition.definition import ModelDefinition
from models.errors import describe
from models.training.prepared import PreparedData
from models.training.request import TrainingRequest
from models.training.run import TrainingRun, activation_bytes
from nncore.arrays import Array
from nncore.training import DivergedError

__all__ = ["DataWarning", "DryRun", "dry_run"]

#: Maximum number of measured steps, and of the seconds that they take.
STEPS, SECONDS = 20, 0.5
#: Maximum work of a measured step, in multiplications, and maximum size of the network's vectors, in bytes.
WORK, BYTES = 2e9, 512 * 2**20
#: Larger numbers are seldom intended, and make training start badly.
LARGE = 1e4
#: Maximum number of columns, classes or values that a warning names.
NAMED = 5


@dataclass(frozen=True)
class Memory:
    """What a run keeps in memory, in bytes; ``moments`` are the optimizer's vectors."""

    parameters: int
    gradients: int
    moments: int
    activations: int
    data: int


@dataclass(frozen=True)
class DataWarning:
    """Something in the data that is probably not intended: a stable word and a sentence."""

    code: str
    detail: str


@dataclass(frozen=True)
class DryRun:
    """What a run of ``epochs`` epochs would take; ``seconds_per_step`` is None if no step was measured."""

    model: str
    parameters: int
    memory: Memory
    training_rows: int
    validation_rows: int
    batches_per_epoch: int
    epochs: int
    seconds_per_step: float | None
    warnings: tuple[DataWarning, ...]

    def document(self) -> dict[str, object]:
        """The dry run as the API shows it."""
        step = self.seconds_per_step
        epoch = None if step is None else step * self.batches_per_epoch
        return {
            "dry_run": True,
            "model": self.model,
            "parameters": self.parameters,
            "bytes": asdict(self.memory),
            "rows": {"training": self.training_rows, "validation": self.validation_rows},
            "batches_per_epoch": self.batches_per_epoch,
            "estimate": {
                "seconds_per_step": step,
                "seconds_per_epoch": epoch,
                "seconds": None if epoch is None else epoch * self.epochs,
            },
            "warnings": [asdict(warning) for warning in self.warnings],
        }


def dry_run(definition: ModelDefinition, request: TrainingRequest, prepared: PreparedData) -> DryRun:
    """Count the bytes, measure a few steps, and look at the data.

    Steps that would take long are measured with fewer rows, and the time is scaled. The steps of a network that would
    take much memory are not measured; a warning says so.
    """
    rows = len(prepared.rows)
    batch = request.batch_rows(rows)
    vectors = (request.optimizer or definition.optimizer).vectors
    itemsize = np.dtype(definition.dtype).itemsize
    size = definition.parameter_count * itemsize
    warnings = list(data_warnings(definition, prepared))
    seconds = None
    if size * (2 + len(vectors)) > BYTES:
        warnings.append(DataWarning("not_measured", "the network is too large to measure steps of it here"))
    else:
        try:
            seconds = _seconds_per_step(definition, request, prepared, batch)
        except DivergedError as error:
            warnings.append(DataWarning("diverges", str(error)))
    row_bytes = (definition.inputs + 1) * itemsize + np.dtype(np.intp).itemsize
    return DryRun(
        model=definition.name,
        parameters=definition.parameter_count,
        memory=Memory(
            parameters=size,
            gradients=size,
            moments=size * len(vectors),
            activations=activation_bytes(definition, batch),
            data=(rows + prepared.validation_rows) * row_bytes,
        ),
        training_rows=rows,
        validation_rows=prepared.validation_rows,
        batches_per_epoch=-(-rows // batch),
        epochs=request.epochs,
        seconds_per_step=seconds,
        warnings=tuple(warnings),
    )


def _seconds_per_step(
    definition: ModelDefinition, request: TrainingRequest, prepared: PreparedData, batch: int
) -> float:
    """Median time of a few steps without validation; the first step warms up and does not count."""
    measured = max(1, min(batch, int(WORK / (6 * definition.parameter_count))))
    run = TrainingRun(
        replace(request, batch_size=measured, validation_fraction=None, early_stopping=None, publish=None),
        prepared.first(measured * (STEPS + 2)),
    )
    asked: list[float] = []

    def enough() -> bool:
        asked.append(perf_counter())
        return len(asked) > STEPS + 2 or (len(asked) > 2 and asked[-1] - asked[0] > SECONDS)

    while run.training.run_epoch(enough) is not None:
        pass
    times = [after - before for before, after in pairwise(asked)]
    return statistics.median(times[1:] or times) * batch / run.training.batch_size


def data_warnings(definition: ModelDefinition, prepared: PreparedData) -> Iterator[DataWarning]:
    """What in the data is probably not intended."""
    inputs, features = prepared.inputs, prepared.features
    constant = [features[column] for column in np.flatnonzero((inputs == inputs[0]).all(axis=0))]
    if constant:
        detail = f"the same in every row, so nothing can be learned from them: {_some(constant)}"
        yield DataWarning("constant_columns", detail)
    counts = np.bincount(prepared.codes, minlength=len(definition.classes))
    rare = [describe(definition.classes[code]) for code in np.flatnonzero(counts < 2)]
    if rare:
        yield DataWarning("rare_classes", f"classes with fewer than two rows: {_some(rare)}")
    large = np.argwhere(np.abs(inputs) > LARGE)
    if len(large):
        row, column = large[0].tolist()
        place = f"row {row}, {features[column]}: {inputs[row, column]:g}"
        detail = f"{len(large)} values lie beyond ±{LARGE:g}, the first in {place}; scale the inputs"
        yield DataWarning("large_values", detail)
    validation = prepared.validation_part()
    shared = 0 if validation is None else _shared_rows(prepared.inputs[prepared.rows], np.asarray(validation.inputs))
    if shared:
        detail = f"{shared} validation rows stand among the training rows too"
        yield DataWarning("duplicates_across_split", detail)


def _shared_rows(training: Array, validation: Array) -> int:
    """How many validation rows equal a training row in every number."""
    held_out = _rows_as_bytes(validation)
    wanted = set(held_out)
    found = wanted & {each for row in training if (each := row.astype(np.float64).tobytes()) in wanted}
    return sum(row in found for row in held_out)


def _rows_as_bytes(inputs: Array) -> list[bytes]:
    return [row.tobytes() for row in np.ascontiguousarray(inputs, np.float64)]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
