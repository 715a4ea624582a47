"""strace on a process, to log its system calls, or to make one of them fail or kill the process."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["CALLS", "calls_made", "strace_missing", "traced"]

#: The calls by which a save and its commit change the disk.
CALLS = ("write", "pwrite64", "fsync", "fdatasync", "rename", "unlink", "ftruncate")


def strace_missing() -> str | None:
    """Return what to install if strace is not available, else None."""
    return None if shutil.which("strace") else "strace is missing; install Debian's package strace"


@contextmanager
def traced(pid: int, log: Path, *expressions: str) -> Iterator[None]:
    """Trace a process and its threads until it ends. It must end within the block, so that the log is complete."""
    command = ["strace", "-f", "-y", "-o", str(log), "-e", f"trace={','.join(CALLS)}"]
    for expression in expressions:
        command += ["-e", expression]
    strace = subprocess.Popen([*command, "-p", str(pid)], stderr=subprocess.PIPE, text=True)
    assert strace.stderr is not None
    with strace.stderr:
        line = strace.stderr.readline()
        assert "attached" in line, line
        yield
        strace.wait(30)


def calls_made(log: Path) -> list[tuple[str, int]]:
    """Return the calls in a log, each with its number among its thread's calls of the same name, as in strace.

    Calls on terminals and pipes are omitted, because they do not change the disk.
    """
    made: list[tuple[str, int]] = []
    count: dict[tuple[str, str], int] = {}
    pattern = rf"^(\d+) +({'|'.join(CALLS)})\(([^,)]*)"
    for thread, call, first in re.findall(pattern, log.read_text(), re.MULTILINE):
        count[thread, call] = count.get((thread, call), 0) + 1
        if "pipe:" not in first and "/dev/" not in first:
            made.append((call, count[thread, call]))
    return sorted(set(made))
