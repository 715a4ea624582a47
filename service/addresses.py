"""The address that the service listens on: what keeps a process from it."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from pathlib import Path

__all__ = ["hindrance"]


def hindrance(bind: str) -> str | None:
    """Why a process cannot listen on ``HOST:PORT`` or ``unix:PATH``; None if it can.

    Gunicorn would say so after five attempts of a second each, and would take a path away from the process that listens
    there.
    """
    if bind.startswith("unix:"):
        return _path_hindrance(Path(bind.removeprefix("unix:")))
    host, _, port = bind.rpartition(":")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return _taken(bind, "another port")
        wanted = f"TRAINYARD_BIND must be an address that this machine can listen on. Received: {bind!r}"
        return f"{wanted} ({error.strerror})"
    return None


def _path_hindrance(path: Path) -> str | None:
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        probe.connect(str(path))
        return _taken(f"unix:{path}", "another path")
    return None


def _taken(bind: str, other: str) -> str:
    return f"another process listens on {bind}: stop it, or set TRAINYARD_BIND to {other}"
