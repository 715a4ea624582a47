"""The keeper: a thread of a web process that sees to it that a trainer is at work."""

from __future__ import annotations

import fcntl
import os
import subprocess
import threading
from time import sleep

from service.processes import TRAINER_LOCK, WEB_LOCK, is_free, start
from service.settings import Settings

__all__ = ["keep_trainer"]

_LOOK_SECONDS = 0.5


def keep_trainer(settings: Settings) -> None:
    """Keep one trainer alive for as long as this process lives; returns at once.

    Locks on files tell who is there, and the kernel lets go of them however a process ends. Where several web
    processes start a trainer at the same moment, one gets the lock and the others leave.
    """
    settings.data.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(settings.data / WEB_LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_SH)  # Held until the process ends; the descriptor is never closed.
    threading.Thread(target=_watch, args=(settings,), name="trainer-keeper", daemon=True).start()


def _watch(settings: Settings) -> None:
    child: subprocess.Popen[bytes] | None = None
    while True:
        starting = child is not None and child.poll() is None
        if not starting and is_free(settings.data / TRAINER_LOCK):
            # A session of its own: an interrupt at the terminal is for gunicorn, and the trainer follows by itself.
            child = start(settings, "trainer", "--while-web-lives", stdin=subprocess.DEVNULL, start_new_session=True)
        sleep(_LOOK_SECONDS)
