"""A sweep as a run carries it out: its trials, with what each of them trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from models.definition.definition import ModelDefinition
from models.schemas import Tagged, load
from models.training.request import TrainingRequest
from models.training.search import SEARCHES, Search
from nncore.stopping import EarlyStopping, Monitor

__all__ = ["Sweep", "SweepTrial", "search_field", "trial_request"]


def search_field() -> Tagged:
    """A search in a document."""
    return Tagged(SEARCHES)


@dataclass(frozen=True, eq=False)
class SweepTrial:
    """A trial's values by pointer, and what follows from them: a definition of one network, and how to train it."""

    values: Mapping[str, Any]
    definition: ModelDefinition
    request: TrainingRequest


@dataclass(frozen=True, eq=False)
class Sweep:
    """The trials of a search, in the order of their numbers, and the metric by which they are compared.

    ``definition`` has what all of them share: the name, the features and the classes.
    """

    search: Search
    monitor: Monitor
    definition: ModelDefinition
    trials: tuple[SweepTrial, ...]

    @property
    def epochs(self) -> list[int]:
        """The most epochs that each trial trains."""
        return [trial.request.epochs for trial in self.trials]

    @classmethod
    def of(cls, asked: Mapping[str, Any], plan: Mapping[str, Any]) -> Sweep:
        """The sweep of a job; ``asked`` is its request, and ``plan`` what ``plan_of`` made."""
        parsed = cache(ModelDefinition.parse)
        trials = []
        for each in plan["trials"]:
            request = trial_request(TrainingRequest.of({**asked["train"], **each["request"]}), asked["monitor"])
            text = plan["definition"] if each["definition"] is None else each["definition"]
            trials.append(SweepTrial(each["values"], parsed(text), request))
        search: Search = load(search_field(), asked["search"])
        return cls(search, asked["monitor"], parsed(plan["definition"]), tuple(trials))


def trial_request(request: TrainingRequest, monitor: Monitor) -> TrainingRequest:
    """A request as a trial is trained: it keeps its best epoch by the sweep's metric.

    What ends the sweep, and when it saves, is not for its trials.
    """
    # Without early stopping, it waits for an improvement to its last epoch.
    stopping = request.early_stopping or EarlyStopping(patience=max(1, request.epochs))
    return replace(
        request,
        early_stopping=replace(stopping, monitor=monitor, restore_best=True),
        publish="best",
        every_epochs=None,
        every_seconds=None,
        max_seconds=None,
    )
