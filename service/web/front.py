"""What the application gives to the front door: quick answers, limits of bodies, and what answers wait for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import IO, Any
from urllib.parse import parse_qs

import sqlalchemy as sa
from flask import Flask
from werkzeug.exceptions import HTTPException

from models.errors import LowStorageError, MissingError, NoRoomError
from service.jobs.events import newest_event_ids
from service.store.changes import Mark
from service.uploads.import_bound import import_bound
from service.web.bodies import takes_file
from service.web.context import Context
from service.web.gate import ADMITTED, CALLER, Gate
from service.web.json_bodies import json_line
from service.web.protocols.server import PredictionServer
from service.web.worker.front import Batchable, Front, QuickAnswer
from service.web.worker.head import RequestError
from service.web.worker.refusals import CORS, DATA_FIELDS, quick_headers

__all__ = ["ServiceFront"]

#: The path that is answered at once beside those of predictions.
_LIVE_PATH = "/health/live"
#: The endpoints that store their bodies, of which chunks are refused before they come; and those that make jobs.
_UPLOADS, _JOBS = {"datasets.upload_dataset", "checkpoints.import_checkpoint"}, {"training.train", "sweeps.sweep"}
#: Key in ``environ`` for the most bytes that an imported checkpoint may have.
_BOUND = "trainyard.import_bound"
_LIVE = json_line({"status": "live"})


class ServiceFront(Front):
    """Answers predictions for few rows, and whether the process lives."""

    quick_bytes = 65_536
    lasting = (ADMITTED, CORS)

    def __init__(self, app: Flask, parts: Context, predictions: PredictionServer, gate: Gate) -> None:
        self._app, self._parts, self._predictions, self._gate = app, parts, predictions, gate
        #: The newest event of each subject that was looked for last, and the state of the database then.
        self._newest: dict[str, int] = {}
        self._looked: Mark | None = None
        # Attributes, so that the loop makes no further call.
        self.record, self.drain = parts.requests.waiting.append, parts.requests.drain  # type: ignore[assignment, method-assign]

    def admit(self, environ: dict[str, Any], peer: str | None, *, wait: bool = False) -> bool:
        return self._gate.admit(environ, peer, wait=wait) and self._finds_bound(environ, wait=wait)

    def _finds_bound(self, environ: dict[str, Any], *, wait: bool) -> bool:
        """Look for what the model of a large import can need. Returns False if that has to wait."""
        if not environ["PATH_INFO"].endswith("/checkpoints"):  # Most requests are not even looked up.
            return True
        endpoint, arguments = self._route(environ)
        length = environ.get("CONTENT_LENGTH", "")
        settings = self._parts.settings
        if endpoint != "checkpoints.import_checkpoint" or (
            length.isdecimal() and int(length) <= settings.max_body_bytes
        ):
            return True
        if not wait:
            return False
        try:
            with self._parts.database.of(environ[CALLER]).read() as connection:
                environ[_BOUND] = import_bound(connection, arguments["name"], settings)
        except MissingError:
            pass  # The application reports it.
        except sa.exc.OperationalError:
            raise RequestError(503, "database_unavailable", "the database did not answer; try again") from None
        return True

    def is_quick(self, environ: dict[str, Any]) -> bool:
        if environ["PATH_INFO"] == _LIVE_PATH:
            return environ["REQUEST_METHOD"] in ("GET", "HEAD")
        return self._predictions.reader(environ) is not None

    @cached_property
    def _kinds(self) -> dict[tuple[str, str], str]:
        """The kind of each method and first part of a path that routes have."""
        found: dict[tuple[str, str], str] = {}
        for rule in self._app.url_map.iter_rules():
            part = rule.rule.split("/")[1]
            found |= {(method, part): f"{method} /{part}" for method in rule.methods or ()}
        return found

    def kind(self, environ: dict[str, Any]) -> str:
        part = environ["PATH_INFO"].partition("/")[2].partition("/")[0]
        return self._kinds.get((environ["REQUEST_METHOD"], part), "none")

    def at_once(self, environ: dict[str, Any], body: bytes) -> QuickAnswer | Batchable | None:
        if CALLER not in environ:
            return None
        if environ["PATH_INFO"] == _LIVE_PATH:
            return QuickAnswer("200 OK", quick_headers(environ), _LIVE, DATA_FIELDS)
        return self._predictions.at_once(environ, body)

    def batch(self, requests: Sequence[Any]) -> list[QuickAnswer | None]:
        return self._predictions.batch(requests)

    def body_limit(self, environ: dict[str, Any]) -> int:
        settings = self._parts.settings
        endpoint, _ = self._route(environ)
        if not takes_file(endpoint, parse_qs(environ["QUERY_STRING"], keep_blank_values=True)):
            return self._parts.body_bytes(environ)
        if endpoint != "checkpoints.import_checkpoint":
            return self._parts.file_bytes(environ, settings.max_dataset_bytes)
        return self._parts.file_bytes(environ, environ.get(_BOUND, settings.max_import_bytes))

    def require_room(self, environ: dict[str, Any], size: int) -> None:
        (endpoint, _), disk = self._route(environ), self._parts.files.disk
        try:
            if endpoint in _JOBS:
                disk.require_room_for_job(size)
            elif size or endpoint in _UPLOADS:
                disk.require_room(size)
        except NoRoomError as error:
            raise RequestError(507, "storage_reserve", error.detail) from None
        except LowStorageError as error:
            raise RequestError(503, "storage_low", error.detail) from None

    def _route(self, environ: dict[str, Any]) -> tuple[str | None, Mapping[str, Any]]:
        """A request's endpoint and arguments; None if there is no such route, which the application reports."""
        try:
            endpoint, arguments = self._app.url_map.bind("").match(environ["PATH_INFO"], environ["REQUEST_METHOD"])
        except HTTPException:
            return None, {}
        return str(endpoint), arguments

    def temporary(self) -> IO[bytes]:
        return self._parts.files.temporary()

    def newest(self, subjects: Collection[str]) -> Mapping[str, int]:
        # The one thread that looks is the only one of a web process that uses the database's changes.
        mark = self._parts.database.changes.mark()
        if mark != self._looked or not self._newest.keys() >= set(subjects):
            with self._parts.database.read() as connection:
                found = newest_event_ids(connection, subjects)
            self._looked, self._newest = mark, {subject: found.get(subject, 0) for subject in subjects}
        return self._newest
