"""Starting child processes of this service, and the file locks that show which processes are running.

The kernel releases a lock when its holder ends, whatever the reason, so a held lock always has a living holder.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from service.settings import Settings

__all__ = ["HOUSE", "TRAINER_LOCK", "WEB_LOCK", "close", "is_free", "pipe", "python_path", "start"]

#: The folder that holds the project's packages, in a checkout and in an installed project.
HOUSE = Path(__file__).resolve().parent.parent

#: Held by the trainer of a data directory, so that there is only one.
TRAINER_LOCK = "trainer.lock"
#: Held by every web process that relies on a trainer, so that the trainer ends after the last of them.
WEB_LOCK = "web.lock"


def is_free(path: Path) -> bool:
    """Whether no process holds the lock at ``path``."""
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def python_path() -> dict[str, str]:
    """Environment variables with which another Python finds the project's packages, and no others of these names.

    The working directory does not change, because settings may name files in it. Python does not import from it.
    """
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    places = dict.fromkeys([str(HOUSE), *filter(None, inherited)])
    return {"PYTHONPATH": os.pathsep.join(places), "PYTHONSAFEPATH": "1"}


def start(
    settings: Settings,
    *arguments: str,
    variables: dict[str, str] | None = None,
    without: str | None = None,
    **options: Any,
) -> subprocess.Popen[bytes]:
    """Start ``python -m service …`` with the same settings; ``options`` are those of ``subprocess.Popen``.

    The child inherits this process's environment without the variables that begin with ``without``, plus ``variables``.
    """
    inherited = {name: value for name, value in os.environ.items() if without is None or not name.startswith(without)}
    return subprocess.Popen(
        [sys.executable, "-m", "service", *arguments],
        env={**inherited, **python_path(), **settings.environment(), **(variables or {})},
        **options,
    )


def pipe(stream: IO[bytes] | None) -> IO[bytes]:
    """The pipe of a process that was started with one."""
    assert stream is not None
    return stream


def close(process: subprocess.Popen[bytes]) -> None:
    """Close the pipes to a process. This ends processes that read commands from standard input."""
    for stream in (process.stdin, process.stdout):
        with suppress(BrokenPipeError):
            pipe(stream).close()
