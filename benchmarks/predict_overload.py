"""/predict under four times the load that it can serve: what is still answered, and how fast the rest is refused."""

from __future__ import annotations

import math
import statistics
import time
from typing import Any, NamedTuple

from benchmarks import asked_model, long_job, processor, wrk
from benchmarks.probe import probing
from benchmarks.servers import gunicorn
from benchmarks.wrk import Load
from service.settings import Settings

ROUNDS, SECONDS = 3, 5
#: Connections among which the best throughput is looked for.
CONNECTIONS = (8, 16, 32)
#: What is offered, relative to the connections of the best throughput.
TIMES = 4
#: The throughput of accepted requests, relative to the best, that we aim for.
GOAL = 0.8
#: Seconds within which we aim to refuse a request.
GOAL_REFUSED = 0.1


class Kind(NamedTuple):
    """Requests of so many rows; ``offered`` is the connections of the overload, None for TIMES those of the best."""

    rows: int
    offered: int | None = None


KINDS = {"one row": Kind(1), "2,000 rows": Kind(2000), "2,000 rows, more of them": Kind(2000, 256)}
#: Seconds before each load. The service ends the requests of the one before, as it cannot see that their clients have
#: left, and new connections would go to the worker that has fewer of them left.
SETTLE_SECONDS = 4.0


class Best(NamedTuple):
    """The best throughput, in accepted requests per second, and the number of connections that had it."""

    per_second: float
    connections: int


class Overload(NamedTuple):
    """Rounds of wrk with so many connections; the probe's times of 200 and 503 answers in seconds, and its failures."""

    connections: int
    loads: list[Load]
    served: list[float]
    refused: list[float]
    failures: int

    @property
    def per_second(self) -> float:
        """The median of accepted requests per second."""
        return statistics.median(load.per_second for load in self.loads)

    @property
    def offered_per_second(self) -> float:
        """The median of answered requests per second, 503 included."""
        return statistics.median(load.answers / load.seconds for load in self.loads)

    @property
    def refused_share(self) -> float:
        """The share of wrk's answers that are 503."""
        return sum(load.statuses.get(503, 0) for load in self.loads) / max(sum(load.answers for load in self.loads), 1)


def main() -> dict[str, Any]:
    """Overload the service by requests of both kinds, without and beside a job; print and return what happens."""
    workers = Settings.read({}).workers
    print(f"{processor.name()}, {processor.cores()} cores; {workers} worker processes; {ROUNDS} rounds of {SECONDS} s")
    found: dict[str, Any] = {}
    with gunicorn("wsgi:app", workers=workers) as (port, _):
        asked_model.train(port)
        long_job.upload(port)
        for number, (name, kind) in enumerate(KINDS.items()):
            body = asked_model.body(kind.rows)
            best = _best(port, body)
            connections = kind.offered or TIMES * best.connections
            print(f"\n{name}: best {best.per_second:,.0f} requests/s, with {best.connections} connections")
            without = _overload(port, body, connections)
            _report("without a job", without, best)
            with long_job.training(port, number) as job:
                alone = job.alone(SECONDS)
                beside, pace = job.during(lambda body=body, count=connections: _overload(port, body, count))  # type: ignore[misc]
            _report("beside a job", beside, best)
            print(
                f"  the job: {alone.epochs:.2f} epochs/s and {alone.steps:,.0f} steps/s without predictions, ", end=""
            )
            print(f"{pace.epochs:.2f} and {pace.steps:,.0f} beside them (goal more than 0)")
            found[name] = {
                "best": best._asdict(),
                "ratio": without.per_second / best.per_second,
                "without_a_job": _plain(without),
                "beside_a_job": _plain(beside),
                "job_alone": alone._asdict(),
                "job_beside_predictions": pace._asdict(),
            }
    return found


def _best(port: int, body: bytes) -> Best:
    """The highest median throughput of several numbers of connections, measured in turn."""
    wrk.load(port, body, max(CONNECTIONS), 1)  # Each worker has loaded the model before it counts.
    rates: dict[int, list[float]] = {connections: [] for connections in CONNECTIONS}
    for _ in range(ROUNDS):
        for connections, each in rates.items():
            time.sleep(SETTLE_SECONDS)
            each.append(wrk.load(port, body, connections, SECONDS).per_second)
    best = max(Best(statistics.median(each), connections) for connections, each in rates.items())
    if not best.per_second:
        raise wrk.WrkError(f"at least one number of connections must get predictions. Received: {rates}")
    return best


def _overload(port: int, body: bytes, connections: int) -> Overload:
    """Offer more than can be served, with a probe that sends the same requests."""
    loads: list[Load] = []
    served, refused, failures = list[float](), list[float](), 0
    for _ in range(ROUNDS):
        time.sleep(SETTLE_SECONDS)
        with probing(port, body) as probe:
            loads.append(wrk.load(port, body, connections, SECONDS))
        served += probe.seconds.get(200, [])
        refused += probe.seconds.get(503, [])
        failures += probe.failures
    return Overload(connections, loads, served, refused, failures)


def _report(name: str, overload: Overload, best: Best) -> None:
    """Print an overload beside the best throughput."""
    print(f"  {name}, {overload.connections} connections: {overload.per_second:,.0f} requests/s, ", end="")
    print(f"{overload.per_second / best.per_second:.2f} of the best (goal {GOAL:g}); ", end="")
    times = overload.offered_per_second / best.per_second
    print(f"{overload.refused_share:.1%} of answers are 503, and {times:.1f} times the best was offered")
    print(f"    a probe waits for 200: {_times(overload.served)}")
    print(f"    a probe waits for 503: {_times(overload.refused)}", end="")
    in_time = sum(seconds <= GOAL_REFUSED for seconds in overload.refused) / max(len(overload.refused), 1)
    print(f"; {in_time:.1%} within {GOAL_REFUSED * 1000:.0f} ms (goal 100 %)" if overload.refused else "")
    failures = {kind: sum(load.failures[kind] for load in overload.loads) for kind in overload.loads[0].failures}
    others = sorted({status for load in overload.loads for status in load.statuses} - {200, 503})
    if overload.failures or any(failures.values()) or others:
        print(f"    failures: {overload.failures} of the probe, {failures} of wrk; other answers: {others or 'none'}")


def _times(seconds: list[float]) -> str:
    """The distribution of times, in words."""
    if not seconds:
        return "no such answer"
    middle, late = statistics.median(seconds), sorted(seconds)[math.ceil(0.99 * len(seconds)) - 1]
    times = f"median {middle * 1000:.1f} ms, p99 {late * 1000:.1f} ms, longest {max(seconds) * 1000:.1f} ms"
    return f"{times}, of {len(seconds):,}"


def _plain(overload: Overload) -> dict[str, Any]:
    """The same as JSON can hold it, with names."""
    return {**overload._asdict(), "loads": [load._asdict() for load in overload.loads]}


if __name__ == "__main__":
    main()
