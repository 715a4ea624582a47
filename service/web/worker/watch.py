"""One thread that looks for what all waiting answers of a process wait for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from time import monotonic

from service.web.worker.later import LOOK_SECONDS, Later

__all__ = ["Watch"]

_log = logging.getLogger("trainyard.web")


class Watch:
    """Calls ``wake`` with each answer whose subject has changed, or whose time has come; once for each ``add``.

    ``newest`` returns the number of the newest change of each subject. It is asked for all of them at once, every
    ``LOOK_SECONDS``, and only while an answer waits.
    """

    def __init__(self, newest: Callable[[Collection[str]], Mapping[str, int]], wake: Callable[[Later], None]) -> None:
        self._newest, self._wake = newest, wake
        self._waiting: set[Later] = set()
        self._changed = threading.Condition()
        self._failing = False
        self._thread: threading.Thread | None = None

    def add(self, answer: Later) -> None:
        """Wait for a change."""
        with self._changed:
            self._waiting.add(answer)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
                self._thread.start()
            self._changed.notify()

    def remove(self, answer: Later) -> None:
        """Wait no more, if it still does."""
        with self._changed:
            self._waiting.discard(answer)

    def wake_all(self) -> None:
        """Wake every waiting answer."""
        with self._changed:
            answers, self._waiting = self._waiting, set()
        for answer in answers:
            self._wake(answer)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                answers = list(self._waiting)
            for answer in self._due(answers):
                with self._changed:
                    if answer not in self._waiting:
                        continue
                    self._waiting.remove(answer)
                self._wake(answer)
            # The condition is not waited for, so that a hundred new answers do not cause a hundred queries.
            threading.Event().wait(LOOK_SECONDS)

    def _due(self, answers: list[Later]) -> list[Later]:
        try:
            newest = self._newest({answer.subject for answer in answers})
        except Exception:  # noqa: BLE001 - whatever it is, the next look may succeed, and each answer has its time.
            if not self._failing:  # Once, not with every look.
                _log.exception("what answers wait for cannot be looked up")
            newest, self._failing = {}, True
        else:
            self._failing = False
        now = monotonic()
        return [one for one in answers if one.wake_at <= now or newest.get(one.subject, 0) > one.seen]
