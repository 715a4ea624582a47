"""Spans of answered requests, with the attributes of OpenTelemetry's semantic conventions for HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from service import tracing
from service.tracing import Span
from service.web.worker.records import METHODS, Record

__all__ = ["send_spans"]


def send_spans(records: Sequence[Record], routes: Sequence[str | None]) -> None:
    """Send a span for each record; ``routes`` are their routes."""
    for record, route in zip(records, routes, strict=True):
        tracing.send(_span(record, route))


def _span(record: Record, route: str | None) -> Span:
    method = record.method if record.method in METHODS else "_OTHER"
    attributes: dict[str, str | int | float] = {
        "http.request.method": method,
        "http.response.status_code": record.status,
        "http.response.body.size": record.sent,
    }
    failed = record.status >= 500
    optional = {
        "http.route": route,
        "error.type": (record.code or str(record.status)) if failed else None,
        "trainyard.request_id": record.request_id,
        "trainyard.key": record.key,
        "trainyard.code": record.code,
    }
    attributes |= {name: value for name, value in optional.items() if value is not None}
    if record.predicted is not None:
        model, version, rows = record.predicted[:3]
        attributes |= {"trainyard.model": model, "trainyard.rows": rows}
        attributes |= {} if version is None else {"trainyard.version": version}
    name = " ".join(filter(None, ("HTTP" if method == "_OTHER" else method, route)))
    begin = record.at - record.seconds
    return Span(name, begin, record.at, attributes, failed, record.traceparent, server=True)
