"""The command that opens the console."""

from __future__ import annotations

import os
import sys

import click

from trainyard.cli.command import command
from trainyard.cli.session import Session
from trainyard.cli.types import NAME_OF_MODEL

__all__ = ["open_console"]

#: Seconds that a service which is being started has until it answers.
START = 30.0


@command(name="open", example="trainyard open\ntrainyard open iris")
@click.argument("model", required=False, type=NAME_OF_MODEL)
@click.option("--wait", is_flag=True, hidden=True, help="Wait until the service answers.")
def open_console(session: Session, model: str | None, wait: bool) -> None:
    """Open the console, or a model's page, in a browser.

    Without a display it prints the address.
    """
    from trainyard.cli.ending import console_address

    if session.choices.curl:
        raise click.UsageError("open sends no request that curl could send")
    if session.address.scheme == "unix":
        raise click.UsageError(f"a browser cannot open {session.address.url}")
    if wait:
        _until_it_answers(session)
    else:
        session.ask("GET", "/health/live")
    address = console_address(session, "models", model) if model else console_address(session)
    if not (has_display() and _open(address)):
        session.output.line(address)


def has_display() -> bool:
    """Whether a browser could show something."""
    if sys.platform in ("win32", "darwin"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _open(address: str) -> bool:
    import webbrowser

    return webbrowser.open(address)


def _until_it_answers(session: Session) -> None:
    """Ask until a service that is being started answers; raises Unreachable if it does not."""
    from trainyard.errors import Unreachable
    from trainyard.retrying import Patience

    patience, request = Patience(START), session.request("GET", "/health/live")
    while True:
        try:
            session.transport.send(request, timeout=START, retries=0)
        except Unreachable:
            if not patience.wait():
                raise
        else:
            return
