"""What shadows have predicted, counted by all workers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter

from service.serving.agreement import Agreement
from service.web.shared_metrics import reading

__all__ = ["Outcome", "ShadowMetrics", "Shadowing"]

#: Shadows that are counted apart; a client may make any number of them.
MOST = 1_000
_NAME = "trainyard_shadow"


class Outcome:
    """What becomes of a request that a shadow is to predict."""

    PREDICTED, DROPPED, FAILED, UNLOGGED = "predicted", "dropped", "failed", "unlogged"


class Shadowing(NamedTuple):
    """What a version has done as the shadow of an alias: requests by outcome, and how far it agrees."""

    predicted: int
    dropped: int
    failed: int
    unlogged: int
    rows: int
    agreeing: int
    difference: float


class ShadowMetrics:
    """Counters by model (its qualified name), alias and the shadow's version. ``shared`` returns those of all workers.

    A request is ``unlogged`` besides if it was predicted, but the log had no room for it.
    """

    def __init__(self, own: CollectorRegistry, shared: Callable[[], CollectorRegistry]) -> None:
        self._shared = shared
        self._known: set[tuple[str, str, str]] = set()
        labels = ("model", "alias", "version")
        self._requests = Counter(
            f"{_NAME}_requests",
            "Requests for a shadow, by outcome: predicted, dropped under load or failed; and unlogged.",
            (*labels, "outcome"),
            registry=own,
        )
        self._rows = Counter(f"{_NAME}_rows", "Rows that a shadow has predicted.", labels, registry=own)
        self._agreeing = Counter(
            f"{_NAME}_agreeing_rows", "Rows of these with the same most probable class.", labels, registry=own
        )
        self._difference = Counter(
            f"{_NAME}_difference", "Sum over these rows of the mean |p - q| of their classes.", labels, registry=own
        )

    def count(self, model: str, alias: str, version: int, outcome: str, requests: int = 1) -> None:
        """Count requests."""
        self._requests.labels(*self._bounded(model, alias, version), outcome).inc(requests)

    def compare(self, model: str, alias: str, version: int, found: Agreement) -> None:
        """Count rows that both versions have predicted."""
        labels = self._bounded(model, alias, version)
        self._rows.labels(*labels).inc(found.rows)
        self._agreeing.labels(*labels).inc(found.agreeing)
        self._difference.labels(*labels).inc(found.difference)

    def of(self, model: str, alias: str, version: int) -> Shadowing:
        """What a version has done as a shadow since the service started."""
        wanted = (model, alias, str(version))
        found: defaultdict[str, float] = defaultdict(float)
        with reading():
            for sample in (sample for metric in self._shared().collect() for sample in metric.samples):
                labels = sample.labels
                counted = sample.name.startswith(_NAME) and sample.name.endswith("_total")
                if counted and (labels["model"], labels["alias"], labels["version"]) == wanted:
                    found[labels.get("outcome", sample.name)] += sample.value
        return Shadowing(
            int(found[Outcome.PREDICTED]),
            int(found[Outcome.DROPPED]),
            int(found[Outcome.FAILED]),
            int(found[Outcome.UNLOGGED]),
            int(found[f"{_NAME}_rows_total"]),
            int(found[f"{_NAME}_agreeing_rows_total"]),
            found[f"{_NAME}_difference_total"],
        )

    def _bounded(self, model: str, alias: str, version: int) -> tuple[str, str, str]:
        labels = (model, alias, str(version))
        if labels not in self._known:
            if len(self._known) >= MOST:
                return ("other", "other", "other")
            self._known.add(labels)
        return labels
