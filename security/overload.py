"""More requests than can be answered: other clients are served, or refused soon, and health checks are answered."""

from __future__ import annotations

import json
from collections import Counter

from benchmarks import wrk
from benchmarks.wrk import Load
from reliability.figure import Figure
from security.at_once import at_once
from security.watch import MODEL, Goal, Watch, watched

__all__ = ["run"]

GOALS = {"requests of the flood": 20_000, "dry runs": 48, "large predictions": 200}
#: Answers to others, refusals included, come within so many seconds.
SOON = 0.1
#: Connections of wrk: four times those with the best throughput, and more than a worker may have requests waiting.
TIMES, MANY = 4 * 16, 3_000
#: Seconds for one request of a flood, whatever waits before it.
PATIENCE = 240.0
#: Seconds for which wrk sends.
SECONDS = 8
#: Inputs and units of a model whose steps are slow, and rows of a request, for dry runs.
INPUTS, UNITS = 5_000, 5_900
#: Rows of a large prediction, which takes about 0.2 s.
ROWS = 20_000
_GOAL = Goal(p99=SOON, times=1.0, health=1.0, refusals=True)
#: A dry run takes some steps: parameters, gradients and moments of such a model are 480 MB.
_STEPS = _GOAL._replace(resident=1000 * 2**20)


def run(scale: float) -> Figure:
    """Flood a service with predictions by wrk, with dry runs of a large model, and with large predictions."""
    figure = Figure(goals=dict(GOALS))
    with watched(figure, scale) as watch:
        seconds = max(2, round(SECONDS * scale))
        for connections in (TIMES, MANY):
            _predict(watch, connections if scale >= 1 else max(TIMES, int(connections * scale)), seconds)
        _dry_runs(watch, max(6, int(GOALS["dry runs"] * scale)), scale)
        _large_predictions(watch, max(4, int(GOALS["large predictions"] * scale)))
    return figure


def _predict(watch: Watch, connections: int, seconds: int) -> None:
    """Requests of one row by wrk."""
    body = json.dumps({"model": MODEL, "inputs": [[0.5, 0.5]]}).encode()
    name = f"{connections:,} connections of wrk"
    with watch.attack(name, _GOAL):
        load: Load = wrk.load(watch.port, body, connections, seconds)
    strange = load.statuses.keys() - {200, 503}
    if strange or any(load.failures.values()):
        watch.broke(f"{name}: must be answered with 200 or 503. Received: {load.statuses}, failures: {load.failures}")
    watch.figure.count("requests of the flood", load.answers)
    print(f"    {name}: {load.per_second:,.0f} predictions a second, {load.share(503):.1%} of answers are 503")


def _dry_runs(watch: Watch, count: int, scale: float) -> None:
    """Dry runs of a model with 30 million parameters at scale 1, which take a second or more each."""
    units = UNITS if scale >= 1 else 200
    watch.client.define({"name": "slow", "inputs": INPUTS, "classes": 2, "hidden": [units]})
    rows = [[0.5] * INPUTS for _ in range(40)]
    document = {"model": "slow", "dry_run": True, "data": {"inputs": rows, "labels": [0, 1] * 20}}
    _flood(watch, f"{count} dry runs at once", "dry runs", "/train", document, count, _STEPS)


def _large_predictions(watch: Watch, count: int) -> None:
    document = {"model": MODEL, "inputs": [[0.5, 0.5]] * ROWS}
    _flood(
        watch, f"{count} predictions of {ROWS:,} rows at once", "large predictions", "/predict", document, count, _GOAL
    )


def _flood(watch: Watch, name: str, what: str, path: str, document: object, count: int, goal: Goal) -> None:
    body = json.dumps(document).encode()
    with watch.attack(name, goal):
        results = at_once(count, lambda _: watch.client.post(path, body, timeout=PATIENCE).status)
    got = Counter(map(repr, results))
    if got.keys() - {"200", "503"}:
        watch.broke(f"{name}: must be answered with 200 or 503. Received: {dict(got)}")
    watch.figure.count(what, got.total())
    print(f"    {name}: {dict(got)}")
