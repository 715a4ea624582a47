"""What processes have in memory, as /proc/PID/smaps says it.

PSS divides a page among the processes that share it. Anonymous pages belong to no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ["anonymous", "of_files", "proportional"]

_MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+ *(.*)")


def proportional(processes: Iterable[int]) -> int:
    """The sum of the processes' PSS in bytes."""
    return sum(_rollup(process)["Pss"] for process in processes)


def anonymous(process: int) -> int:
    """The bytes of a process's anonymous pages."""
    return _rollup(process)["Anonymous"]


def of_files(process: int, folder: Path) -> dict[str, int]:
    """The resident bytes of each file below ``folder`` that a process has mapped, by the file's name."""
    found: dict[str, int] = {}
    parts = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path(f"/proc/{process}/smaps").read_text(), flags=re.MULTILINE)
    for part in parts[1:]:
        head, _, rest = part.partition("\n")
        mapping = _MAPPING.match(head)
        assert mapping is not None, head
        path = Path(mapping[1])
        if path.is_relative_to(folder):
            found[path.name] = found.get(path.name, 0) + _sizes(rest)["Rss"]
    return found


def _rollup(process: int) -> dict[str, int]:
    return _sizes(Path(f"/proc/{process}/smaps_rollup").read_text())


def _sizes(lines: str) -> dict[str, int]:
    return {name: int(size) * 1024 for name, size in re.findall(r"^(\w+): +(\d+) kB$", lines, re.MULTILINE)}
