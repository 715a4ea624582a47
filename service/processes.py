"""Starting child processes of this service."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from service.settings import Settings

__all__ = ["HOUSE", "close", "pipe", "python_path", "start"]

#: The folder that holds the project's packages, in a checkout and in an installed project.
HOUSE = Path(__file__).resolve().parent.parent


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
