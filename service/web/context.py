"""The parts that the routes of an application share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

from flask import current_app, g, request

from models.errors import BusyError
from models.registry.callers import Caller
from service.access.limits import Limits
from service.serving.resolution import Serving
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileStore
from service.uploads.parser import UploadParser
from service.web.computing import Computing
from service.web.gate import CALLER, LIMITS
from service.web.memory import Memory
from service.web.request_records import RequestRecords
from service.web.worker.refusals import request_id_of

__all__ = ["Context", "context", "shown"]


_KEY = "trainyard"
#: Callers whose view of the versions is kept.
_MOST_CALLERS = 1_000


@dataclass(frozen=True)
class Context:
    """The application's parts: those of the process, or what the caller of a request sees of them."""

    settings: Settings
    database: Database
    files: FileStore
    serving: Serving
    #: Of the application with these parts.
    requests: RequestRecords
    dry_runs: threading.BoundedSemaphore
    measuring: threading.Lock
    parser: UploadParser
    memory: Memory
    #: Whose turn it is to compute, in this process.
    computing: Computing
    limits: Limits
    _served: dict[Caller, Serving]

    @classmethod
    def make(
        cls, settings: Settings, database: Database, files: FileStore, serving: Serving, requests: RequestRecords
    ) -> Context:
        """The parts of a process."""
        return cls(
            settings,
            database,
            files,
            serving,
            requests,
            # Dry runs take turns, so all but one of these threads wait.
            dry_runs=threading.BoundedSemaphore(max(1, settings.threads // 4)),
            measuring=threading.Lock(),
            parser=UploadParser(settings),
            memory=Memory(settings.worker_memory, max(1, settings.threads // 2)),
            computing=Computing(),
            limits=Limits.of(settings),
            _served={},
        )

    def serving_of(self, environ: dict[str, Any]) -> Serving:
        """The versions that the caller of a request sees."""
        caller: Caller = environ[CALLER]
        found = self._served.get(caller)
        if found is None:
            if len(self._served) >= _MOST_CALLERS:
                self._served.clear()
            found = self._served[caller] = self.serving.of(caller)
        return found

    def body_bytes(self, environ: dict[str, Any]) -> int:
        """The most bytes of a body that is no file."""
        limits: Limits = environ.get(LIMITS, self.limits)
        return limits.body_bytes

    def file_bytes(self, environ: dict[str, Any], most: int) -> int:
        """The most bytes of a body that is a file: ``most``, or fewer if the caller has a smaller limit of its own."""
        own = self.body_bytes(environ)
        return min(own, most) if own < self.settings.max_body_bytes else most

    def of(self, environ: dict[str, Any]) -> Context:
        """What the caller of a request sees, and its limits."""
        caller: Caller = environ[CALLER]
        database = self.database.of(replace(caller, request=request_id_of(environ)))
        return replace(
            self, database=database, serving=self.serving_of(environ), limits=environ.get(LIMITS, self.limits)
        )

    @contextmanager
    def dry_run_slot(self) -> Iterator[None]:
        """The right to measure training steps; raises BusyError if too many requests wait for it already.

        Requests measure one at a time: steps that run side by side would slow each other down.
        """
        if not self.dry_runs.acquire(blocking=False):
            raise BusyError("too_many_dry_runs", "too many dry runs wait for their turn; try again in a second")
        try:
            with self.measuring:
                yield
        finally:
            self.dry_runs.release()


def context() -> Context:
    """The parts of the application as the caller of the current request sees them."""
    if _KEY not in g:
        parts = cast("Context", current_app.extensions[_KEY])
        g.trainyard = parts.of(request.environ)
    return cast("Context", g.trainyard)


def shown(document: dict[str, Any], owner: str, caller: Caller | None = None) -> dict[str, Any]:
    """The document of something with its owner, if that is not the caller: that of the current request if left out."""
    asking = caller or context().database.caller
    return document if owner == asking.owner else {**document, "owner": owner}
