"""The command that sends any request."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from trainyard.cli import text
from trainyard.cli.command import REFUSED, command
from trainyard.cli.session import Session

__all__ = ["api"]

EXAMPLE = """\
trainyard api GET '/jobs?state=running'
trainyard api POST /predict -d '{"model": "iris", "rows": [{"petal_length": 4.9}]}'
trainyard api POST '/datasets?name=iris' -d @iris.csv"""


@command(name="api", example=EXAMPLE)
@click.argument("method")
@click.argument("path")
@click.option("-d", "--data", metavar="JSON|@FILE|@-", help="The body: JSON, a file, or standard input.")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header; may be repeated.")
def api(session: Session, method: str, path: str, data: str | None, headers: tuple[str, ...]) -> None:
    """Send any request to the service, and print its answer.

    It is printed also if the service refuses. /docs on the service lists all requests.
    """
    from trainyard.errors import Refused

    given = {"Accept": "*/*"}
    for header in headers:
        name, mark, value = header.partition(":")
        if not mark:
            raise click.BadParameter(f"must be 'NAME: VALUE'. Received: {header!r}", param_hint="--header")
        given[name.strip()] = value.strip()
    target = path if path.startswith("/") else f"/{path}"
    request = session.request(method.upper(), target, _body(data), headers=given)
    try:
        with session.streamed(request) as response:
            last = session.output.stream(response)
            if response.is_json and last and not last.endswith(b"\n"):
                session.output.line("")
    except Refused as error:
        if isinstance(error.document, str):
            session.output.line(text.harmless(error.document, lines=True))
        else:
            session.output.document(error.document)
        raise click.exceptions.Exit(REFUSED) from None


def _body(data: str | None) -> Any:
    if data is None or not data.startswith("@"):
        return None if data is None else data.encode()
    if data == "@-":
        return sys.stdin.buffer
    path = Path(data[1:])
    if not path.is_file():
        raise click.BadParameter(f"there is no file {path}", param_hint="--data")
    return path
