"""A training run of several members, from its start or a checkpoint to the mixture of all members."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

import numpy as np

from models.clock import utc_now
from models.definition.ensemble import Ensemble, NetworkKind
from models.features.rows import FeatureRows
from models.training.best_epoch import BestEpoch
from models.training.checkpoint import Checkpoint, CheckpointKind
from models.training.ensemble_checkpoint import EnsembleCheckpoint, MemberState, members_metrics
from models.training.held_out import HeldOutRows, measures
from models.training.members import Ended, MemberData, MemberFailure, MemberPool, MemberTask, Saved, Stopped
from models.training.members_run import MemberFailedError, MembersJournal, MembersRun
from models.training.predicted_rows import predict_rows
from models.training.prepared import Part, Prepared
from models.training.request import TrainingRequest
from models.training.run import RunProgress
from models.trust.mixture import mixed
from models.trust.temperature import sharpened
from nncore.arrays import Array
from nncore.folds import stratified_folds
from nncore.kernels.kinds import Kind
from nncore.metrics import Score, evaluate, score
from nncore.stopping import EarlyStopping, Monitor
from nncore.training import Epoch

__all__ = ["EnsembleRun", "member_request"]

#: Share of its epochs that a member is expected to train if none of its kind has ended.
EXPECTED_SHARE = 0.3


class EnsembleRun(MembersRun):
    """A model of several networks in training on prepared rows.

    ``pool`` trains the members. ``resume`` is a checkpoint of this run: members that have ended stay, and those under
    way continue to the same bits. Members do not depend on each other, so their order and number of processes change
    nothing.
    """

    monitor: Monitor = "validation_loss"

    def __init__(
        self,
        request: TrainingRequest,
        prepared: Prepared,
        pool: MemberPool,
        *,
        resume: EnsembleCheckpoint | None = None,
        clock: Callable[[], float] = monotonic,
        kernels: Kind = "numpy",
    ) -> None:
        definition = self.definition = prepared.definition
        assert isinstance(definition.ensemble, Ensemble)
        self.ensemble = definition.ensemble
        super().__init__(request, pool, 0.0 if resume is None else resume.seconds, clock, kernels)
        self.fitted = prepared.fitted
        self.rows, self._class_weights = prepared.rows, prepared.class_weights
        part = prepared.training_part()
        self._training, self._validation = part, prepared.validation_part()
        self._validated: Score | None = None
        self._shared: set[str] = set()
        self._folds = stratified_folds(part.codes, self.ensemble.folds, request.seed, prepared.groups)
        self._members: dict[int, MemberState] = {} if resume is None else dict(resume.members)
        self._held_out = HeldOutRows(self.ensemble, part.codes, self._folds, len(definition.classes))
        for state in self._members.values():
            self._note_end(state)
        self._mixture = None if resume is None else resume.mixture
        self._waiting = self._order()
        self._epochs = {number: state.checkpoint.epoch for number, state in self._members.items()}
        self._steps = {number: state.checkpoint.step for number, state in self._members.items()}
        self._best: dict[int, BestEpoch] = {}
        for number, state in self._members.items():
            self._look(number, state.checkpoint.history)
        self._report: dict[str, Any] | None = None
        self._trust: dict[str, Array] = {}

    # The run.

    def _next(self) -> MemberTask | None:
        return self._task(self._waiting.pop(0)) if self._waiting else None

    def _order(self) -> list[int]:
        """The members that have not ended: those under way first, then fold after fold, so that few of them suffice."""
        ensemble = self.ensemble
        numbers = [number for number in range(1, ensemble.members + 1) if not self._has_ended(number)]
        return sorted(numbers, key=lambda number: (number not in self._members, ensemble.fold_of(number), number))

    def _has_ended(self, number: int) -> bool:
        return number in self._members and self._members[number].ended is not None

    def _task(self, number: int) -> MemberTask:
        kind, fold = self.ensemble.kind_of(number), self.ensemble.fold_of(number)
        held = self._folds == fold
        state = self._members.get(number)
        return MemberTask(
            number=number,
            data=self._data_of(kind),
            definition=self.definition.of_kind(kind),
            request=member_request(self.request, kind, number),
            training=np.flatnonzero(~held),
            validation=np.flatnonzero(held),
            class_weights=self._class_weights,
            resume=None if state is None else state.checkpoint,
            kernels=self.kernels,
        )

    def _data_of(self, kind: NetworkKind) -> str:
        """The name of what a kind reads, shared with the members when the first one needs it."""
        name = "whole" if kind.bins else "without_bins"
        if name not in self._shared:
            inputs, codes, weights = self._training
            assert isinstance(inputs, (np.ndarray, FeatureRows))
            if not kind.bins and isinstance(inputs, FeatureRows):
                inputs = inputs.without_bins()
            self._pool.share(name, MemberData(inputs, codes, weights))
            self._shared.add(name)
        return name

    def rows_of(self, member: int) -> int:
        """How many rows an epoch of a member trains on: all that are not in its fold."""
        return int(np.count_nonzero(self._folds != self.ensemble.fold_of(member)))

    def _look(self, number: int, records: Sequence[Epoch]) -> None:
        stopping = self.ensemble.kind_of(number).early_stopping or EarlyStopping()
        best = self._best.setdefault(number, BestEpoch(stopping.monitor or self.monitor, stopping.min_delta))
        for record in records:
            best.observe(record)

    def _note(self, report: Saved | Stopped | Ended | MemberFailure) -> None:
        match report:
            case MemberFailure():
                raise MemberFailedError(report)
            case Ended(number, checkpoint, stopped_by, held_out):
                state = self._of_member(number, checkpoint)
                self._add_ended(number, replace(state, ended=stopped_by or "epochs", held_out=held_out))
            case Saved(number, checkpoint) | Stopped(number, checkpoint):
                self._members[number] = self._of_member(number, checkpoint)

    def _of_member(self, number: int, checkpoint: Checkpoint) -> MemberState:
        return MemberState(self.ensemble.kind_of(number).name, self.ensemble.fold_of(number), checkpoint)

    def _add_ended(self, number: int, state: MemberState) -> None:
        self._members[number] = state
        self._note_end(state)
        self._mixture = self._held_out.mixture()

    def _note_end(self, state: MemberState) -> None:
        if state.ended is not None and state.held_out is not None:
            self._held_out.add(state.kind, state.fold, state.held_out)

    def _cut_short(self) -> None:
        """The members that have ended count; if none has, those under way as they are."""
        if self._held_out.mixture() is not None:
            return
        for number, state in list(self._members.items()):
            if state.ended is None:
                held_out = self._predicted(state, np.flatnonzero(self._folds == state.fold), self._training)
                self._add_ended(number, replace(state, ended="max_seconds", held_out=held_out))

    def _predicted(self, state: MemberState, rows: Array, part: Part) -> Array:
        """The probabilities of some rows by one member, (n_rows, classes)."""
        kind = next(kind for kind in self.ensemble.kinds if kind.name == state.kind)
        inputs = part.inputs
        if not kind.bins and isinstance(inputs, FeatureRows):
            inputs = inputs.without_bins()
        return predict_rows(self.definition.of_kind(kind), {**state.parameters, **state.statistics}, inputs, rows)

    def _finish(self, journal: MembersJournal) -> None:
        mixture = self._mixture = self._held_out.mixture()
        if mixture is not None:
            dtype, features = self.definition.dtype, self.fitted is not None
            self._trust = self._held_out.trust(mixture, self._training, dtype, features=features)
        self._report = {**(self._held_out.report(self._mixture) or {}), "validation": self._validate()}
        journal.checkpoint(self._state(), CheckpointKind.LAST)

    def _validate(self) -> dict[str, Any] | None:
        """How good the mixture is on the validation rows of the request; None if there are none."""
        if self._validation is None or self._mixture is None:
            return None
        rows = np.arange(len(self._validation.codes))
        found = {
            name: np.mean([self._predicted(state, rows, self._validation) for state in states], axis=0)
            for name, states in self._ended_by_kind().items()
        }
        weights = np.array([self._mixture.weights[name] for name in found])
        probabilities = sharpened(mixed(np.stack([*found.values()]), weights), self._mixture.temperature)
        self._validated = score(probabilities, self._validation.codes)
        return measures(evaluate(probabilities, self._validation.codes))

    def _ended_by_kind(self) -> dict[str, list[MemberState]]:
        """The members that have ended, by kind, without baselines."""
        names = [kind.name for kind in self.ensemble.kinds if not kind.baseline]
        ended = [state for state in self._members.values() if state.ended is not None]
        found = {name: [state for state in ended if state.kind == name] for name in names}
        return {name: states for name, states in found.items() if states}

    # What is saved and shown.

    @property
    def planned(self) -> dict[int, int]:
        """The most epochs of each member."""
        return {number: self.ensemble.kind_of(number).epochs for number in range(1, self.ensemble.members + 1)}

    def best_epochs(self) -> dict[int, Epoch]:
        """The best epoch so far of each member that has one."""
        return {number: best.record for number, best in self._best.items() if best.record is not None}

    def _state(self) -> EnsembleCheckpoint:
        over = not self._running and self._report is not None
        return EnsembleCheckpoint(
            definition=self.definition,
            features=self.fitted,
            members=dict(self._members),
            rows=self.rows,
            seconds=self._seconds(),
            created_at=utc_now(),
            mixture=self._mixture,
            held_out=self._held_out.result(self.rows, self._mixture) if over and self._mixture else None,
            trust=self._trust,
            kernels=self.kernels,
        )

    def progress(self) -> RunProgress:
        """How far the run is, and how good the mixture of the members that have ended is on held-out rows."""
        total = self.ensemble.members
        done = sum(self._share_of(number) for number in range(1, total + 1)) / total
        return RunProgress(
            epoch=sum(self._epochs.values()),
            step=sum(self._steps.values()),
            fraction=1.0 if self._report is not None else min(done, 0.999),
            metrics=self.metrics(),
        )

    def _share_of(self, number: int) -> float:
        """How much of a member's training is done, by what its kind took so far."""
        if self._has_ended(number):
            return 1.0
        kind, epoch = self.ensemble.kind_of(number), self._epochs.get(number, 0)
        others = [state.checkpoint.epoch for state in self._members.values() if state.kind == kind.name and state.ended]
        expected = sum(others) / len(others) if others else max(1.0, EXPECTED_SHARE * kind.epochs)
        return min(epoch / max(expected, 1.0), 0.95)

    def metrics(self) -> dict[str, float | None] | None:
        """Loss and accuracy on held-out rows so far, and of the members' best epochs; None before the first end."""
        found = self._validated or self._held_out.score(self._mixture)
        if found is None:
            return None
        answering = [state.checkpoint for states in self._ended_by_kind().values() for state in states]
        return members_metrics(answering, found)

    def metrics_of(self, _kind: CheckpointKind) -> dict[str, float | None]:
        """The metrics of a checkpoint that is saved now."""
        return self.metrics() or {}

    def details(self) -> dict[str, Any]:
        """What a job shows of its run beside its progress."""
        return {
            "stopped_by": self.stopped_by,
            "kernels": self.kernels,
            "members": [self._member_document(number) for number in range(1, self.ensemble.members + 1)],
            "held_out": self._report,
        }

    def _member_document(self, number: int) -> dict[str, Any]:
        kind, state = self.ensemble.kind_of(number), self._members.get(number)
        best = None if state is None else state.checkpoint.best
        ended = None if state is None else state.ended
        running = "running" if number in self._running else "waiting"
        return {
            "member": number,
            "kind": kind.name,
            "fold": self.ensemble.fold_of(number) + 1,
            "state": running if ended is None else "ended",
            "epoch": self._epochs.get(number, 0),
            "epochs": kind.epochs,
            "stopped_by": None if ended == "epochs" else ended,
            "best": None
            if best is None or best.value is None
            else {"epoch": best.epoch, "monitor": best.monitor, "value": best.value},
        }


def member_request(request: TrainingRequest, kind: NetworkKind, number: int) -> TrainingRequest:
    """The request of one member; its seed follows from that of the run and its number."""
    seed = int(np.random.SeedSequence([request.seed, number]).generate_state(2, np.uint32)[0])
    return replace(
        request,
        epochs=kind.epochs,
        batch_size=kind.batch_size,
        seed=seed,
        optimizer=None,
        loss=None,
        validation_fraction=None,
        every_epochs=None,
        every_seconds=None,
        publish=None,
        early_stopping=kind.early_stopping,
        validate_every=kind.validate_every,
        max_seconds=None,
        reinitialize=(),
    )
