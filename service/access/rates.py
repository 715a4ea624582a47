"""Rates: how many requests a caller may make in a second."""

from __future__ import annotations

import logging
import math
from time import monotonic

from limits import RateLimitItemPerSecond
from limits.errors import ConfigurationError, StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import MovingWindowRateLimiter

from service.settings import SettingsError

__all__ = ["MEMORY", "Rates"]

_log = logging.getLogger("trainyard.access")

#: The store of a process for itself.
MEMORY = "memory://"
#: Seconds between two lines that the store does not answer.
REPEAT_SECONDS = 60.0
#: Seconds within which the store must answer, and those for which it is left alone if it did not.
ANSWER_SECONDS, PAUSE_SECONDS = 0.2, 5.0


class Rates:
    """Counts the requests of each caller over the last second.

    ``store`` is the address of a Redis that processes share, or ``MEMORY``: then each process counts for itself. If the
    Redis does not answer within ``ANSWER_SECONDS``, so it does too, and asks again after ``PAUSE_SECONDS``. Raises
    SettingsError if the address cannot be used.
    """

    def __init__(self, store: str) -> None:
        self.shared = store != MEMORY
        self._own = MovingWindowRateLimiter(MemoryStorage())
        self._limiter = MovingWindowRateLimiter(_storage(store)) if self.shared else self._own
        self._reported = self._failed = -math.inf

    def allow(self, who: str, most: int) -> bool:
        """Count a request of a caller; whether it has made at most so many in the last second, with this one."""
        rate = RateLimitItemPerSecond(most)
        if monotonic() - self._failed < PAUSE_SECONDS:
            return self._own.hit(rate, who)
        try:
            return self._limiter.hit(rate, who)
        except StorageError as error:
            self._failed = monotonic()
            if self._failed - self._reported >= REPEAT_SECONDS:
                self._reported = self._failed
                _log.error("the store of rates does not answer, so each process counts for itself: %s", error)
            return self._own.hit(rate, who)


def _storage(store: str) -> Storage:
    try:
        found = storage_from_string(
            store, wrap_exceptions=True, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS
        )
    except (ConfigurationError, ValueError) as error:
        raise SettingsError(
            "TRAINYARD_RATE_STORE must be memory:// or a redis:// address, for which the package redis is installed. "
            f"Received: {store!r} ({error})"
        ) from None
    assert isinstance(found, Storage)
    return found
