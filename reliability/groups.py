"""A memory control group for the processes of a test, where this machine lets us make one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testing.harness import eventually

__all__ = ["memory_group"]

GROUPS = Path("/sys/fs/cgroup")


@contextmanager
def memory_group(limit: int) -> Iterator[Path | None]:
    """A group whose processes may take ``limit`` bytes in all, by its directory; None where none can be made.

    All its processes must have ended when the block does.
    """
    own = Path("/proc/self/cgroup").read_text().splitlines()
    places = [line.split(":", 2)[1:] for line in own]
    first = next((place for controllers, place in places if "memory" in controllers.split(",")), None)
    parent = GROUPS if first is None else GROUPS / "memory" / first.lstrip("/")
    group = parent / f"trainyard-{os.getpid()}"
    bound = group / ("memory.max" if first is None else "memory.limit_in_bytes")
    try:
        group.mkdir()
        bound.write_text(str(limit))
    except OSError:
        if group.is_dir():
            group.rmdir()
        yield None
        return
    try:
        yield group
    finally:
        eventually(lambda: _is_removed(group), what=f"nobody is in {group}")


def _is_removed(group: Path) -> bool:
    """The kernel holds a group until it has taken apart the last of its processes."""
    try:
        group.rmdir()
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True
