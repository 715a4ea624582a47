"""Child processes that a signal has stopped for too long."""

from __future__ import annotations

import os
from contextlib import suppress
from time import monotonic

from service.jobs.record import JobError

__all__ = ["HELD_UP", "HoldUp"]

#: The end of a process that was stopped by a signal and not continued in time.
HELD_UP = JobError("worker_lost", "stopped by a signal for as long as a lease")


class HoldUp:
    """Watches a child process; ``seconds`` is how long a signal may stop it.

    Otherwise its job would wait forever, and so would the database if the process was stopped within a commit.
    """

    def __init__(self, pid: int, seconds: float) -> None:
        self._pid, self._seconds = pid, seconds
        self._since: float | None = None

    def is_too_long(self) -> bool:
        """Whether the process has been stopped for too long by now. Must be called often."""
        with suppress(ChildProcessError):  # It has ended, as the end of its output will show.
            change = os.waitid(os.P_PID, self._pid, os.WSTOPPED | os.WCONTINUED | os.WNOHANG)
            if change is not None:
                self._since = monotonic() if change.si_code == os.CLD_STOPPED else None
        return self._since is not None and monotonic() - self._since > self._seconds
