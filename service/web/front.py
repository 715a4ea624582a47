"""What the application gives to the front door: quick answers, limits of bodies, and what answers wait for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property, partial
from typing import IO, Any
from urllib.parse import parse_qs

import sqlalchemy as sa
from flask import Flask
from werkzeug.exceptions import HTTPException

from models.errors import LowStorageError, MissingError, NoRoomError
from service.jobs.events import newest_event_ids
from service.settings import Settings
from service.uploads.import_bound import import_bound
from service.web.bodies import takes_file
from service.web.context import Context
from service.web.json_bodies import json_bytes
from service.web.protocols.native import PredictionServer
from service.web.worker.front import Front, QuickAnswer
from service.web.worker.head import RequestError
from service.web.worker.refusals import request_id_of

__all__ = ["ServiceFront"]

#: The methods of the paths that are answered at once.
_QUICK = {"/predict": ("POST",), "/health/live": ("GET", "HEAD")}
#: The endpoints of which the bodies are stored, and those of which the rows in the bodies are.
_UPLOADS, _JOBS = {"datasets.create", "checkpoints.import_file"}, {"training.train", "sweeps.sweep"}
_LIVE = json_bytes({"status": "live"})


class ServiceFront(Front):
    """Answers predictions for few rows, and whether the process lives."""

    quick_bytes = 65_536

    def __init__(self, app: Flask, parts: Context, predictions: PredictionServer) -> None:
        self._app, self._parts, self._predictions = app, parts, predictions

    def is_quick(self, environ: dict[str, Any]) -> bool:
        return environ["REQUEST_METHOD"] in _QUICK.get(environ["PATH_INFO"], ())

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

    def at_once(self, environ: dict[str, Any], body: bytes) -> QuickAnswer | None:
        if environ["PATH_INFO"] == "/predict":
            return self._predictions.at_once(environ, body)
        if environ["PATH_INFO"] == "/health/live":
            headers = [("Content-Type", "application/json"), ("X-Request-Id", request_id_of(environ))]
            return QuickAnswer("200 OK", headers, _LIVE)
        return None

    def body_limit(self, environ: dict[str, Any]) -> int:
        settings = self._parts.settings
        endpoint, arguments = self._route(environ)
        if not takes_file(endpoint, parse_qs(environ["QUERY_STRING"], keep_blank_values=True)):
            return settings.max_body_bytes
        if endpoint != "checkpoints.import_file":
            return settings.max_dataset_bytes
        length = environ.get("CONTENT_LENGTH", "")
        if length.isdecimal() and int(length) <= settings.max_body_bytes:
            return settings.max_import_bytes
        # Few requests have so much that what the model needs matters, for which the loop can wait.
        _, bound = self._parts.database.probe.ask(partial(_bound, arguments["name"], settings), writes=False)
        return settings.max_import_bytes if bound is None else bound

    def require_room(self, environ: dict[str, Any], size: int) -> None:
        (endpoint, _), disk = self._route(environ), self._parts.files.disk
        try:
            if endpoint in _UPLOADS:
                disk.require_room(size)
            elif endpoint in _JOBS:
                disk.require_room_for_job(size)
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
        with self._parts.database.read() as connection:
            return newest_event_ids(connection, subjects)


def _bound(name: str, settings: Settings, connection: sa.Connection) -> int | None:
    """``import_bound``; None if there is no such model, which the application reports."""
    try:
        return import_bound(connection, name, settings)
    except MissingError:
        return None
