"""The run of a sweep: trials train side by side, and the best one becomes the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from time import monotonic
from typing import Any

import numpy as np

from models.clock import utc_now
from models.definition.class_weights import weights_of_classes
from models.definition.definition import ModelDefinition
from models.features.rows import FeatureRows
from models.training.checkpoint import METRICS, Checkpoint, CheckpointKind
from models.training.members import Ended, MemberData, MemberFailure, MemberPool, MemberTask, Saved, Stopped
from models.training.members_run import MemberFailedError, MembersJournal, MembersRun
from models.training.prepared import Prepared
from models.training.request import TrainingRequest
from models.training.run import RunProgress
from models.training.rungs import Rungs, Stretch, epochs_of, expected_epochs
from models.training.search import Halving
from models.training.sweep import Sweep
from models.training.sweep_checkpoint import SweepCheckpoint
from nncore.arrays import Array
from nncore.kernels.kinds import Kind
from nncore.stopping import improves
from nncore.training import Epoch

__all__ = ["SweepRun"]

#: The name under which the rows are shared.
DATA = "rows"


@dataclass
class _Trial:
    """How far a trial is: its epochs and steps, the record of its best epoch, and how it ended.

    ``ended`` is "epochs" if that was its last one, "early_stopping" or "diverged"; None if it may go on.
    """

    epoch: int = 0
    step: int = 0
    best: Epoch | None = None
    ended: str | None = None
    error: str | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> _Trial:
        best = document["best"]
        return cls(**{**document, "best": None if best is None else Epoch(**best)})


class SweepRun(MembersRun):
    """A sweep of trials that share the prepared rows, each a member of the pool.

    A trial is trained as an ordinary run with its values, to the same bits. ``resume`` is a checkpoint of this sweep:
    what was decided stays, and the trials under way continue to the same bits.
    """

    def __init__(
        self,
        request: TrainingRequest,
        sweep: Sweep,
        prepared: Prepared,
        pool: MemberPool,
        *,
        resume: SweepCheckpoint | None = None,
        clock: Callable[[], float] = monotonic,
        kernels: Kind = "numpy",
    ) -> None:
        super().__init__(request, pool, 0.0 if resume is None else resume.seconds, clock, kernels)
        self.sweep, self.monitor = sweep, sweep.monitor
        #: What the version will have: the definition of the best trial, as soon as the sweep is over.
        self.definition = prepared.definition
        self.fitted, self.rows = prepared.fitted, prepared.rows
        self._inputs = prepared.definition.inputs
        self._training_rows = self._share(prepared)
        numbers = range(1, len(sweep.trials) + 1)
        if resume is None:
            factor = sweep.search.factor if isinstance(sweep.search, Halving) else 2
            rungs = epochs_of(sweep.search, max(sweep.epochs))
            self._rungs = Rungs(rungs, len(sweep.trials), sweep.monitor, factor)
            self._trials = {number: _Trial() for number in numbers}
        else:
            self._rungs = Rungs.of(resume.search["rungs"])
            self._trials = {number: _Trial.of(resume.search["trials"][str(number)]) for number in numbers}
            self._epochs = {number: trial.epoch for number, trial in self._trials.items()}
            self._steps = {number: trial.step for number, trial in self._trials.items()}
        #: The states of the trials that may go on, and of the best one.
        self._states: dict[int, Checkpoint] = {} if resume is None else dict(resume.members)
        self._under_way: list[Stretch] = self._rungs.running
        self._failure: MemberFailure | None = None
        self._over = False

    # The run.

    def _share(self, prepared: Prepared) -> Array:
        """Share the rows with all trials; returns the places of the training rows."""
        inputs, codes, weights = prepared.training_part()
        assert isinstance(inputs, (np.ndarray, FeatureRows))
        self._pool.share(DATA, MemberData(inputs, codes, weights, prepared.validation_part()))
        return np.arange(len(codes))

    def rows_of(self, _member: int) -> int:
        """How many rows an epoch of a trial trains on."""
        return len(self._training_rows)

    def _next(self) -> MemberTask | None:
        stretch = self._under_way.pop(0) if self._under_way else self._rungs.next()
        return None if stretch is None else self._task(stretch)

    def _task(self, stretch: Stretch) -> MemberTask:
        definition, request = self._definition_of(stretch.trial), self.sweep.trials[stretch.trial - 1].request
        wanted = definition.class_weights if request.class_weights is None else request.class_weights
        return MemberTask(
            number=stretch.trial,
            data=DATA,
            # The rows are features already.
            definition=replace(definition, features=None),
            request=request,
            training=self._training_rows,
            validation=None,
            class_weights=weights_of_classes(wanted, definition.classes),
            pause_at=None if stretch.epochs >= request.epochs else stretch.epochs,
            resume=self._states.get(stretch.trial),
            kernels=self.kernels,
        )

    def _definition_of(self, number: int) -> ModelDefinition:
        """The definition of a trial, with the width of the fitted features."""
        return replace(self.sweep.trials[number - 1].definition, inputs=self._inputs)

    def _look(self, number: int, records: Sequence[Epoch]) -> None:
        trial, stopping = self._trials[number], self.sweep.trials[number - 1].request.early_stopping
        assert stopping is not None
        for record in records:
            value = getattr(record, self.monitor)
            if value is not None and improves(self.monitor, value, self._value_of(number), stopping.min_delta):
                trial.best = record

    def _note(self, report: Saved | Stopped | Ended | MemberFailure) -> None:
        trial = self._trials[report.number]
        match report:
            case MemberFailure(number, code, detail):
                if code != "diverged":
                    raise MemberFailedError(report)
                trial.best, trial.ended, trial.error, self._failure = None, code, detail, report
                trial.epoch, trial.step = self._epochs.get(number, 0), self._steps.get(number, 0)
                self._states.pop(number, None)
                self._rungs.report(number, None)
            case Saved(number, checkpoint) | Stopped(number, checkpoint):
                self._keep(number, checkpoint)
                if isinstance(report, Stopped) and self._has_paused(report):
                    self._rungs.report(number, self._value_of(number))
            case Ended(number, checkpoint, stopped_by):
                self._keep(number, checkpoint)
                trial.ended = stopped_by or "epochs"
                self._rungs.report(number, self._value_of(number), ended=True)
        self._drop_states()

    def _keep(self, number: int, checkpoint: Checkpoint) -> None:
        # All trials have the same rows, which are kept once.
        self._states[number], trial = replace(checkpoint, rows=self.rows[:0]), self._trials[number]
        trial.epoch, trial.step = checkpoint.epoch, checkpoint.step
        trial.best = checkpoint.served_epoch if checkpoint.best is not None and checkpoint.best.epoch else None

    def _value_of(self, number: int) -> float | None:
        best = self._trials[number].best
        return None if best is None else getattr(best, self.monitor)

    def _has_paused(self, report: Stopped) -> bool:
        goal = next(stretch.epochs for stretch in self._rungs.running if stretch.trial == report.number)
        return report.checkpoint.epoch >= goal

    def _drop_states(self) -> None:
        """Forget the states of trials that have ended, except the best one's."""
        best = self._best()
        self._states = {
            number: state
            for number, state in self._states.items()
            if number == best or self._trials[number].ended is None
        }

    def _best(self) -> int | None:
        """The trial that is published if the sweep ends now; None if no trial has a state."""
        best = self._rungs.best()
        if best is not None:
            return best
        # No trial was compared yet, or none has a finite value.
        known = [number for number in sorted(self._states) if self._value_of(number) is not None]
        return next(iter(known or sorted(self._states)), None)

    def _cut_short(self) -> None:
        """Trials under way are compared with the others as they are."""
        for stretch in self._rungs.running:
            self._rungs.report(stretch.trial, self._value_of(stretch.trial))

    def _finish(self, journal: MembersJournal) -> None:
        number = self._best()
        if number is None:
            assert self._failure is not None
            raise MemberFailedError(self._failure)
        self._over = True
        self._drop_states()
        # It is no last state of a run, from which a version could be made.
        journal.checkpoint(self._state(), CheckpointKind.BETWEEN)
        self.definition = self._definition_of(number)
        state = replace(
            self._states[number],
            definition=self.definition,
            features=self.fitted,
            rows=self.rows,
            created_at=utc_now(),
            kernels=self.kernels,
        )
        journal.checkpoint(state.at_best() if self._trials[number].best else state, CheckpointKind.BEST)

    # What is saved and shown.

    @property
    def planned(self) -> dict[int, int]:
        """The most epochs of each trial."""
        return dict(enumerate(self.sweep.epochs, 1))

    def best_epochs(self) -> dict[int, Epoch]:
        """The best epoch so far of each trial that has one."""
        return {number: trial.best for number, trial in self._trials.items() if trial.best is not None}

    def _state(self) -> SweepCheckpoint:
        return SweepCheckpoint(
            definition=self.definition,
            features=self.fitted,
            members=dict(self._states),
            search={
                "rungs": self._rungs.document(),
                "trials": {str(number): asdict(trial) for number, trial in self._trials.items()},
            },
            rows=self.rows,
            seconds=self._seconds(),
            created_at=utc_now(),
            kernels=self.kernels,
        )

    def progress(self) -> RunProgress:
        """How far the sweep is, and how good its best trial is."""
        done = sum(self._share_of(number) for number in self._trials)
        expected = expected_epochs(self.sweep.search, self.sweep.epochs)
        return RunProgress(
            epoch=sum(self._epochs.values()),
            step=sum(self._steps.values()),
            fraction=1.0 if self._over else min(done / expected if expected else 1.0, 0.999),
            metrics=self._metrics(),
        )

    def _share_of(self, number: int) -> float:
        """How many epochs of a trial are done; one that has ended needs no more."""
        epochs = self._epochs.get(number, 0)
        # In a halving search, most trials end long before their last epoch, so that those that do count as they are.
        ended = self._trials[number].ended is not None and not isinstance(self.sweep.search, Halving)
        return self.sweep.epochs[number - 1] if ended else epochs

    def _metrics(self) -> dict[str, float | None] | None:
        number = self._best()
        best = None if number is None else self._trials[number].best
        return None if best is None else {name: getattr(best, name) for name in METRICS}

    def metrics_of(self, _kind: CheckpointKind) -> dict[str, float | None]:
        """The metrics of a checkpoint that is saved now: those of the best trial's best epoch, and its ``epoch``."""
        number = self._best()
        best = None if number is None else self._trials[number].best
        return {} if best is None else {**(self._metrics() or {}), "epoch": best.number}

    def details(self) -> dict[str, Any]:
        """What a job shows of its run beside its progress."""
        number = self._best()
        best = None if number is None else self._best_document(number)
        return {
            "best": None if best is None else {"member": number, **best},
            "stopped_by": self.stopped_by,
            "kernels": self.kernels,
            "members": [self._trial_document(number) for number in self._trials],
        }

    def _best_document(self, number: int) -> dict[str, Any] | None:
        best = self._trials[number].best
        if best is None:
            return None
        return {"epoch": best.number, "monitor": self.monitor, "value": self._value_of(number)}

    def _trial_document(self, number: int) -> dict[str, Any]:
        trial = self._trials[number]
        return {
            "member": number,
            "values": dict(self.sweep.trials[number - 1].values),
            "state": self._state_of(number),
            "epoch": self._epochs.get(number, 0),
            "epochs": self.sweep.epochs[number - 1],
            "stopped_by": trial.ended if trial.ended in ("early_stopping", "max_seconds") else None,
            "best": self._best_document(number),
            "error": None if trial.error is None else {"code": trial.ended, "detail": trial.error},
        }

    def _state_of(self, number: int) -> str:
        trial = self._trials[number]
        if trial.error is not None:
            return "failed"
        if trial.ended is not None:
            return "ended"
        if number in self._running:
            return "running"
        if self._over:
            return "stopped"
        return "paused" if self._epochs.get(number, 0) or number in self._states else "waiting"
