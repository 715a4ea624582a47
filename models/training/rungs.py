"""Which trial of a sweep trains next, and how far: the decisions of a halving search (ASHA, Li et al. 2020).

A rung is a number of epochs, after which trials are compared. A search that trains every trial to its end has one rung.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.training.search import Halving, Search
from nncore.stopping import Monitor, improves

__all__ = ["Rungs", "Stretch", "epochs_of", "expected_epochs"]


@dataclass(frozen=True)
class Stretch:
    """Training of a trial until it has trained ``epochs`` epochs; ``rung`` counts from 0."""

    trial: int
    rung: int
    epochs: int


def epochs_of(search: Search, epochs: int) -> list[int]:
    """The epochs of each rung, if a trial that is trained to its end has ``epochs``."""
    if not isinstance(search, Halving):
        return [epochs]
    found, rung = [], search.minimum_epochs
    while rung < epochs:
        found.append(rung)
        rung *= search.factor
    return [*found, epochs]


def expected_epochs(search: Search, epochs: Sequence[int]) -> int:
    """About how many epochs a sweep trains in all, if its trials have so many and none ends early."""
    if not isinstance(search, Halving):
        return sum(epochs)
    found, before, trials = 0, 0, len(epochs)
    for rung in epochs_of(search, max(epochs)):
        found, before, trials = found + trials * (rung - before), rung, max(1, trials // search.factor)
    return found


class Rungs:
    """The state of a sweep of trials 1 to ``trials``.

    A trial goes on from a rung as soon as it is among the best of those that have come as far: one of ``factor``. If no
    trial can, the next one begins. If all have begun and none has come to the last rung, the best of the highest one
    goes on. Decisions follow from the order of the reports alone.
    """

    def __init__(self, epochs: Sequence[int], trials: int, monitor: Monitor, factor: int = 3) -> None:
        self.epochs, self.trials, self.monitor, self.factor = list(epochs), trials, monitor, factor
        #: For each rung, the values of the trials that have come to it; None is worse than any number.
        self._values: list[dict[int, float | None]] = [{} for _ in self.epochs]
        #: The rung to which each running trial is on its way, in the order in which they set out.
        self._running: dict[int, int] = {}
        #: The trials that have nothing more to train, although there are higher rungs.
        self._ended: set[int] = set()
        self._begun = 0

    @property
    def running(self) -> list[Stretch]:
        """What was begun and not reported, in its order: a sweep that is resumed goes on with this."""
        return [self._stretch(trial, rung) for trial, rung in self._running.items()]

    @property
    def finished(self) -> bool:
        """Whether nothing runs and nothing is left to begin."""
        return not self._running and self._choice() is None

    def next(self) -> Stretch | None:
        """Begin the next stretch; None if there is none, or none before a running trial has reported."""
        while (choice := self._choice()) is not None:
            trial, rung = choice
            if trial in self._ended:
                # It would not train: it stands there with what it has.
                self._values[rung][trial] = self._values[rung - 1][trial]
                continue
            self._begun = max(self._begun, trial)
            self._running[trial] = rung
            return self._stretch(trial, rung)
        return None

    def report(self, trial: int, value: float | None, *, ended: bool = False) -> None:
        """Report the value of a running trial, the best so far, at the end of its stretch.

        It is None if the trial failed or its value is not finite; such a trial never goes on. With ``ended``, the trial
        has nothing more to train.
        """
        rung = self._running.pop(trial)
        self._values[rung][trial] = value if value is not None and math.isfinite(value) else None
        if ended:
            self._ended.add(trial)

    def best(self) -> int | None:
        """The best trial of the highest rung that a trial has come to with a value; None if there is none."""
        for values in reversed(self._values):
            ranked = self._ranked(values)
            if ranked:
                return ranked[0]
        return None

    def document(self) -> dict[str, Any]:
        """The state as JSON."""
        return {
            "epochs": self.epochs,
            "trials": self.trials,
            "monitor": self.monitor,
            "factor": self.factor,
            "values": [list(map(list, values.items())) for values in self._values],
            "running": [[trial, rung] for trial, rung in self._running.items()],
            "ended": sorted(self._ended),
            "begun": self._begun,
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Rungs:
        """The state in a document; it decides as the one that made the document."""
        rungs = cls(document["epochs"], document["trials"], document["monitor"], document["factor"])
        rungs._values = [dict(map(tuple, values)) for values in document["values"]]
        rungs._running = dict(map(tuple, document["running"]))
        rungs._ended, rungs._begun = set(document["ended"]), document["begun"]
        return rungs

    def _stretch(self, trial: int, rung: int) -> Stretch:
        return Stretch(trial, rung, self.epochs[rung])

    def _choice(self) -> tuple[int, int] | None:
        """The next trial and the rung to which it goes."""
        for rung in reversed(range(len(self.epochs) - 1)):
            best = self._ranked(self._values[rung])[: len(self._values[rung]) // self.factor]
            waiting = [trial for trial in best if not self._went_on(trial, rung)]
            if waiting:
                return waiting[0], rung + 1
        if self._begun < self.trials:
            return self._begun + 1, 0
        if self._running or self._values[-1]:
            return None
        return self._last_resort()

    def _last_resort(self) -> tuple[int, int] | None:
        """The best trial of the highest rung, if no trial has come to the last one."""
        for rung in reversed(range(len(self.epochs) - 1)):
            ranked = self._ranked(self._values[rung])
            if ranked:
                return ranked[0], rung + 1
        return None

    def _went_on(self, trial: int, rung: int) -> bool:
        return self._running.get(trial, 0) > rung or trial in self._values[rung + 1]

    def _ranked(self, values: Mapping[int, float | None]) -> list[int]:
        """The trials that have a value, the best first; of equal ones, the one with the lower number."""
        sign = 1 if improves(self.monitor, 0.0, 1.0) else -1
        numbers = {trial: sign * value for trial, value in values.items() if value is not None}
        return sorted(numbers, key=lambda trial: (numbers[trial], trial))
