"""Why a process died, as far as its exit status and the kernel's counters show."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path

from service.jobs.record import JobError

__all__ = ["OomKills", "cause_of"]

#: Mount point of control groups, and the file that lists those of this process (cgroups(7)).
GROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


class OomKills:
    """How often the kernel has killed a process of this control group because memory ran out.

    Read from ``memory.events`` (cgroup version 2) or ``memory.oom_control`` (version 1); if neither can be read, the
    count stays at 0.
    """

    def __init__(self) -> None:
        self._files = [path for path in _counters() if path.is_file()]
        self._seen = self._count()

    def since_last(self) -> int:
        """Kills since the previous call, or since this object was created."""
        before, self._seen = self._seen, self._count()
        return self._seen - before

    def _count(self) -> int:
        total = 0
        for path in self._files:
            with suppress(OSError):  # The group may have been removed, and this process moved to another one.
                fields = dict(line.split(maxsplit=1) for line in path.read_text().splitlines())
                total += int(fields.get("oom_kill", 0))
        return total


def _counters() -> list[Path]:
    """The files in which this process's control groups count such kills."""
    found: list[Path] = []
    for line in OWN_GROUPS.read_text().splitlines() if OWN_GROUPS.is_file() else []:
        _, controllers, place = line.split(":", 2)
        if not controllers:
            found += _of_group(GROUPS, place, "memory.events")
        elif "memory" in controllers.split(","):
            found += _of_group(GROUPS / "memory", place, "memory.oom_control")
    return found


def _of_group(root: Path, place: str, name: str) -> list[Path]:
    """A file of a control group; that of the root if a container sees its own group there under another path."""
    own = root / place.lstrip("/")
    return [(own if own.is_dir() else root) / name]


def cause_of(status: int, oom_kills: int) -> JobError:
    """The cause of an end without an outcome: ``status`` is negative for a signal.

    SIGKILL comes from outside; the other signals that end a process come from what it did itself.
    """
    if status >= 0:
        return JobError("worker_lost", f"exited with status {status}")
    name = signal.Signals(-status).name
    if -status == signal.SIGKILL:
        if oom_kills > 0:
            return JobError("out_of_memory", "killed by the kernel, which ran out of memory")
        return JobError("worker_lost", f"killed by {name}")
    if -status in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        return JobError("worker_lost", f"ended by {name}")
    return JobError("crashed", f"crashed: {name}")
