"""The parts that the routes of an application share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

from flask import current_app

from models.errors import BusyError
from service.access.limits import Limits
from service.serving.resolution import Serving
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileStore
from service.uploads.parser import UploadParser
from service.web.memory import Memory

__all__ = ["Context", "context"]


_KEY = "trainyard"


@dataclass
class Context:
    """The application's parts; one instance per process."""

    settings: Settings
    database: Database
    files: FileStore
    serving: Serving
    dry_runs: threading.BoundedSemaphore = field(init=False)
    measuring: threading.Lock = field(init=False, default_factory=threading.Lock)
    parser: UploadParser = field(init=False)
    memory: Memory = field(init=False)
    limits: Limits = field(init=False)

    def __post_init__(self) -> None:
        self.limits = Limits.of(self.settings)
        self.parser = UploadParser(self.settings)
        self.memory = Memory(self.settings.worker_memory, max(1, self.settings.threads // 2))
        # Dry runs take turns, so all but one of these threads wait.
        self.dry_runs = threading.BoundedSemaphore(max(1, self.settings.threads // 4))

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
    """The parts of the application that handles the current request."""
    return cast("Context", current_app.extensions[_KEY])
