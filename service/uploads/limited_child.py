"""A forked child that reads one untrusted file: what it may use, and how it ends."""

from __future__ import annotations

import io
import json
import logging
import os
import resource
import signal
from collections.abc import Callable
from typing import Any, NoReturn

__all__ = ["limit_process", "read_in_child"]

_log = logging.getLogger("trainyard.parser")


def read_in_child(upload: int, exchange: int, seconds: int, read: Callable[[dict[str, Any]], None]) -> NoReturn:
    """Read the file within so many seconds, then exit, with 0 if ``read`` raises nothing.

    ``upload`` becomes descriptor 0 and ``exchange`` 1, and no other one below the limit stays open, except 2. ``read``
    gets the order that the exchange holds, which is empty then.
    """
    status = 1
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        os.dup2(upload, 0)
        os.dup2(exchange, 1)
        os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        with io.FileIO(1, "r+", closefd=False) as file:
            file.seek(0)
            order = json.loads(file.readall())
            file.truncate(0)
        read(order)
        status = 0
    except BaseException as error:  # noqa: BLE001 - the status reports it, and a child must not return into the loop
        _log.error("a child failed: %s", type(error).__name__)
    os._exit(status)


def limit_process(memory: int, seconds: int, written: int) -> None:
    """Limit this process, irrevocably: bytes of memory, seconds of processor time, and bytes of a file.

    It dumps no core, starts no process and opens no file.
    """
    for what, soft, hard in (
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_CPU, seconds, seconds + 1),
        (resource.RLIMIT_FSIZE, written, written),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NPROC, 0, 0),
        (resource.RLIMIT_NOFILE, 0, 0),
    ):
        resource.setrlimit(what, (soft, hard))
