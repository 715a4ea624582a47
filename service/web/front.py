"""What the application gives to the front door: quick answers, limits of bodies, and what answers wait for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import IO, Any
from urllib.parse import parse_qs

from flask import Flask
from werkzeug.exceptions import HTTPException

from service.jobs.events import newest_event_ids
from service.web.bodies import takes_file
from service.web.context import Context
from service.web.json_bodies import json_bytes
from service.web.protocols.native import PredictionServer
from service.web.worker.front import Front, QuickAnswer
from service.web.worker.refusals import request_id_of

__all__ = ["ServiceFront"]

#: The methods of the paths that are answered at once.
_QUICK = {"/predict": ("POST",), "/health/live": ("GET", "HEAD")}
_LIVE = json_bytes({"status": "live"})


class ServiceFront(Front):
    """Answers predictions for few rows, and whether the process lives."""

    quick_bytes = 65_536

    def __init__(self, app: Flask, parts: Context, predictions: PredictionServer) -> None:
        self._app, self._parts, self._predictions = app, parts, predictions
        # Attributes, so that the loop makes no further call.
        self.record, self.drain = parts.requests.waiting.append, parts.requests.drain  # type: ignore[assignment, method-assign]

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
        try:
            endpoint, _ = self._app.url_map.bind("").match(environ["PATH_INFO"], environ["REQUEST_METHOD"])
        except HTTPException:  # There is no such route, which the application reports.
            return settings.max_body_bytes
        if not takes_file(endpoint, parse_qs(environ["QUERY_STRING"], keep_blank_values=True)):
            return settings.max_body_bytes
        return settings.max_import_bytes if endpoint == "checkpoints.import_file" else settings.max_dataset_bytes

    def temporary(self) -> IO[bytes]:
        return self._parts.files.temporary()

    def newest(self, subjects: Collection[str]) -> Mapping[str, int]:
        with self._parts.database.read() as connection:
            return newest_event_ids(connection, subjects)
