"""A line of the log for each answered request."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

import orjson

from models.clock import rfc3339
from service import log
from service.log_output import Output
from service.web.worker.records import Record

__all__ = ["write_requests"]

#: W3C Trace Context, section 3.2.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def write_requests(records: Sequence[Record], routes: Sequence[str | None], output: Output) -> None:
    """Write a line for each record; ``routes`` are their routes.

    This is by far most of what a busy service logs, so lines are made here rather than by ``logging``, and are written
    together. Without room for them none is made, and ``output`` counts them.
    """
    if output.full:
        output.write((), len(records))
        return
    line = _text if log.shows_text() else _json
    most = output.piece_bytes
    pieces, lines, size = list[bytes](), list[str](), 0
    for record, route in zip(records, routes, strict=True):
        made = line(record, route)
        size += len(made)
        if size > most and lines:
            pieces.append(_piece(lines))
            lines, size = [], len(made)
        lines.append(made)
    pieces.append(_piece(lines))
    output.write(pieces, len(records))


def _piece(lines: Sequence[str]) -> bytes:
    return log.redacted("".join(lines)).encode()


@lru_cache(maxsize=64)
def _moment(milliseconds: int) -> str:
    """A time in milliseconds since 1970 as RFC 3339."""
    return rfc3339(datetime.fromtimestamp(milliseconds / 1e3, UTC))


def _json(record: Record, route: str | None) -> str:
    at, request_id, key, method, _, status, seconds, sent, code, predicted, traceparent, cut, _ = record
    identity = "null" if request_id is None else orjson.dumps(request_id).decode()
    more = "" if predicted is None else _of_prediction(*predicted[:3])
    if traceparent is not None and _TRACEPARENT.fullmatch(traceparent):
        more += f',"trace":"{traceparent[3:35]}"'
    if cut:
        more += ',"cut":true'
    members = _members(status, key, method, route, code)
    return (
        f'{{"at":"{_moment(int(at * 1e3))}",{members},"request_id":{identity},'
        f'"ms":{seconds * 1e3:.3f},"bytes":{sent}{more}}}\n'
    )


@lru_cache(maxsize=1_000)
def _members(status: int, key: str | None, method: str | None, route: str | None, code: str | None) -> str:
    """What is the same for many lines."""
    members = {
        "level": "info" if status < 500 else "warning",
        "process": "web",
        "pid": os.getpid(),
        "logger": "trainyard.requests",
        "event": "request",
        "key": key,
        "method": method,
        "route": route,
        "status": status,
        "code": code,
    }
    return orjson.dumps(members).decode()[1:-1]


@lru_cache(maxsize=1_000)
def _of_prediction(model: str, version: int | None, rows: int) -> str:
    return f",{orjson.dumps({'model': model, 'version': version, 'rows': rows}).decode()[1:-1]}"


def _text(record: Record, route: str | None) -> str:
    level = "info" if record.status < 500 else "warning"
    what = f"{record.method or '-'} {route or '-'} {record.status} {record.seconds * 1e3:.1f} ms {record.sent} B"
    code = f" {record.code}" if record.code else ""
    return f"{_moment(int(record.at * 1e3))} web {level} {what}{code} {record.request_id or '-'}\n"
