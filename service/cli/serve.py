"""The command that runs the whole service."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import click

from service.cli.settings import read_settings
from service.processes import HOUSE, python_path
from trainyard.cli.command import WithExample

__all__ = ["serve"]


@click.command(cls=WithExample, example="trainyard serve --open\ntrainyard serve --bind 127.0.0.1:8001 --data var-2")
@click.option("--bind", metavar="ADDRESS", help="Where to listen: HOST:PORT or unix:PATH, in place of TRAINYARD_BIND.")
@click.option("--data", metavar="DIR", help="The data directory, in place of TRAINYARD_DATA.")
@click.option("--open", "opened", is_flag=True, help="Open the console in a browser as soon as the service answers.")
def serve(bind: str | None, data: str | None, opened: bool) -> None:
    """Run the service.

    That is gunicorn with its workers and, unless TRAINYARD_TRAINER is external, a trainer. Further options of gunicorn
    can be given in GUNICORN_CMD_ARGS.
    """
    given = {"TRAINYARD_BIND": bind, "TRAINYARD_DATA": data}
    os.environ.update({name: value for name, value in given.items() if value is not None})
    bind = read_settings().bind
    if bind.startswith("unix:"):
        _require_free_path(Path(bind.removeprefix("unix:")))
    else:
        _require_free_port(bind)
    if opened:
        _open_later(bind)
    command = [sys.executable, "-m", "gunicorn", "--config", str(HOUSE / "gunicorn.conf.py"), "wsgi:app"]
    os.execve(command[0], command, {**os.environ, **python_path()})  # noqa: S606 - no shell is wanted


def _open_later(bind: str) -> None:
    """Start a process that opens the console when the service answers.

    A shell starts it and ends at once: gunicorn would take a child of its own for a worker that has died.
    """
    host, _, port = bind.rpartition(":")
    if bind.startswith("unix:") or port == "0":
        raise click.UsageError(f"--open needs an address that a browser can open. Received: {bind}")
    near = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    command = [sys.executable, "-m", "trainyard", "--url", f"http://{near}:{port}", "open", "--wait"]
    environment = {**os.environ, **python_path()}
    subprocess.run(["/bin/sh", "-c", '"$@" &', "sh", *command], env=environment, check=True)


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
