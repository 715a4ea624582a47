"""Servers of benchmarks that others wrote, or that run from another folder: started, awaited and ended."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.workers import OVERRIDES

__all__ = ["running"]

#: Seconds within which a server must answer, and within which it must end.
START, END = 90.0, 20.0


@contextmanager
def running(
    command: Sequence[str], port: int, ready: str, folder: Path, variables: Mapping[str, str], *, quiet: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in ``folder``; yields its process once a GET of the path ``ready`` has status 200.

    Raises RuntimeError with what it printed at last, unless it is ``quiet``, if it ends before, or takes too long.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in OVERRIDES}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**inherited, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if quiet else log,
            stderr=subprocess.DEVNULL if quiet else log,
            start_new_session=True,
        )
        try:
            until = time.monotonic() + START
            while not _answers(port, ready):
                if process.poll() is not None or time.monotonic() > until:
                    log.seek(0)
                    raise RuntimeError(f"{command[0]} does not answer: {log.read()[-2000:].decode(errors='replace')}")
                time.sleep(0.05)
            yield process
        finally:
            _end(process)


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False  # It does not listen yet.
    finally:
        connection.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server in its own way, and then whatever it left running in its session."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(END)
