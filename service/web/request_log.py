"""A line of the log for each answered request."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

from service import log
from service.log_output import LINES_BYTES, Output
from service.web.worker.records import Record

__all__ = ["write_requests"]


def write_requests(records: Sequence[Record], routes: Sequence[str | None], output: Output) -> None:
    """Write a line for each record; ``routes`` are their routes.

    This is by far most of what a busy service logs, so lines are made here rather than by ``logging``, and are written
    together.
    """
    line = _text if log.shows_text() else _json
    process, lines, size = os.getpid(), list[bytes](), 0
    for place, (record, route) in enumerate(zip(records, routes, strict=True)):
        if output.full:
            output.drop(len(lines) + len(records) - place)
            return
        made = line(record, route, process)
        if size + len(made) > LINES_BYTES and lines:
            output.write(log.redacted(b"".join(lines)), len(lines))
            lines, size = [], 0
        lines.append(made)
        size += len(made)
    if lines:
        output.write(log.redacted(b"".join(lines)), len(lines))


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _at(record: Record) -> str:
    second = int(record.at)
    return f"{_second(second)}.{int((record.at - second) * 1e3):03d}Z"


def _json(record: Record, route: str | None, process: int) -> bytes:
    line: dict[str, Any] = {
        "at": _at(record),
        "level": "info" if record.status < 500 else "warning",
        "process": "web",
        "pid": process,
        "logger": "trainyard.requests",
        "event": "request",
        "request_id": record.request_id,
        "key": record.key,
        "method": record.method,
        "route": route,
        "status": record.status,
        "ms": round(record.seconds * 1e3, 3),
        "bytes": record.sent,
        "code": record.code,
    }
    if record.predicted is not None:
        line["model"], line["version"], line["rows"] = record.predicted
    if record.traceparent is not None and len(record.traceparent) == 55:
        line["trace"] = record.traceparent[3:35]
    if record.cut:
        line["cut"] = True
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _text(record: Record, route: str | None, process: int) -> bytes:
    level = "info" if record.status < 500 else "warning"
    what = f"{record.method or '-'} {route or '-'} {record.status} {record.seconds * 1e3:.1f} ms {record.sent} B"
    code = f" {record.code}" if record.code else ""
    return f"{_at(record)} web {level} {what}{code} {record.request_id or '-'}\n".encode()
