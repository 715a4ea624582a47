"""Single-row /predict under load by wrk, beside gunicorn's threads, a constant answer and a bare echo."""

from __future__ import annotations

import os
import statistics
from contextlib import ExitStack
from typing import Any, NamedTuple
from unittest.mock import patch

from benchmarks import asked_model, processor, wrk
from benchmarks.servers import gunicorn
from benchmarks.wrk import Load
from testing.harness import Client

ROUNDS, SECONDS = 5, 2
CONNECTIONS = (1, 8, 32)
THREADS = ("--worker-class", "gthread", "--threads", "16")
OURS, OURS_WITH_THREADS = "ours", "ours, gthread"
#: The smallest ratio of our throughput to that with gunicorn's own threads that we aim for, by connections.
GOALS = {1: 2.5, 8: 6.0}


class Contestant(NamedTuple):
    """An application and options of gunicorn beyond those of gunicorn.conf.py, whose worker class is ours."""

    application: str
    options: tuple[str, ...] = THREADS


CONTESTANTS = {
    OURS: Contestant("wsgi:app", ()),
    OURS_WITH_THREADS: Contestant("wsgi:app"),
    "constant in Flask, gthread": Contestant("benchmarks.constant:app"),
    "echo in WSGI, gthread": Contestant("benchmarks.echo:app"),
}


def main() -> dict[str, Any]:
    """Measure all contestants in turn, several rounds; return what wrk measured in each round, and the ratios."""
    body = asked_model.body()
    with ExitStack() as stack:
        ports: dict[str, int] = {}
        for name, contestant in CONTESTANTS.items():
            ports[name], _ = stack.enter_context(gunicorn(contestant.application, *contestant.options))
            if contestant.application == "wsgi:app":
                asked_model.train(ports[name])
            if name == OURS:
                length = len(Client(f"http://127.0.0.1:{ports[name]}").post("/predict", body).body)
                stack.enter_context(patch.dict(os.environ, {"CONSTANT_LENGTH": str(length)}))
        print(f"{processor.name()}, {processor.cores()} cores; a worker process each; {ROUNDS} rounds, medians")
        loads = _measure(ports, body)
    ratios = {connections: _report(connections, by_name) for connections, by_name in loads.items()}
    return {"loads": _plain(loads), "ratios": ratios}


def _measure(ports: dict[str, int], body: bytes) -> dict[int, dict[str, list[Load]]]:
    """The loads of all rounds, by connections and contestant."""
    for port in ports.values():  # Each worker has loaded the model, and compiled nothing anew, before it counts.
        wrk.load(port, body, max(CONNECTIONS), 1).all_good()
    found: dict[int, dict[str, list[Load]]] = {each: {name: [] for name in ports} for each in CONNECTIONS}
    for _ in range(ROUNDS):
        for connections, by_name in found.items():
            for name, port in ports.items():
                by_name[name].append(wrk.load(port, body, connections, SECONDS).all_good())
    return found


def _report(connections: int, by_name: dict[str, list[Load]]) -> float:
    """Print a table for a number of connections; return the ratio of our throughput to that with threads."""
    print(f"\n{f'connections: {connections}':28}{'requests/s':>12}{'p50, ms':>10}{'p99, ms':>10}{'ours is':>10}")
    ours = _median(by_name[OURS], "per_second")
    for name, loads in by_name.items():
        rate = _median(loads, "per_second")
        times = f"{_median(loads, 'p50'):10.2f}{_median(loads, 'p99'):10.2f}{ours / rate:8.2f} ×"
        goal = GOALS.get(connections) if name == OURS_WITH_THREADS else None
        print(f"{name:28}{rate:12,.0f}{times}{f' (goal {goal:g})' if goal else ''}")
    return ours / _median(by_name[OURS_WITH_THREADS], "per_second")


def _median(loads: list[Load], figure: str) -> float:
    return float(statistics.median(getattr(load, figure) for load in loads))


def _plain(loads: dict[int, dict[str, list[Load]]]) -> dict[int, dict[str, list[dict[str, Any]]]]:
    """The same as JSON can hold it, with names."""
    return {
        connections: {name: [load._asdict() for load in each] for name, each in by_name.items()}
        for connections, by_name in loads.items()
    }


if __name__ == "__main__":
    main()
