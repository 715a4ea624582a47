"""How requests were answered: what the loop of a worker has recorded is counted, and becomes lines of the log."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from flask import Flask

from service import log, tracing
from service.web.request_log import write_requests
from service.web.request_metrics import RequestMetrics
from service.web.request_spans import send_spans
from service.web.routes_of_paths import PathRoutes
from service.web.worker.records import Record

__all__ = ["RequestRecords"]


def _no_shadows(_record: Record) -> None:
    """Nobody predicts with shadows."""


class RequestRecords:
    """The records of one process. The loop appends to ``waiting``; ``drain`` takes what is there, in any thread."""

    def __init__(self, app: Flask, metrics: RequestMetrics, *, logs: bool) -> None:
        self.waiting: deque[Record] = deque()
        self.metrics, self._routes, self._logs = metrics, PathRoutes(app), logs
        self._lock = threading.Lock()
        #: Takes the records of requests that another version is to predict too.
        self.shadowed: Callable[[Record], None] = _no_shadows

    def drain(self) -> int:
        """Count what is recorded, then log it; returns how many records. It waits for no reader of the log."""
        with self._lock:
            records = [self.waiting.popleft() for _ in range(len(self.waiting))]
            routes = [self._routes.rule(record.method, record.path) for record in records]
            self.metrics.count(records, routes)
            if self._logs and records:
                write_requests(records, routes, log.output)
            if records and tracing.is_on():
                send_spans(records, routes)
            self.metrics.count_dropped(log.output.dropped)
        for record in records:
            if record.shadowed is not None:
                self.shadowed(record)
        return len(records)
