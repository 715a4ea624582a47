"""What is recorded of each answered request, and the thread that takes the records."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import time
from typing import Any, NamedTuple

__all__ = ["CODE", "KEY", "METHODS", "NOTED", "PREDICTED", "SHADOWED", "Drain", "Predicted", "Record"]

_log = logging.getLogger("trainyard.web")

#: Keys of the environment under which an application notes what is recorded: the id of the caller's key, the code of
#: a problem document, what was predicted, and what another version is to predict after the answer was sent.
KEY, CODE, PREDICTED, SHADOWED = NOTED = (
    *("trainyard.key", "trainyard.code"),
    *("trainyard.predicted", "trainyard.shadowed"),
)
#: Methods that count as such; a request may name any word as one.
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
#: Seconds between two drains, and after one of many records: the next one is short then. The loop may wait for the
#: interpreter's lock as long as a drain has it.
DRAIN_SECONDS, MANY, BUSY_SECONDS = 0.1, 50, 0.01


class Predicted(NamedTuple):
    """What a request predicts with a model by its qualified name; ``version`` is None for another checkpoint.

    ``passes`` counts passes through the network: several requests may share one, which counts for one of them. The
    seconds are those in which the rows waited for others, were read, were predicted, with all that share the pass, and
    in which the answer was written. A request that ``failed`` has no rows.
    """

    model: str
    version: int | None
    rows: int
    passes: int = 1
    queue: float = 0.0
    read: float = 0.0
    infer: float = 0.0
    write: float = 0.0
    failed: bool = False


class Record(NamedTuple):
    """How a request was answered.

    ``at`` is the end of the answer in seconds since 1970, ``seconds`` is the time since the head was read, and
    ``sent`` are bytes of the body. ``method`` and ``path`` are None if the head could not be read. A status of 499
    means that the client has left before there was an answer, and ``cut`` that it has not taken all of it. ``shadowed``
    is what the application has noted for another version to predict.
    """

    at: float
    request_id: str | None
    key: str | None
    method: str | None
    path: str | None
    status: int
    seconds: float
    sent: int
    code: str | None
    predicted: Predicted | None
    traceparent: str | None
    cut: bool
    shadowed: Any = None

    @classmethod
    def of(cls, environ: dict[str, Any], status: int, seconds: float, sent: int, cut: bool) -> Record:
        """The record of a request that has ended, by its environment, which is empty if its head could not be read."""
        get = environ.get
        # Without the function that a named tuple is made by, which would take twice as long.
        return _new(
            cls,
            (
                time(),
                get("trainyard.request_id"),
                get(KEY),
                get("REQUEST_METHOD"),
                get("PATH_INFO"),
                status,
                seconds,
                sent,
                get(CODE),
                get(PREDICTED),
                get("HTTP_TRACEPARENT"),
                cut,
                get(SHADOWED),
            ),
        )


_new = tuple.__new__


class Drain:
    """A thread that calls ``drain`` from time to time until ``stop``, which calls it a last time.

    ``drain`` returns how many records it has taken.
    """

    def __init__(self, drain: Callable[[], int]) -> None:
        self._drain = drain
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="records", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Drain what is left."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        stopped, taken = False, 0
        while not stopped:
            stopped = self._stopped.wait(DRAIN_SECONDS if taken < MANY else BUSY_SECONDS)
            try:
                taken = self._drain()
            except Exception:  # noqa: BLE001 - whatever it is, the next records may be taken
                _log.exception("records of requests could not be taken")
