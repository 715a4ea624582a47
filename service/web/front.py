"""What the application gives to the front door: quick answers, limits of bodies, and what answers wait for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import IO, Any
from urllib.parse import parse_qs

from flask import Flask
from werkzeug.exceptions import HTTPException

from models.errors import LowStorageError, NoRoomError
from service.jobs.events import newest_event_ids
from service.web.bodies import takes_file
from service.web.context import Context
from service.web.gate import CALLER, Gate
from service.web.json_bodies import json_bytes
from service.web.protocols.native import PredictionServer
from service.web.worker.front import Front, QuickAnswer
from service.web.worker.head import RequestError
from service.web.worker.refusals import json_headers

__all__ = ["ServiceFront"]

#: The methods of the paths that are answered at once.
_QUICK = {"/predict": ("POST",), "/health/live": ("GET", "HEAD")}
#: The endpoints of which the bodies are stored, and those of which the rows in the bodies are.
_UPLOADS, _JOBS = {"datasets.create", "checkpoints.import_file"}, {"training.train", "sweeps.sweep"}
_LIVE = json_bytes({"status": "live"})


class ServiceFront(Front):
    """Answers predictions for few rows, and whether the process lives."""

    quick_bytes = 65_536

    def __init__(self, app: Flask, parts: Context, predictions: PredictionServer, gate: Gate) -> None:
        self._app, self._parts, self._predictions, self._gate = app, parts, predictions, gate
        self.records, self.drain = parts.requests.waiting, parts.requests.drain  # type: ignore[method-assign]

    def admit(self, environ: dict[str, Any], peer: str | None, *, wait: bool = False) -> bool:
        return self._gate.admit(environ, peer, wait=wait)

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
        if CALLER not in environ:
            return None
        if environ["PATH_INFO"] == "/predict":
            return self._predictions.at_once(environ, body)
        if environ["PATH_INFO"] == "/health/live":
            return QuickAnswer("200 OK", json_headers(environ), _LIVE)
        return None

    def body_limit(self, environ: dict[str, Any]) -> int:
        settings = self._parts.settings
        endpoint = self._endpoint(environ)
        if not takes_file(endpoint, parse_qs(environ["QUERY_STRING"], keep_blank_values=True)):
            return settings.max_body_bytes
        return settings.max_import_bytes if endpoint == "checkpoints.import_file" else settings.max_dataset_bytes

    def require_room(self, environ: dict[str, Any], size: int) -> None:
        endpoint, disk = self._endpoint(environ), self._parts.files.disk
        try:
            if endpoint in _UPLOADS:
                disk.require_room(size)
            elif endpoint in _JOBS:
                disk.require_room_for_job(size)
        except NoRoomError as error:
            raise RequestError(507, "storage_reserve", error.detail) from None
        except LowStorageError as error:
            raise RequestError(503, "storage_low", error.detail) from None

    def _endpoint(self, environ: dict[str, Any]) -> str | None:
        """The endpoint of a request; None if there is no such route, which the application reports."""
        try:
            endpoint, _ = self._app.url_map.bind("").match(environ["PATH_INFO"], environ["REQUEST_METHOD"])
        except HTTPException:
            return None
        return str(endpoint)

    def temporary(self) -> IO[bytes]:
        return self._parts.files.temporary()

    def newest(self, subjects: Collection[str]) -> Mapping[str, int]:
        with self._parts.database.read() as connection:
            return newest_event_ids(connection, subjects)
