"""Metrics of requests: each worker counts its own in files that all share, and any of them adds these up."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import fsum

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

from service.web.shared_metrics import DIRECTORY
from service.web.worker.records import METHODS, Record

__all__ = ["RequestMetrics"]

#: Seconds of a request up to which it is counted in each bucket.
BUCKETS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
#: Pairs of model and version whose rows are counted apart. A client may define any number of models.
PAIRS = 1_000


class _Times(Histogram):
    """A histogram that takes many observations at a time."""

    def observe_all(self, seconds: Sequence[float]) -> None:
        """Count all of them."""
        ordered = sorted(seconds)
        ends = [bisect_right(ordered, bound) for bound in self._upper_bounds]
        for bucket, (begin, end) in zip(self._buckets, pairwise([0, *ends]), strict=True):
            if end > begin:
                bucket.inc(end - begin)
        self._sum.inc(fsum(ordered))


class RequestMetrics:
    """What a process counts. ``hits`` returns how often its cache of models had one, and how often it had not."""

    def __init__(self, hits: Callable[[], tuple[int, int]]) -> None:
        self._hits = hits
        self._seen = {"hit": 0, "miss": 0}
        self._dropped = 0
        self._pairs: set[tuple[str, str]] = set()
        self._own = own = CollectorRegistry()
        self._times = _Times(
            "trainyard_request_seconds",
            "Seconds from the head of a request to the end of its answer.",
            ("route", "method", "status"),
            buckets=BUCKETS,
            registry=own,
        )
        self._rows = Counter("trainyard_rows_predicted", "Rows predicted.", ("model", "version"), registry=own)
        self._refusals = Counter("trainyard_refusals", "Problem documents, by their code.", ("code",), registry=own)
        self._cache = Counter(
            "trainyard_model_cache",
            "Uses of a loaded model: hit if a worker had it, miss if it had to load it.",
            ("result",),
            registry=own,
        )
        self._lost = Counter("trainyard_log_records_dropped", "Lines that the log had no room for.", registry=own)

    @property
    def registry(self) -> CollectorRegistry:
        """The metrics of all workers, or of this process if it is none."""
        if DIRECTORY not in os.environ:
            return self._own
        shared = CollectorRegistry()
        MultiProcessCollector(shared)
        return shared

    def count(self, records: Sequence[Record], routes: Sequence[str | None]) -> None:
        """Count answered requests; ``routes`` are their routes."""
        times: defaultdict[tuple[str | None, str | None, int], list[float]] = defaultdict(list)
        codes, rows = Tally[str](), Tally[tuple[str, int | None]]()
        for record, route in zip(records, routes, strict=True):
            times[route, record.method, record.status].append(record.seconds)
            if record.code is not None:
                codes[record.code] += 1
            if record.predicted is not None:
                model, version, count = record.predicted
                rows[model, version] += count
        for (route, method, status), seconds in times.items():
            known = method if method in METHODS else "other"
            self._times.labels(route or "none", known, str(status)).observe_all(seconds)
        for code, number in codes.items():
            self._refusals.labels(code).inc(number)
        for pair, number in rows.items():
            self._rows.labels(*self._bounded(*pair)).inc(number)
        self._count_hits()

    def count_dropped(self, dropped: int) -> None:
        """Count dropped lines of the log: those so far."""
        if dropped > self._dropped:
            self._lost.inc(dropped - self._dropped)
            self._dropped = dropped

    def _bounded(self, model: str, version: int | None) -> tuple[str, str]:
        pair = model, "checkpoint" if version is None else str(version)
        if pair not in self._pairs:
            if len(self._pairs) >= PAIRS:
                return "other", "other"
            self._pairs.add(pair)
        return pair

    def _count_hits(self) -> None:
        for result, total in zip(("hit", "miss"), self._hits(), strict=True):
            self._cache.labels(result).inc(total - self._seen[result])
            self._seen[result] = total
