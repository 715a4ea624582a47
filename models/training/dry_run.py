"""A dry run: the memory and time that a training run would take, and warnings about its data."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from time import perf_counter

import numpy as np

from models.data.profile import TableWarning
from models.definition.definition import ModelDefinition
from models.definition.ensemble import Ensemble, NetworkKind
from models.training.ensemble_run import member_request
from models.training.prepared import Prepared
from models.training.prepared_kind import PreparedKind
from models.training.request import TrainingRequest
from models.training.run import TrainingRun, activation_bytes
from nncore.layers import Dense
from nncore.training import DivergedError

__all__ = ["DryRun", "Memory", "dry_run"]

#: Maximum number of measured steps, and of the seconds that they take.
STEPS, SECONDS = 20, 0.5
#: Maximum work of a measured step, in multiplications, and maximum size of the network's vectors, in bytes.
WORK, BYTES = 2e9, 512 * 2**20


@dataclass(frozen=True)
class Memory:
    """What a run keeps in memory, in bytes; ``moments`` are the optimizer's vectors."""

    parameters: int
    gradients: int
    moments: int
    activations: int
    data: int

    @classmethod
    def of(cls, definition: ModelDefinition, request: TrainingRequest, rows: int, validation_rows: int) -> Memory:
        """That of a run of a single network."""
        itemsize = np.dtype(definition.dtype).itemsize
        size = definition.parameter_count * itemsize
        row_bytes = (definition.inputs + 1) * itemsize + np.dtype(np.intp).itemsize
        return cls(
            parameters=size,
            gradients=size,
            moments=size * len((request.optimizer or definition.optimizer).vectors),
            activations=activation_bytes(definition, request.batch_rows(rows)),
            data=(rows + validation_rows) * row_bytes,
        )


@dataclass(frozen=True)
class DryRun:
    """What a run of ``epochs`` epochs would take; ``seconds_per_step`` is None if no step was measured.

    ``hidden`` are the units of the hidden layers. Of several ``members``, they, the inputs and the memory are those of
    the largest one; a run takes that memory for each process, and at most these epochs in all.
    """

    model: str
    members: int
    inputs: int
    hidden: tuple[int, ...]
    classes: int
    parameters: int
    memory: Memory
    training_rows: int
    validation_rows: int
    batches_per_epoch: int
    epochs: int
    seconds_per_step: float | None
    warnings: tuple[TableWarning, ...]

    def document(self) -> dict[str, object]:
        """The dry run as the API shows it."""
        step = self.seconds_per_step
        epoch = None if step is None else step * self.batches_per_epoch
        return {
            "dry_run": True,
            "model": self.model,
            "members": self.members,
            "inputs": self.inputs,
            "hidden": list(self.hidden),
            "classes": self.classes,
            "parameters": self.parameters,
            "bytes": asdict(self.memory),
            "rows": {"training": self.training_rows, "validation": self.validation_rows},
            "batches_per_epoch": self.batches_per_epoch,
            "estimate": {
                "seconds_per_step": step,
                "seconds_per_epoch": epoch,
                "seconds": None if epoch is None else epoch * self.epochs,
            },
            "warnings": [warning.document() for warning in self.warnings],
        }


def dry_run(
    definition: ModelDefinition,
    request: TrainingRequest,
    rows: int,
    validation_rows: int,
    first: Callable[[int], Prepared],
    data_warnings: Iterable[TableWarning],
) -> DryRun:
    """Count the bytes and measure a few steps, as ``single_dry_run`` does; of several members, one of each kind."""
    ensemble = definition.ensemble
    if ensemble is None:
        return single_dry_run(definition, request, rows, validation_rows, first, data_warnings)
    assert isinstance(ensemble, Ensemble)
    held_out = rows // ensemble.folds
    found = []
    for number in range(1, ensemble.members + 1, ensemble.members_of_kind):
        kind = ensemble.kind_of(number)

        def of_kind(count: int, kind: NetworkKind = kind) -> Prepared:
            return PreparedKind.of(first(count), kind)

        asked = member_request(request, kind, number)
        found.append(single_dry_run(definition.of_kind(kind), asked, rows - held_out, held_out, of_kind, ()))
    largest = max(found, key=lambda each: each.parameters)
    steps = sum(each.batches_per_epoch * each.epochs for each in found)
    times = [each.seconds_per_step for each in found if each.seconds_per_step is not None]
    seconds = sum((each.seconds_per_step or 0.0) * each.batches_per_epoch * each.epochs for each in found)
    warnings = {warning: None for each in found for warning in each.warnings}
    return replace(
        largest,
        members=ensemble.members,
        parameters=definition.parameter_count,
        epochs=sum(each.epochs for each in found) * ensemble.members_of_kind,
        # The mean over all steps, so that the estimate of the whole is that of all members.
        batches_per_epoch=round(steps / max(sum(each.epochs for each in found), 1)),
        seconds_per_step=seconds / steps if len(times) == len(found) and steps else None,
        training_rows=rows,
        validation_rows=validation_rows,
        warnings=(*data_warnings, *warnings),
    )


def single_dry_run(
    definition: ModelDefinition,
    request: TrainingRequest,
    rows: int,
    validation_rows: int,
    first: Callable[[int], Prepared],
    data_warnings: Iterable[TableWarning],
) -> DryRun:
    """Count the bytes of a single network and measure a few steps.

    ``first`` returns the first rows of the data, as many as it is asked for. Steps that would take long are measured
    with fewer rows, and the time is scaled. The steps of a network that would take much memory are not measured; a
    warning says so.
    """
    batch = request.batch_rows(rows)
    memory = Memory.of(definition, request, rows, validation_rows)
    warnings = list(data_warnings)
    seconds = None
    if memory.parameters + memory.gradients + memory.moments > BYTES:
        warnings.append(TableWarning("not_measured", "the network is too large to measure steps of it here"))
    else:
        try:
            seconds = _seconds_per_step(definition, request, first, batch)
        except DivergedError as error:
            warnings.append(TableWarning("diverges", str(error)))
    return DryRun(
        model=definition.name,
        members=1,
        inputs=definition.inputs,
        hidden=tuple(layer.units for layer in definition.layers if isinstance(layer, Dense))[:-1],
        classes=len(definition.classes),
        parameters=definition.parameter_count,
        memory=memory,
        training_rows=rows,
        validation_rows=validation_rows,
        batches_per_epoch=-(-rows // batch),
        epochs=request.epochs,
        seconds_per_step=seconds,
        warnings=tuple(warnings),
    )


def _seconds_per_step(
    definition: ModelDefinition, request: TrainingRequest, first: Callable[[int], Prepared], batch: int
) -> float:
    """Median time of a few steps without validation; the first step warms up and does not count."""
    measured = max(1, min(batch, int(WORK / (6 * definition.parameter_count))))
    run = TrainingRun(
        replace(request, batch_size=measured, validation_fraction=None, early_stopping=None, publish=None),
        first(measured * (STEPS + 2)),
    )
    asked: list[float] = []

    def enough() -> bool:
        asked.append(perf_counter())
        return len(asked) > STEPS + 2 or (len(asked) > 2 and asked[-1] - asked[0] > SECONDS)

    while run.training.run_epoch(enough) is not None:
        pass
    times = [after - before for before, after in pairwise(asked)]
    return statistics.median(times[1:] or times) * batch / run.training.batch_size
