"""The watchdog: a thread of a web process that starts a trainer if none is running."""

from __future__ import annotations

import subprocess
import threading
from time import sleep

from service.processes import start
from service.settings import Settings
from service.store.locks import Lock, Locks

__all__ = ["start_watchdog"]

_LOOK_SECONDS = 0.5


def start_watchdog(settings: Settings) -> None:
    """Keep a trainer running for as long as this process lives. Returns at once.

    The kernel releases the locks of a process when it ends, whatever the reason. If several web processes start a
    trainer at the same time, one trainer gets the lock and the others exit.
    """
    locks = Locks(settings.data)
    locks.share_until_exit(Lock.WEB)
    threading.Thread(target=_watch, args=(settings, locks), name="trainer-watchdog", daemon=True).start()


def _watch(settings: Settings, locks: Locks) -> None:
    child: subprocess.Popen[bytes] | None = None
    while True:
        starting = child is not None and child.poll() is None
        if not starting and locks.is_free(Lock.TRAINER):
            # In a new session, so that an interrupt at the terminal reaches only gunicorn; the trainer ends after it.
            child = start(settings, "trainer", "--while-web-lives", stdin=subprocess.DEVNULL, start_new_session=True)
        sleep(_LOOK_SECONDS)
