"""Clients that request predictions during a trial, and the check of all distinct responses."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from models.definition.ensemble import Ensemble
from models.features.plan import ServingPlan
from models.formats.checkpoint_file import AnyCheckpoint, load_checkpoint
from models.formats.mapped_parameters import MappedNetwork
from models.serving.ensemble_predictor import EnsemblePredictor
from models.training.checkpoint import Checkpoint
from nncore.network import Predictor
from reliability.connections import Connection, post
from reliability.figure import Figure

__all__ = ["Client", "Habit", "Question", "Seen", "Trial", "Version", "check"]

#: One request in so many is large, and one in so many uses a new connection.
LARGE_ONE_IN, FRESH_ONE_IN = 200, 50


#: What requests that share a pass may differ by from one that is computed alone (decision 0011).
LAST_BITS = 2e-6


@dataclass(frozen=True, eq=False)
class Question:
    """The content of a request; ``version`` None is the default, ``content_type`` None sends no such header.

    ``rows`` are the members that give rows: ``inputs``, ``rows``, or ``columns`` and ``rows``.
    """

    model: str
    rows: Mapping[str, Any]
    version: int | None = None
    content_type: str | None = None

    @property
    def count(self) -> int:
        """The number of rows."""
        return len(self.rows["inputs" if "inputs" in self.rows else "rows"])

    def message(self, *, closing: bool) -> bytes:
        """Return the bytes of the request."""
        document = {"model": self.model, **self.rows}
        if self.version is not None:
            document["version"] = self.version
        headers = {"Content-Type": self.content_type} if self.content_type else {}
        headers |= {"Connection": "close"} if closing else {}
        return post("/predict", json.dumps(document).encode(), headers)


class Habit(NamedTuple):
    """How a client sends requests; all times are maximums in seconds."""

    name: str
    #: Pause between two requests.
    pause: float = 0.0
    #: Pause within a request, which is sent in two pieces.
    halt: float = 0.0
    #: Delay before the client closes its end; it asks the server to close the connection after each response.
    lateness: float = 0.0


class Seen(NamedTuple):
    """A response that is new to a client: its question, its time and its body."""

    question: Question
    at: datetime
    body: bytes


class Version(NamedTuple):
    """A version as the service reports it, and its checkpoint file."""

    number: int
    published: datetime
    path: Path


@dataclass
class Trial:
    """The state that all clients share: the questions, the published versions and the findings."""

    address: tuple[str, int]
    questions: list[Question]
    figure: Figure
    goals: Mapping[str, int]
    #: The newest version that a job has reported, by model; later requests must not get an older one.
    published: dict[str, int] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str, number: int = 1) -> None:
        """Add to a count."""
        with self._lock:
            self.figure.count(what, number)

    def supervise(self, seconds: float) -> None:
        """End the trial when every count has reached its goal, or when the time is up."""
        until = monotonic() + seconds
        while not self.over.wait(0.1):
            if monotonic() > until or all(self.figure.counts.get(name, 0) >= n for name, n in self.goals.items()):
                self.over.set()

    def broke(self, what: str) -> None:
        """Record a case in which the promise did not hold; 100 of them end the trial."""
        with self._lock:
            self.figure.broken.append(what)
            if len(self.figure.broken) >= 100:
                self.over.set()

    def saw(self, seen: Seen) -> None:
        """Record a response for the check after the trial."""
        with self._lock:
            self.seen.append(seen)


class Client:
    """A client that sends requests until the trial is over."""

    def __init__(self, trial: Trial, number: int, habit: Habit) -> None:
        self._trial, self._habit, self._chance = trial, habit, random.Random(number)
        self._connection = Connection(trial.address, habit.lateness)
        self._messages = {question: question.message(closing=habit.lateness > 0) for question in trial.questions}
        self._small = [question for question in trial.questions if question.count == 1]
        self._large = [question for question in trial.questions if question.count > 1]
        self._known: dict[tuple[Question, bytes], int] = {}
        self._newest: dict[str, int] = {}

    def run(self) -> None:
        """Send one question after the other."""
        with closing(self._connection):
            while not self._trial.over.is_set():
                if self._chance.randrange(FRESH_ONE_IN) == 0:
                    self._connection.close()
                self._ask(self._chance.choice(self._small if self._chance.randrange(LARGE_ONE_IN) else self._large))
                if self._habit.pause:
                    self._trial.over.wait(self._chance.uniform(0.0, self._habit.pause))
        self._trial.count("connections", self._connection.made)
        self._trial.count("found closed while idle", self._connection.found_closed)

    def _ask(self, question: Question) -> None:
        trial = self._trial
        least = max(trial.published[question.model], self._newest.get(question.model, 0))
        try:
            answer = self._connection.ask(self._messages[question], self._chance.uniform(0.0, self._habit.halt))
        except OSError as error:
            self._connection.close()
            trial.broke(f"{question.model}, {self._habit.name}: {type(error).__name__}: {error}")
            return
        if answer.status != 200:
            trial.broke(f"{question.model}, {self._habit.name}: {answer.status} {answer.body[:300]!r}")
            return
        trial.count("predictions")
        trial.count(f"of them {self._habit.name}")
        version = self._known.get((question, answer.body)) or self._note(question, answer.body)
        if question.version is None and version < least:
            trial.broke(f"{question.model}: version {version} after {least} was published")
        elif question.version is None:
            self._newest[question.model] = version

    def _note(self, question: Question, body: bytes) -> int:
        """Record a response that is new to this client and return its version."""
        self._trial.saw(Seen(question, datetime.now(UTC), body))
        version: int = json.loads(body)["version"]
        self._known[question, body] = version
        return version


def check(trial: Trial, versions: Mapping[str, Mapping[int, Version]]) -> None:
    """Compare every distinct response with what its version computes from its file."""
    answers: dict[Question, dict[int, np.ndarray[Any, Any]]] = {}
    expected: dict[tuple[Question, int], dict[str, Any]] = {}
    predictors = {
        (model, number): _Judge(version.path) for model, known in versions.items() for number, version in known.items()
    }
    for question, at, body in trial.seen:
        document = json.loads(body)
        number = document["version"]
        version = versions[question.model].get(number)
        if version is None or version.published > at or question.version not in (None, number):
            trial.broke(f"{question.model}: got version {number}, requested {question.version}, published: {version}")
            continue
        key = question, number
        if key not in expected:
            expected[key] = predictors[question.model, number].answer(question, number)
        if not _same(document, expected[key]):
            trial.broke(f"{question.model}: the response is not what version {number} computes: {body[:300]!r}")
        answers.setdefault(question, {})[number] = np.array(document["probabilities"])
    for reported in answers.values():
        for one, other in combinations(reported.values(), 2):
            if np.abs(one - other).max() <= 2 * LAST_BITS:
                trial.broke("two versions give the same response, so the test cannot distinguish them")
    trial.figure.count("different answers compared", len(expected))


class _Judge:
    """The reference predictions of a version, from its file."""

    def __init__(self, path: Path) -> None:
        checkpoint = load_checkpoint(path)
        self._classes = list(checkpoint.definition.classes)
        self._predictor = _predictor(checkpoint)
        features, dtype = checkpoint.features, self._predictor.dtype
        self._plan = None if features is None else ServingPlan(features, checkpoint.definition.label, np.dtype(dtype))

    def answer(self, question: Question, version: int) -> dict[str, Any]:
        """Return the expected response of ``/predict``."""
        with threadpool_limits(1):
            probabilities = self._predictor.predict_proba(self._numbers(question.rows))
        return {
            "model": question.model,
            "version": version,
            "classes": self._classes,
            "predictions": [self._classes[index] for index in probabilities.argmax(axis=1)],
            "probabilities": probabilities,
        }

    def _numbers(self, rows: Mapping[str, Any]) -> np.ndarray[Any, Any]:
        if self._plan is None:
            return np.array(rows["inputs"]).astype(self._predictor.dtype)
        return (
            self._plan.lists(rows["columns"], rows["rows"]) if "columns" in rows else self._plan.records(rows["rows"])
        )


def _predictor(checkpoint: AnyCheckpoint) -> Predictor | EnsemblePredictor:
    """What predicts with the arrays of a checkpoint."""
    definition = checkpoint.definition
    if isinstance(checkpoint, Checkpoint):
        arrays = {**checkpoint.evaluated, **checkpoint.evaluated_statistics}
        return Predictor(definition.layers, definition.inputs, arrays)
    assert isinstance(definition.ensemble, Ensemble)
    assert checkpoint.mixture is not None
    baselines = {kind.name for kind in definition.ensemble.kinds if kind.baseline}
    networks = [
        MappedNetwork(member.kind, {**member.parameters, **member.statistics})
        for member in checkpoint.members.values()
        if member.ended is not None and member.kind not in baselines
    ]
    bins = None if checkpoint.features is None else checkpoint.features.bin_columns
    return EnsemblePredictor(definition, networks, bins, checkpoint.mixture)


def _same(document: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Return whether a response equals the expected one, with probabilities that differ in their last bits at most."""
    probabilities = expected["probabilities"]
    received = np.array(document["probabilities"], probabilities.dtype)
    rest = {name: value for name, value in expected.items() if name != "probabilities"}
    return {**document, "probabilities": None} == {**rest, "probabilities": None} and bool(
        received.shape == probabilities.shape and np.abs(received - probabilities).max() <= LAST_BITS
    )
