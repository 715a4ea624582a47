"""What a job takes at most, predicted from its request before anything is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.definition.definition import ModelDefinition
from models.definition.ensemble import Ensemble
from models.training.dry_run import Memory
from models.training.ensemble_run import member_request
from models.training.request import TrainingRequest

__all__ = ["Needs", "Part", "needs_of", "parts_of"]

#: Bytes of an epoch's record in memory, and of its line in a checkpoint.
RECORD_BYTES, LINE_BYTES = 320, 64
#: Bytes of a training row in a checkpoint: its number, and its place in the order.
ROW_BYTES = 16
#: Bytes of a cell of a table in memory.
CELL_BYTES = 8


@dataclass(frozen=True)
class Part:
    """One network of a job: how it is trained, and on how many rows.

    ``columns`` is the number of a table's columns, of which the features are made for each batch; None for a matrix.
    """

    definition: ModelDefinition
    request: TrainingRequest
    rows: int
    validation_rows: int
    columns: int | None = None

    @property
    def _best_bytes(self) -> int:
        """The parameters of the best epoch, if they are kept."""
        return self._memory.parameters if self.request.tracks_best else 0

    @property
    def _memory(self) -> Memory:
        return Memory.of(self.definition, self.request, self.rows, self.validation_rows)

    @property
    def data(self) -> int:
        """Bytes of the rows in memory."""
        if self.columns is None:
            return self._memory.data
        return (self.rows + self.validation_rows) * (CELL_BYTES * self.columns + ROW_BYTES)

    @property
    def memory(self) -> int:
        """Bytes in memory beside the rows."""
        found = self._memory
        network = found.parameters + found.gradients + found.moments + found.activations
        return network + self._best_bytes + RECORD_BYTES * self.request.epochs

    @property
    def state(self) -> int:
        """Bytes of its state in a checkpoint."""
        return self._memory.parameters + self._memory.moments + self._best_bytes + LINE_BYTES * self.request.epochs


@dataclass(frozen=True)
class Needs:
    """Bytes in memory, bytes of checkpoints that are on disk at the same time, and rows that pass in all epochs."""

    memory: int
    stored: int
    work: int


def parts_of(
    definition: ModelDefinition, request: TrainingRequest, rows: int, validation_rows: int, columns: int | None
) -> list[Part]:
    """The networks that a request trains."""
    ensemble = definition.ensemble
    if not isinstance(ensemble, Ensemble):
        return [Part(definition, request, rows, validation_rows, columns)]
    held_out = rows // ensemble.folds
    found = []
    for number in range(1, ensemble.members + 1):
        kind = ensemble.kind_of(number)
        asked = member_request(request, kind, number)
        found.append(Part(definition.of_kind(kind), asked, rows - held_out, held_out, columns))
    return found


def needs_of(request: TrainingRequest, parts: Sequence[Part], places: int, held: int | None = None) -> Needs:
    """What a job takes, whose networks ``parts`` are trained on ``places`` at a time; ``request`` is the whole one's.

    A checkpoint has the states of at most ``held`` networks, of all if left out.
    """
    states = sorted((part.state for part in parts), reverse=True)[:held]
    state = sum(states) + ROW_BYTES * max(part.rows for part in parts)
    # The first, the last, the one that is being written and, between them, those that are kept.
    between = request.keep if request.every_epochs is not None or request.every_seconds is not None else 0
    running = sorted((part.memory for part in parts), reverse=True)[:places]
    return Needs(
        memory=sum(running) + max(part.data for part in parts) + (state if len(parts) > 1 else 0),
        stored=state * (3 + between) + (states[0] if request.ends_with_best else 0),
        work=sum(part.request.epochs * part.rows for part in parts),
    )
