"""A training run of several members, from its start or a checkpoint to the mixture of all members."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from time import monotonic
from typing import Any, Protocol

import numpy as np

from models.clock import utc_now
from models.definition.ensemble import Ensemble, NetworkKind
from models.features.rows import FeatureRows
from models.training.checkpoint import Checkpoint, CheckpointKind
from models.training.ensemble_checkpoint import EnsembleCheckpoint, MemberState
from models.training.held_out import HeldOutRows, measures
from models.training.members import (
    Ended,
    Looked,
    MemberData,
    MemberFailure,
    MemberPool,
    MemberTask,
    Report,
    Saved,
    Stopped,
)
from models.training.predicted_rows import predict_rows
from models.training.prepared import Part, Prepared
from models.training.request import TrainingRequest
from models.training.run import RunProgress
from models.trust.mixture import mixed
from models.trust.temperature import sharpened
from nncore.arrays import Array
from nncore.folds import stratified_folds
from nncore.metrics import Score, evaluate, score
from nncore.stopping import Monitor
from nncore.training import Epoch

__all__ = ["EnsembleJournal", "EnsembleRun", "MemberFailedError"]

#: Seconds between two saves when members end, unless the request says how often to save.
SAVE_SECONDS = 10.0
#: Seconds for which a run waits for reports at a time.
WAIT_SECONDS = 0.1
#: Share of its epochs that a member is expected to train if none of its kind has ended.
EXPECTED_SHARE = 0.3


class MemberFailedError(Exception):
    """A member cannot go on, and would not if it was tried again."""

    def __init__(self, report: MemberFailure) -> None:
        self.code = report.code
        super().__init__(f"member {report.number}: {report.detail}")


class EnsembleJournal(Protocol):
    """Receives the progress of a run, and may ask the run to stop."""

    def stopping(self) -> bool:
        """Whether the run should save its state and stop."""

    def epoch(self, record: Epoch, member: int = 0) -> None:
        """Called when an epoch of a member has ended."""

    def checkpoint(self, checkpoint: EnsembleCheckpoint, kind: CheckpointKind) -> None:
        """Called to save a state."""


class EnsembleRun:
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
    ) -> None:
        definition = self.definition = prepared.definition
        assert isinstance(definition.ensemble, Ensemble)
        self.ensemble = definition.ensemble
        self.request, self.fitted = request, prepared.fitted
        self.rows, self._class_weights = prepared.rows, prepared.class_weights
        self._pool, self._clock = pool, clock
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
        self._earlier = 0.0 if resume is None else resume.seconds
        self._begin = clock()
        self._running: dict[int, int] = {}
        self._epochs = {number: state.checkpoint.epoch for number, state in self._members.items()}
        self._steps = {number: state.checkpoint.step for number, state in self._members.items()}
        self._newest: dict[int, Epoch] = {}
        #: What ended the run before its last member; None if nothing did.
        self.stopped_by: str | None = None
        self._report: dict[str, Any] | None = None
        self._trust: dict[str, Array] = {}

    # The run.

    def run(self, journal: EnsembleJournal) -> bool:
        """Train all members; False if the journal asked the run to stop, and its state is saved.

        Raises MemberFailedError if a member cannot go on, and MemberLostError if its process died.
        """
        end = self._begin + self.request.max_seconds - self._earlier if self.request.max_seconds else math.inf
        saves = _Saves(self.request, self._clock)
        waiting = self._order()
        while True:
            while waiting and self._pool.free:
                self._start(waiting.pop(0))
            if not self._running:
                break
            left = max(0.0, min(WAIT_SECONDS, end - self._clock()))
            ended = self._take(self._pool.reports(left), journal, saves)
            if journal.stopping():
                self._take(self._pool.stop(), journal, saves)
                journal.checkpoint(self.checkpoint(), CheckpointKind.INTERRUPTED)
                return False
            if self._clock() >= end:
                self._end_early(journal, saves)
                break
            if saves.due(ended):
                journal.checkpoint(self.checkpoint(), CheckpointKind.BETWEEN)
            elif saves.wants_states(self._running):
                self._pool.ask_states()
        self._finish()
        journal.checkpoint(self.checkpoint(), CheckpointKind.LAST)
        return True

    def _order(self) -> list[int]:
        """The members that have not ended: those under way first, then fold after fold, so that few of them suffice."""
        ensemble = self.ensemble
        numbers = [number for number in range(1, ensemble.members + 1) if not self._has_ended(number)]
        return sorted(numbers, key=lambda number: (number not in self._members, ensemble.fold_of(number), number))

    def _has_ended(self, number: int) -> bool:
        return number in self._members and self._members[number].ended is not None

    def _start(self, number: int) -> None:
        kind, fold = self.ensemble.kind_of(number), self.ensemble.fold_of(number)
        held = self._folds == fold
        state = self._members.get(number)
        task = MemberTask(
            number=number,
            data=self._data_of(kind),
            definition=self.definition.of_kind(kind),
            request=member_request(self.request, kind, number),
            training=np.flatnonzero(~held),
            validation=np.flatnonzero(held),
            class_weights=self._class_weights,
            resume=None if state is None else state.checkpoint,
        )
        self._pool.start(task)
        self._running[number] = task.request.epochs

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

    def _take(self, reports: Iterable[Report], journal: EnsembleJournal, saves: _Saves) -> bool:
        """Note what members report; returns whether one has ended."""
        ended = False
        for report in reports:
            match report:
                case Looked(number, records, step):
                    self._epochs[number] = records[-1].number if records else self._epochs.get(number, 0)
                    self._steps[number] = step
                    for record in records:
                        journal.epoch(record, number)
                    saves.count(len(records))
                case Saved(number, checkpoint):
                    self._members[number] = self._state(number, checkpoint)
                    saves.saved(number)
                case Stopped(number, checkpoint):
                    self._members[number] = self._state(number, checkpoint)
                    self._running.pop(number, None)
                case Ended(number, checkpoint, stopped_by, held_out):
                    state = replace(self._state(number, checkpoint), ended=stopped_by or "epochs", held_out=held_out)
                    self._add_ended(number, state)
                    saves.saved(number)
                    ended = True
                case MemberFailure():
                    raise MemberFailedError(report)
        return ended

    def _state(self, number: int, checkpoint: Checkpoint) -> MemberState:
        self._epochs[number], self._steps[number] = checkpoint.epoch, checkpoint.step
        return MemberState(self.ensemble.kind_of(number).name, self.ensemble.fold_of(number), checkpoint)

    def _add_ended(self, number: int, state: MemberState) -> None:
        self._members[number] = state
        self._running.pop(number, None)
        self._note_end(state)
        self._mixture = self._held_out.mixture()

    def _note_end(self, state: MemberState) -> None:
        if state.ended is not None and state.held_out is not None:
            self._held_out.add(state.kind, state.fold, state.held_out)

    def _end_early(self, journal: EnsembleJournal, saves: _Saves) -> None:
        """The time is up: the members that have ended count; if none has, those under way as they are."""
        self.stopped_by = "max_seconds"
        self._take(self._pool.stop(), journal, saves)
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

    def _finish(self) -> None:
        self._mixture = self._held_out.mixture()
        self._trust = self._held_out.trust(self._training, self.definition.dtype, features=self.fitted is not None)
        self._report = {**(self._held_out.report(self._mixture) or {}), "validation": self._validate()}

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

    def checkpoint(self) -> EnsembleCheckpoint:
        """The current state."""
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
        )

    def _seconds(self) -> float:
        return self._earlier + self._clock() - self._begin

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
        epochs = [state.epoch for states in self._ended_by_kind().values() for state in states]
        known = [epoch for epoch in epochs if epoch is not None]
        return {
            "loss": float(np.mean([epoch.loss for epoch in known])) if known else None,
            "accuracy": float(np.mean([epoch.accuracy for epoch in known])) if known else None,
            "validation_loss": found.loss,
            "validation_log_loss": found.loss,
            "validation_accuracy": found.accuracy,
        }

    def metrics_of(self, _kind: CheckpointKind) -> dict[str, float | None]:
        """The metrics of a checkpoint that is saved now."""
        return self.metrics() or {}

    def details(self) -> dict[str, Any]:
        """What a job shows of its run beside its progress."""
        return {
            "stopped_by": self.stopped_by,
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


class _Saves:
    """When to save between the first member's begin and the last one's end."""

    def __init__(self, request: TrainingRequest, clock: Callable[[], float]) -> None:
        self._request, self._clock = request, clock
        self._last = clock()
        self._records = 0
        #: The members whose states are on their way; None if none were asked for.
        self._asked: set[int] | None = None

    def count(self, records: int) -> None:
        """Note that epochs have ended."""
        self._records += records

    def saved(self, number: int) -> None:
        """Note that a member's state has come."""
        if self._asked is not None:
            self._asked.discard(number)

    def due(self, ended: bool) -> bool:
        """Whether to save now: all states that were asked for are there, or a member has ended and it is time."""
        asked = self._asked is not None and not self._asked
        pause = self._request.every_seconds or SAVE_SECONDS
        if asked or (ended and self._asked is None and self._clock() - self._last >= pause):
            self._last, self._records, self._asked = self._clock(), 0, None
            return True
        return False

    def wants_states(self, running: Iterable[int]) -> bool:
        """Whether the states of the running members are to be asked for now, as the request's policy says."""
        if self._asked is not None:
            return False
        seconds, epochs = self._request.every_seconds, self._request.every_epochs
        wanted = (seconds is not None and self._clock() - self._last >= seconds) or (
            epochs is not None and self._records >= epochs
        )
        if wanted:
            self._asked = set(running)
        return wanted


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
