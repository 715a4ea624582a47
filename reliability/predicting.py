"""Clients that ask for predictions until told to stop, and the check of every different answer that they got."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from models.formats.checkpoint_file import load_checkpoint
from nncore.network import Predictor
from reliability.connections import Connection, post
from reliability.figure import Figure

__all__ = ["Client", "Habit", "Question", "Seen", "Trial", "Version", "check"]

#: One request in so many is a large one, and one in so many is sent over a connection that is made for it.
LARGE_ONE_IN, FRESH_ONE_IN = 200, 50


@dataclass(frozen=True, eq=False)
class Question:
    """What a request asks, ``version`` None for the default, and the content type that it says, if any."""

    model: str
    rows: np.ndarray[Any, Any]
    version: int | None = None
    content_type: str | None = None

    def message(self, *, closing: bool) -> bytes:
        """The request as it goes over the wire."""
        document = {"model": self.model, "inputs": self.rows.tolist()}
        if self.version is not None:
            document["version"] = self.version
        headers = {"Content-Type": self.content_type} if self.content_type else {}
        headers |= {"Connection": "close"} if closing else {}
        return post("/predict", json.dumps(document).encode(), headers)


class Habit(NamedTuple):
    """How a client asks; the longest times in seconds."""

    name: str
    #: Between two requests.
    pause: float = 0.0
    #: Within a request, which it sends in two pieces.
    halt: float = 0.0
    #: Until it closes its end of a connection, which it asks the server to close after each answer.
    lateness: float = 0.0


class Seen(NamedTuple):
    """An answer that a client had not had before: to which question, when, and its body."""

    question: Question
    at: datetime
    body: bytes


class Version(NamedTuple):
    """A version as the service tells of it, and its checkpoint's file."""

    number: int
    published: datetime
    path: Path


@dataclass
class Trial:
    """What all clients share: the questions, what has been published, and what was found."""

    address: tuple[str, int]
    questions: list[Question]
    figure: Figure
    goals: Mapping[str, int]
    #: The newest version that a job has told of, by model: the least that a request sent from now on may get.
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
        """Tell of a case in which the promise did not hold; so many of them end the trial."""
        with self._lock:
            self.figure.broken.append(what)
            if len(self.figure.broken) >= 100:
                self.over.set()

    def saw(self, seen: Seen) -> None:
        """Keep an answer, to be checked afterwards."""
        with self._lock:
            self.seen.append(seen)


class Client:
    """One that asks until the trial is over."""

    def __init__(self, trial: Trial, number: int, habit: Habit) -> None:
        self._trial, self._habit, self._chance = trial, habit, random.Random(number)
        self._connection = Connection(trial.address, habit.lateness)
        self._messages = {question: question.message(closing=habit.lateness > 0) for question in trial.questions}
        self._small = [question for question in trial.questions if len(question.rows) == 1]
        self._large = [question for question in trial.questions if len(question.rows) > 1]
        self._known: dict[tuple[Question, bytes], int] = {}
        self._newest: dict[str, int] = {}

    def run(self) -> None:
        """Ask one question after the other."""
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
        """Keep an answer that is new to this client; its version."""
        self._trial.saw(Seen(question, datetime.now(UTC), body))
        version: int = json.loads(body)["version"]
        self._known[question, body] = version
        return version


def check(trial: Trial, versions: Mapping[str, Mapping[int, Version]]) -> None:
    """Compare every different answer with what its version computes from its file, bit for bit."""
    answers: dict[Question, dict[int, bytes]] = {}
    expected: dict[tuple[Question, int], dict[str, Any]] = {}
    predictors = {
        (model, number): _Judge(version.path) for model, known in versions.items() for number, version in known.items()
    }
    for question, at, body in trial.seen:
        document = json.loads(body)
        number = document["version"]
        version = versions[question.model].get(number)
        if version is None or version.published > at or question.version not in (None, number):
            trial.broke(f"{question.model}: {number} was answered, {question.version} asked, published: {version}")
            continue
        key = question, number
        if key not in expected:
            expected[key] = predictors[question.model, number].answer(question, number)
        if not _same(document, expected[key]):
            trial.broke(f"{question.model}: the answer is not what version {number} computes: {body[:300]!r}")
        answers.setdefault(question, {})[number] = json.dumps(document["probabilities"]).encode()
    for told in answers.values():
        if len(set(told.values())) != len(told):
            trial.broke("two versions answer alike: had one been taken for the other, it would not show")
    trial.figure.count("different answers compared", len(expected))


class _Judge:
    """A version, read whole from its file."""

    def __init__(self, path: Path) -> None:
        checkpoint = load_checkpoint(path)
        self._classes = list(checkpoint.definition.classes)
        arrays = {**checkpoint.evaluated, **checkpoint.evaluated_statistics}
        self._predictor = Predictor(checkpoint.definition.layers, checkpoint.definition.inputs, arrays)

    def answer(self, question: Question, version: int) -> dict[str, Any]:
        """What ``/predict`` has to say."""
        with threadpool_limits(1):
            probabilities = self._predictor.predict_proba(question.rows.astype(self._predictor.dtype))
        return {
            "model": question.model,
            "version": version,
            "classes": self._classes,
            "predictions": [self._classes[index] for index in probabilities.argmax(axis=1)],
            "probabilities": probabilities,
        }


def _same(document: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Equal, the probabilities as bits."""
    probabilities = expected["probabilities"]
    received = np.array(document["probabilities"], probabilities.dtype)
    rest = {name: value for name, value in expected.items() if name != "probabilities"}
    return {**document, "probabilities": None} == {**rest, "probabilities": None} and bool(
        received.shape == probabilities.shape and received.tobytes() == probabilities.tobytes()
    )
