"""A client beside wrk that measures how long answers take, by their status."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["Probe", "probing"]

#: Seconds between an answer and the next request: short, but no load by itself.
PAUSE = 0.02
#: Seconds to wait for an answer.
PATIENCE = 60.0


class Probe:
    """Asks one request after the other on a thread of its own, with a new connection if the server closes the last.

    ``seconds`` has the times of all answers by status, each from before the connection, if a new one was needed, to the
    last byte; ``failures`` counts connections that ended without an answer.
    """

    def __init__(self, port: int, body: bytes) -> None:
        self.seconds: dict[int, list[float]] = {}
        self.failures = 0
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self._body = body
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def end(self) -> None:
        """Wait for the answer that is under way, and ask no more."""
        self._over.set()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while not self._over.is_set():
            begin = time.perf_counter()
            try:
                status = self._ask()
            except (OSError, http.client.HTTPException):
                self.failures += 1
                self._connection.close()
            else:
                self.seconds.setdefault(status, []).append(time.perf_counter() - begin)
            self._over.wait(PAUSE)

    def _ask(self) -> int:
        """The status of an answer that has been read to its end."""
        # The server may answer, and close, before it has read the whole body.
        with suppress(BrokenPipeError, ConnectionResetError):
            self._connection.request("POST", "/predict", self._body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        response.read()
        return response.status


@contextmanager
def probing(port: int, body: bytes) -> Iterator[Probe]:
    """Ask for predictions during a with-block; what was measured is complete after it."""
    probe = Probe(port, body)
    probe.start()
    try:
        yield probe
    finally:
        probe.end()
