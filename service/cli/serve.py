"""The command that runs the whole service."""

from __future__ import annotations

import os
import subprocess
import sys

import click

from service.addresses import hindrance
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
    problem = hindrance(bind)
    if problem is not None:
        raise click.ClickException(problem)
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
