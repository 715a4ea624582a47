"""strace beside a process, to see its calls or to have one of them fail or kill."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["CALLS", "strace_missing", "traced"]

#: The calls by which a save and its commit change the disk.
CALLS = ("write", "pwrite64", "fsync", "fdatasync", "rename", "unlink", "ftruncate")


def strace_missing() -> str | None:
    """What to do where strace cannot be used."""
    return None if shutil.which("strace") else "strace is missing; install Debian's package strace"


@contextmanager
def traced(pid: int, log: Path, *expressions: str) -> Iterator[None]:
    """Trace a process and its threads from now to its end, which must come within the block; then the log is whole."""
    command = ["strace", "-f", "-o", str(log), "-e", f"trace={','.join(CALLS)}"]
    for expression in expressions:
        command += ["-e", expression]
    strace = subprocess.Popen([*command, "-p", str(pid)], stderr=subprocess.PIPE, text=True)
    assert strace.stderr is not None
    with strace.stderr:
        line = strace.stderr.readline()
        assert "attached" in line, line
        yield
        strace.wait(30)
