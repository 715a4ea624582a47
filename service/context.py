"""What the routes of one application share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from flask import Response, current_app

from models import records
from models.serving import ServedModels
from service.database import Database
from service.errors import BusyError
from service.foreign import Reader
from service.key_locks import KeyLocks
from service.settings import Settings
from service.storage import Storage
from service.wire import json_response

__all__ = ["Context", "context", "discard", "page"]

_KEY = "trainyard"


@dataclass
class Context:
    """The application's parts; one a process."""

    settings: Settings
    database: Database
    storage: Storage
    served: ServedModels
    waiting: threading.BoundedSemaphore = field(init=False)
    reader: Reader = field(init=False)
    keys: KeyLocks = field(init=False)

    def __post_init__(self) -> None:
        self.reader = Reader(self.settings)
        # Clients that wait hold a thread each; the other half stays free for everybody else.
        self.waiting = threading.BoundedSemaphore(max(1, self.settings.threads // 2))
        self.keys = KeyLocks(self.settings.data / "idempotency.lock")

    @contextmanager
    def wait_slot(self) -> Iterator[None]:
        """The right to hold a thread for long; raises BusyError where too many clients have it."""
        self.take_wait_slot()
        try:
            yield
        finally:
            self.waiting.release()

    def take_wait_slot(self) -> None:
        """Like ``wait_slot``, to be given back with ``waiting.release``."""
        if not self.waiting.acquire(blocking=False):
            raise BusyError("too_many_waiting", "too many clients wait for jobs already; ask again without waiting")


def context() -> Context:
    """The parts of the application that serves the present request."""
    return cast("Context", current_app.extensions[_KEY])


def page(rows: list[Any], limit: int) -> Response:
    """A page of a list, out of rows of which one more than ``limit`` was asked for."""
    return json_response({"data": rows[:limit], "has_more": len(rows) > limit})


def discard(*paths: Path) -> None:
    """Delete the files, each named by its id, that no row names after the transaction that was to do so failed.

    A commit that is said to have failed may have taken effect. Where that cannot be told the files stay.
    """
    try:
        with context().database.read() as connection:
            named = records.named(connection, [path.stem for path in paths])
    except sa.exc.OperationalError:
        return
    for path in paths:
        if path.stem not in named:
            path.unlink(missing_ok=True)
