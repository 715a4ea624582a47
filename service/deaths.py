"""Why a runner died: told by how its process ended and by what the kernel counts."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

__all__ = ["Death", "OutOfMemoryKills", "death_of"]

#: Signals that a process gets for what it does itself; others come from outside.
_FAULTS = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP", "SIGXCPU", "SIGXFSZ")


class Death(NamedTuple):
    """The end of a runner that could not say how it ended, as a job's error."""

    code: Literal["worker_lost", "out_of_memory", "crashed"]
    detail: str


class OutOfMemoryKills:
    """How many processes of this control group the kernel has killed for want of memory.

    The kernel sends the same SIGKILL as anybody else; this count alone tells the difference. ``process`` and
    ``groups`` are the places of the kernel's files.
    """

    def __init__(self, process: Path = Path("/proc/self"), groups: Path = Path("/sys/fs/cgroup")) -> None:
        # The last is the whole machine's count, for a process that is in no group.
        places = [*_counters(process / "cgroup", groups), process.parent / "vmstat"]
        self._place = next((place for place in places if _count(place) is not None), None)
        self._known = self._now()

    def any_new(self) -> bool:
        """Whether there was one since this was asked last."""
        before, self._known = self._known, self._now()
        return self._known > before

    def _now(self) -> int:
        return (_count(self._place) if self._place is not None else None) or 0


def _counters(groups_of_process: Path, groups: Path) -> Iterator[Path]:
    """Files that may count for the groups of a process (cgroups(7)), the most likely first.

    The last of each kind is for a container that sees its own group as the root and is told another path.
    """
    lines: list[str] = []
    with suppress(OSError):
        lines = groups_of_process.read_text().splitlines()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            yield from (groups / "memory" / inside / "memory.oom_control" for inside in (path.lstrip("/"), ""))
        elif not controllers:
            yield from (groups / inside / "memory.events" for inside in (path.lstrip("/"), ""))


def _count(place: Path) -> int | None:
    """The number behind the word ``oom_kill``; None where the file does not say."""
    with suppress(OSError):
        for line in place.read_text().splitlines():
            word, _, number = line.partition(" ")
            if word == "oom_kill":
                return int(number)
    return None


def death_of(status: int, out_of_memory_kills: OutOfMemoryKills) -> Death:
    """What a runner died of that ended with ``status``: negative for a signal, as ``subprocess`` tells it."""
    if status >= 0:
        return Death("worker_lost", f"exited with status {status}")
    name = signal.Signals(-status).name
    if name == "SIGKILL" and out_of_memory_kills.any_new():
        return Death("out_of_memory", "out of memory: killed by the kernel")
    if name in _FAULTS:
        return Death("crashed", f"crashed: {name}")
    return Death("worker_lost", f"killed by {name}")
