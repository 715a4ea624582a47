"""Metrics of requests: each worker counts its own in files that all share, and any of them adds these up."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise
from math import fsum
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

from service.web.shadow_metrics import ShadowMetrics
from service.web.shared_metrics import DIRECTORY, reading
from service.web.worker.records import METHODS, Predicted, Record

__all__ = ["RequestMetrics", "Served"]

#: Seconds of a request up to which it is counted in each bucket.
BUCKETS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
#: Pairs of model and version whose rows are counted apart. A client may define any number of models.
PAIRS = 1_000
#: The counters of rows, and of passes through a network, and the time of the last prediction.
ROWS, PASSES, LAST = "trainyard_rows_predicted", "trainyard_prediction_passes", "trainyard_prediction_last_seconds"
#: The phases of a prediction, as ``Predicted`` names them, and all of a request that failed.
PHASES, FAILED = ("queue", "read", "infer", "write"), "refuse"


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


class Served(NamedTuple):
    """What was served of a version: requests, rows, passes through the network, and seconds of each phase.

    ``refuse`` are the seconds of requests that failed, ``last`` is the time of the last prediction since 1970.
    """

    answered: int
    failed: int
    rows: int
    passes: int
    queue: float
    read: float
    infer: float
    write: float
    refuse: float
    last: float

    @classmethod
    def of(cls, parts: Mapping[str, float]) -> Served:
        """By the values of the counters."""
        counts = ("answered", "failed", f"{ROWS}_total", f"{PASSES}_total")
        return cls(*(int(parts[name]) for name in counts), *(parts[name] for name in (*PHASES, FAILED, LAST)))


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
        self._rows = Counter(ROWS, "Rows predicted.", ("model", "version"), registry=own)
        of_version = ("model", "version")
        self._requests = Counter(
            "trainyard_prediction_requests",
            "Requests for predictions that a version was found for, by whether they were answered.",
            (*of_version, "outcome"),
            registry=own,
        )
        self._passes = Counter(
            PASSES,
            "Passes through the network; requests that come at the same time share one.",
            of_version,
            registry=own,
        )
        self._phases = Counter(
            "trainyard_prediction_seconds",
            "Seconds of these requests by phase: queue, read, infer (all of a shared pass) and write; and refuse.",
            (*of_version, "phase"),
            registry=own,
        )
        self._last = Gauge(
            LAST, "Time of the last prediction since 1970.", of_version, registry=own, multiprocess_mode="max"
        )
        self._refusals = Counter("trainyard_refusals", "Problem documents, by their code.", ("code",), registry=own)
        self._cache = Counter(
            "trainyard_model_cache",
            "Uses of a loaded model: hit if a worker had it, miss if it had to load it.",
            ("result",),
            registry=own,
        )
        #: What shadows have predicted.
        self.shadows = ShadowMetrics(own, lambda: self.registry)
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
        codes, predicted = Tally[str](), defaultdict[tuple[str, int | None], list[Predicted]](list)
        last: dict[tuple[str, int | None], float] = {}
        for record, route in zip(records, routes, strict=True):
            times[route, record.method, record.status].append(record.seconds)
            if record.code is not None:
                codes[record.code] += 1
            if record.predicted is not None:
                predicted[record.predicted[:2]].append(record.predicted)
                if not record.predicted.failed:
                    last[record.predicted[:2]] = record.at
        for (route, method, status), seconds in times.items():
            known = method if method in METHODS else "other"
            self._times.labels(route or "none", known, str(status)).observe_all(seconds)
        for code, number in codes.items():
            self._refusals.labels(code).inc(number)
        for pair, found in predicted.items():
            self._count_predicted(self._bounded(*pair), found, last.get(pair))
        self._count_hits()

    def _count_predicted(self, pair: tuple[str, str], found: Sequence[Predicted], last: float | None) -> None:
        """Count what was predicted with a version."""
        answered, failed = [each for each in found if not each.failed], [each for each in found if each.failed]
        for outcome, number in (("answered", len(answered)), ("failed", len(failed))):
            if number:
                self._requests.labels(*pair, outcome).inc(number)
        self._rows.labels(*pair).inc(sum(each.rows for each in answered))
        self._passes.labels(*pair).inc(sum(each.passes for each in answered))
        for phase in PHASES:
            self._phases.labels(*pair, phase).inc(fsum(getattr(each, phase) for each in answered))
        if failed:
            self._phases.labels(*pair, FAILED).inc(fsum(getattr(each, phase) for each in failed for phase in PHASES))
        if last is not None:
            self._last.labels(*pair).set(last)

    def served(self, model: str) -> dict[str, Served]:
        """What all workers have served of a model by its qualified name, by version as text.

        The version ``checkpoint`` stands for those that were named by a checkpoint.
        """
        return self.all_served({model}).get(model, {})

    def all_served(self, models: Collection[str]) -> dict[str, dict[str, Served]]:
        """As ``served``, of each of these models; those of which nothing was served are left out."""
        found: defaultdict[tuple[str, str], defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
        with reading():
            for sample in (sample for metric in self.registry.collect() for sample in metric.samples):
                labels = sample.labels
                if labels.get("model") not in models or "alias" in labels:  # What a shadow predicts is not served.
                    continue
                if sample.name == LAST or sample.name.endswith("_total"):
                    part = labels.get("outcome") or labels.get("phase") or sample.name
                    found[labels["model"], labels["version"]][part] += sample.value
        served: defaultdict[str, dict[str, Served]] = defaultdict(dict)
        for (model, version), parts in found.items():
            served[model][version] = Served.of(parts)
        return served

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
