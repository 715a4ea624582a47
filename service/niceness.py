"""Giving way to other processes, as ``nice`` counts: predictions come first, then training, then upkeep."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["TRAINING", "UPKEEP", "give_way"]

#: The niceness of what trains, and of what checks and writes files beside.
TRAINING, UPKEEP = 10, 15


def give_way(niceness: int) -> None:
    """Give this process and those that it will start at least this niceness, and its session too if it leads one.

    Linux may share the processors among sessions first (``sched_autogroup_enabled``). The niceness of a process then
    counts within its session only; among sessions, theirs counts (sched(7)).
    """
    os.setpriority(os.PRIO_PROCESS, 0, max(niceness, os.getpriority(os.PRIO_PROCESS, 0)))
    if os.getsid(0) == os.getpid():
        group = Path("/proc/self/autogroup")
        with suppress(OSError):  # Not every kernel has such groups.
            group.write_text(str(max(niceness, int(group.read_text().split()[-1]))))
