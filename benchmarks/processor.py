"""The processor that figures are of."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

__all__ = ["cores", "name"]


def name() -> str:
    """The processor's name, as the system gives it."""
    information = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", information.read_text()) if information.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0))
