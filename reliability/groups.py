"""A memory control group for the processes of a test, if this machine allows one."""

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
    """Create a group with a memory limit in bytes; yields its directory, or None if it cannot be created.

    All processes of the group must have ended when the block ends.
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
        eventually(lambda: _is_removed(group), what=f"{group} is empty")


def _is_removed(group: Path) -> bool:
    """Remove the group. This fails until the kernel has cleaned up the last process of the group."""
    try:
        group.rmdir()
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True
