"""A job of the default recipe that trains its members on all cores for as long as a benchmark needs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar
from urllib.error import HTTPError

import numpy as np

from benchmarks.processor import cores
from benchmarks.servers import call

__all__ = ["LongJob", "Pace", "training", "upload"]

DATASET, ROWS, COLUMNS, CLASSES = "points", 20_000, 20, 3
#: Units of the random network that labels the rows: so many that a member learns from them for minutes.
TEACHER = 200
#: Seconds until the members train, and until an overloaded service answers again.
PATIENCE = 90.0

Result = TypeVar("Result")


def upload(port: int) -> None:
    """Store the rows that the jobs train on: numbers, labelled by a random network."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(ROWS, COLUMNS)).round(4)
    hidden = np.tanh(inputs @ random.normal(size=(COLUMNS, TEACHER)))
    labels = (hidden @ random.normal(size=(TEACHER, CLASSES))).argmax(axis=1)
    call(port, "POST", "/datasets", {"name": DATASET, "inputs": inputs.tolist(), "labels": labels.tolist()})


class Pace(NamedTuple):
    """Epochs and steps per second, of all members together."""

    epochs: float
    steps: float


class LongJob:
    """A running job, of which only the progress matters."""

    def __init__(self, port: int, job_id: str) -> None:
        self._port, self._path = port, f"/jobs/{job_id}"

    def document(self) -> Any:
        """The job as the service shows it."""
        return _answer(self._port, "GET", self._path)

    def during(self, action: Callable[[], Result]) -> tuple[Result, Pace]:
        """Carry out an action; return its result and the job's pace meanwhile.

        Raises RuntimeError if the job ends before the action does.
        """
        before, begin = self._progress(), time.perf_counter()
        result = action()
        after, seconds = self._progress(), time.perf_counter() - begin
        return result, Pace(*((after[name] - before[name]) / seconds for name in ("epoch", "step")))

    def alone(self, seconds: float) -> Pace:
        """The pace while nothing else is asked of the service."""
        return self.during(lambda: time.sleep(seconds))[1]

    def _progress(self) -> dict[str, int]:
        found = self.document()
        if found["state"] != "running":
            raise RuntimeError(f"the job must train until it is cancelled; more rows make it longer. Received: {found}")
        progress: dict[str, int] = found["progress"]
        return progress


def _answer(port: int, method: str, path: str) -> Any:
    """The service's answer, asked again while it refuses because it is still overloaded."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return call(port, method, path)
        except HTTPError as error:
            with error:
                if error.code != 503 or time.monotonic() > until:
                    raise
        time.sleep(0.1)


@contextmanager
def training(port: int, seed: int) -> Iterator[LongJob]:
    """Run a job on the uploaded rows for the time of a with-block; it begins when each core has reported epochs.

    Raises RuntimeError if the job does not come so far, or ends by itself.
    """
    started = call(port, "POST", "/train", {"model": {"name": "beside"}, "data": DATASET, "seed": seed})
    job, path = LongJob(port, started["id"]), f"/jobs/{started['id']}"
    until = time.monotonic() + PATIENCE
    while (found := job.document())["progress"]["epoch"] < 2 * cores():
        if time.monotonic() > until or found["state"] not in ("queued", "running"):
            raise RuntimeError(f"the members must train within {PATIENCE:.0f} s. Received: {found}")
        time.sleep(0.1)
    yield job
    _answer(port, "POST", f"{path}/cancel")
    ended = _answer(port, "GET", f"{path}?wait=60")
    if ended["state"] != "cancelled":
        raise RuntimeError(f"the job must end when it is cancelled. Received: {ended}")
