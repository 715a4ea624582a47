"""The command that runs the whole service."""

from __future__ import annotations

import errno
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

import click

from service.cli.settings import read_settings
from service.processes import HOUSE, python_path

__all__ = ["serve"]


@click.command()
def serve() -> None:
    """Run the service.

    That is gunicorn with its workers and, unless TRAINYARD_TRAINER is external, a trainer. Further options of gunicorn
    can be given in GUNICORN_CMD_ARGS.
    """
    bind = read_settings().bind
    if bind.startswith("unix:"):
        _require_free_path(Path(bind.removeprefix("unix:")))
    else:
        _require_free_port(bind)
    command = [sys.executable, "-m", "gunicorn", "--config", str(HOUSE / "gunicorn.conf.py"), "wsgi:app"]
    os.execve(command[0], command, {**os.environ, **python_path()})  # noqa: S606 - no shell is wanted


def _require_free_port(bind: str) -> None:
    """Raise ClickException if gunicorn could not listen there: it would only say so after five attempts."""
    host, _, port = bind.rpartition(":")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise click.ClickException(_taken(bind, "another port")) from None
        wanted = f"TRAINYARD_BIND must be an address that this machine can listen on. Received: {bind!r}"
        raise click.ClickException(f"{wanted} ({error.strerror})") from None


def _require_free_path(path: Path) -> None:
    """Raise ClickException if a process answers at a unix socket: gunicorn would take the socket away from it."""
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        probe.connect(str(path))
        raise click.ClickException(_taken(f"unix:{path}", "another path"))


def _taken(bind: str, other: str) -> str:
    return f"another process listens on {bind}: stop it, or set TRAINYARD_BIND to {other}"
