"""When a request is sent again, and after how long."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from trainyard.errors import Refused

__all__ = ["Attempts", "Patience"]

#: What may pass by itself, and was refused before anything was done.
REFUSED_AT_ONCE = (408, 429, 503)
#: What may pass by itself, but may have been done.
FAILED = (500, 502, 504)
FIRST_SECONDS, LONGEST_SECONDS = 0.2, 5.0


def _pause(number: int) -> float:
    """Seconds before the try after ``number`` others: longer each time, and not the same for all clients."""
    return float(min(FIRST_SECONDS * 2**number, LONGEST_SECONDS) * random.uniform(0.5, 1.0))  # noqa: S311


@dataclass
class Attempts:
    """The further tries that a request has: ``left`` of them, none after more than ``longest`` seconds of waiting."""

    left: int
    longest: float
    made: int = 0

    def wait(self, asked: float | None = None) -> bool:
        """Wait until the next try, at least as long as the service asked for; False if there is none."""
        if self.left <= 0 or (asked or 0.0) > self.longest:
            return False
        self.left -= 1
        time.sleep(max(_pause(self.made), asked or 0.0))
        self.made += 1
        return True

    def after(self, refused: Refused, *, repeatable: bool) -> bool:
        """Wait if this refusal may pass; False if the caller has to be told."""
        passing = refused.status in REFUSED_AT_ONCE or (repeatable and refused.status in FAILED)
        return passing and self.wait(refused.retry_after)


class Patience:
    """How long a service may be away while something is followed: ``seconds`` from its last sign of life."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: float | None = None
        self._made = 0

    def renew(self) -> None:
        """The service has answered."""
        self._until, self._made = None, 0

    def wait(self, asked: float | None = None) -> bool:
        """Wait until the next try; False if the service has been away for too long."""
        now = time.monotonic()
        if self._until is None:
            self._until = now + self._seconds
        left = self._until - now
        if left <= 0:
            return False
        time.sleep(min(max(_pause(self._made), asked or 0.0), left))
        self._made += 1
        return True
