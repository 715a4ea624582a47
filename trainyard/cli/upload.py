"""Files of this machine as datasets of the service."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainyard.cli.session import Session
from trainyard.cli.text import harmless

if TYPE_CHECKING:
    from trainyard.requests import Request

__all__ = ["local_file", "name_of", "stored", "upload_request"]


@contextmanager
def local_file(written: str, *, kept_back: bool = False) -> Iterator[Path | None]:
    """The file that an argument names, standard input for ``-``, None for the name of a dataset.

    ``kept_back``: nothing will be sent, so that standard input need not be read. Raises UsageError for a file that does
    not exist.
    """
    from trainyard.tables import as_file

    if written == "-" and kept_back:
        yield Path("-")
        return
    if written == "-":
        with tempfile.NamedTemporaryFile(prefix="trainyard-") as kept:
            shutil.copyfileobj(sys.stdin.buffer, kept)
            kept.flush()
            yield Path(kept.name)
        return
    path = Path(written)
    if path.is_dir():
        raise click.UsageError(f"{harmless(written)} is a directory")
    try:
        found = path if path.is_file() else as_file(written)
    except FileNotFoundError:
        raise click.UsageError(f"there is no file {harmless(written)}") from None
    yield found


def name_of(file: Path) -> str:
    """The name of a dataset that is made of a file."""
    from trainyard.tables import ENDINGS
    from trainyard.uploads import fitting

    return fitting(ENDINGS.sub("", file.name))


def upload_request(session: Session, file: Path, name: str, options: Mapping[str, Any]) -> Request:
    """The request that makes a file a dataset, to be shown."""
    return session.request("POST", "/datasets", file, query={"name": name, **options})


def stored(
    session: Session, file: Path, name: str, options: Mapping[str, Any], *, exact: bool = False
) -> dict[str, Any]:
    """The dataset of a file, which is the one there if the same file was uploaded before.

    If another dataset has the name, ``exact`` refuses that, and otherwise the file gets another name.
    """
    from trainyard.client import Trainyard
    from trainyard.requests import path_of
    from trainyard.uploads import upload

    client = Trainyard(session.address.url, session.key, transport=session.transport)
    found = upload(client, file, name, options, exact=exact)
    document: dict[str, Any] = session.ask("GET", path_of("datasets", found.id))
    return document
