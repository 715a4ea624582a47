"""Metrics of what the database and the disk hold, asked at each scrape: they are the same whichever worker answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from models.registry import models, rows
from models.version import VERSION
from service.jobs.lifecycle import oldest_wait
from service.jobs.record import FINAL, State
from service.store.counters import Total, totals
from service.store.tables import JOBS
from service.web.context import Context
from service.web.shared_metrics import reading

__all__ = ["ServiceMetrics", "exposition"]

_log = logging.getLogger("trainyard.web")

#: The metric of each counter of the database that has one of its own.
_COUNTED = {
    Total.EPOCHS: ("trainyard_epochs", "Epochs that jobs, or members of them, have trained and reported."),
    Total.ROWS_TRAINED: ("trainyard_rows_trained", "Rows of these epochs."),
    Total.CHECKPOINTS: ("trainyard_checkpoints_saved", "Checkpoints that jobs have saved."),
    Total.CHECKPOINT_BYTES: ("trainyard_checkpoint_saved_bytes", "Bytes of these checkpoints."),
    Total.CHECKPOINT_SECONDS: ("trainyard_checkpoint_seconds", "Seconds that it took to save them."),
}


def exposition(parts: Context, trainer_is_up: Callable[[sa.Connection], bool]) -> bytes:
    """All metrics in the text format of Prometheus, with the requests of this worker up to now."""
    requests = parts.requests
    requests.drain()
    registry = CollectorRegistry()
    registry.register(ServiceMetrics(parts, trainer_is_up))
    with reading():
        return generate_latest(registry) + generate_latest(requests.metrics.registry)


class ServiceMetrics(Collector):
    """Reads everything when it is asked. If the database does not answer, what it holds is left out."""

    def __init__(self, parts: Context, trainer_is_up: Callable[[sa.Connection], bool]) -> None:
        self._parts, self._trainer_is_up = parts, trainer_is_up

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        info = GaugeMetricFamily("trainyard_info", "Version of the service.", labels=("version",))
        info.add_metric((VERSION,), 1)
        yield info
        yield from self._disk()
        try:
            with self._parts.database.read() as connection:
                found = [*self._stored(connection), *_jobs(connection), *_counted(connection)]
                wait = oldest_wait(connection, self._parts.database.now(connection))
        except sa.exc.OperationalError as error:
            _log.error("the database did not answer: %s", error.orig)
            yield GaugeMetricFamily("trainyard_database_up", "Whether the database answers.", 0)
            return
        yield GaugeMetricFamily("trainyard_database_up", "Whether the database answers.", 1)
        yield from found
        yield GaugeMetricFamily(
            "trainyard_queue_oldest_seconds", "Seconds that the oldest queued job has waited.", wait
        )

    def _disk(self) -> Iterator[Metric]:
        try:
            space = self._parts.files.space()
        except OSError as error:
            _log.error("the data directory cannot be asked for its space: %s", error)
            return
        yield GaugeMetricFamily(
            "trainyard_disk_free_bytes", "Free bytes on the disk of the data directory.", space.free
        )
        yield GaugeMetricFamily("trainyard_disk_total_bytes", "Bytes of the disk of the data directory.", space.total)

    def _stored(self, connection: sa.Connection) -> Iterator[Metric]:
        up = self._trainer_is_up(connection)
        yield GaugeMetricFamily("trainyard_trainer_up", "Whether a trainer is running.", int(up))
        counts = models.totals(connection)
        counts["files_at_fault"] = rows.files_at_fault(connection), "Files that are missing or damaged."
        for name, (value, text) in counts.items():
            yield GaugeMetricFamily(f"trainyard_{name}", text, value)


def _jobs(connection: sa.Connection) -> Iterator[Metric]:
    by_state = sa.select(JOBS.c.state, sa.func.count()).group_by(JOBS.c.state)
    counts: dict[str, int] = {row[0]: row[1] for row in connection.execute(by_state)}
    jobs = GaugeMetricFamily("trainyard_jobs", "Jobs by state.", labels=("state",))
    for state in State:
        jobs.add_metric((state,), counts.get(state, 0))
    yield jobs


def _counted(connection: sa.Connection) -> Iterator[Metric]:
    counts = totals(connection)
    for counter, (name, text) in _COUNTED.items():
        yield CounterMetricFamily(name, text, counts[counter])
    ended = CounterMetricFamily("trainyard_jobs_ended", "Jobs that have ended, by state.", labels=("state",))
    for state in FINAL:
        ended.add_metric((state,), counts[Total(f"jobs_{state}")])
    yield ended
    waits, seconds = counts[Total.QUEUE_WAITS], counts[Total.QUEUE_WAIT_SECONDS]
    text = "Seconds that jobs have waited in the queue before a trainer claimed them."
    yield SummaryMetricFamily("trainyard_queue_wait_seconds", text, int(waits), seconds)
