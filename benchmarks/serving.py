"""Predictions in every protocol, beside bare echoes, an earlier worker, granian and four other servers."""

from __future__ import annotations

import os
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from benchmarks import processor, serving_batches, serving_rows, serving_workers, wrk
from benchmarks.floors import Floor, report
from benchmarks.servers import gunicorn
from benchmarks.serving_contestants import service
from benchmarks.serving_contestants.servers import CONTESTANTS
from benchmarks.serving_requests import BINARY, PREDICT, ROWS, V2, Request, requests
from benchmarks.wrk import Load
from testing.harness import Client

__all__ = ["main"]

ROUNDS, SECONDS = 5, 1
CONNECTIONS = (1, 8, 32)
BEFORE, GTHREAD, GRANIAN = "/predict, before", "/predict, gthread", "/predict, granian"
#: Ours at least so many times the one before, by connections.
GAINS = {1: 2.6, 8: 5.5}
#: Other routes at least so much of /predict.
SHARES = {ROWS: 0.8, V2: 0.8, BINARY: 0.9}
#: The longest p99 with 8 connections, in milliseconds.
P99 = 2.0

#: The loads of all rounds, by connections and contestant.
Loads = dict[int, dict[str, list[Load]]]


class Contestant(NamedTuple):
    """Where a server listens, and what it is asked."""

    port: int
    request: Request


def main(rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure everything in turn and print it; return what wrk measured, and the floors."""
    print(f"{processor.name()}, {processor.cores()} cores; a worker each; {rounds} rounds of {SECONDS} s, medians")
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as name:
        data = Path(name) / "data"
        service.train(data, (service.SMALL, service.TABLE, service.DIGITS, service.WIDE))
        loads = _one_row(Path(name), data, rounds)
        floors = _floors(loads)
        parts = {}
        for part in (serving_rows, serving_workers, serving_batches):
            print(f"\n{(part.__doc__ or '').splitlines()[0]}\n")
            parts[part.__name__], found = part.measure(data, rounds)
            floors += found
    print()
    return {"loads": _plain(loads), **parts, "floors": report(floors)}


def _one_row(folder: Path, data: Path, rounds: int) -> Loads:
    """The loads of one row for each contestant, whose answers are equal."""
    x = np.random.default_rng(1).standard_normal((1, 30)).round(3)
    with ExitStack() as stack:
        contestants = _started(stack, folder, data, x)
        for contestant in contestants.values():  # Each has loaded the model, and compiled nothing anew.
            _load(contestant, max(CONNECTIONS))
        loads: Loads = {each: {name: [] for name in contestants} for each in CONNECTIONS}
        for _ in range(rounds):
            for connections, by_name in loads.items():
                for name, contestant in contestants.items():
                    by_name[name].append(_load(contestant, connections))
    _print_table(loads)
    return loads


def _started(stack: ExitStack, folder: Path, data: Path, x: Any) -> dict[str, Contestant]:
    """Start all servers, and check that those with the network answer the same."""
    ours = stack.enter_context(service.serve(data, service.gunicorn()))
    asked = requests(service.SMALL, service.TABLE, x)
    contestants = {name: Contestant(ours, request) for name, request in asked.items()}
    one = asked[PREDICT]
    contestants[GTHREAD] = Contestant(stack.enter_context(service.serve(data, service.gthread())), one)
    contestants[GRANIAN] = Contestant(stack.enter_context(service.granian(data)), one)
    root = service.before(folder / "before")
    service.train(folder / "data-before", (service.SMALL,), root)
    before = stack.enter_context(service.serve(folder / "data-before", service.gunicorn(), root))
    contestants[BEFORE] = Contestant(before, one)
    weights = folder / "weights.npz"
    service.export(data, service.SMALL, weights)
    for name, start in CONTESTANTS.items():
        (folder / name).mkdir()
        contestants[name] = Contestant(*stack.enter_context(start(weights, folder / name, x)))
    _require_equal(contestants)
    length = len(_answer(contestants[PREDICT]).body)
    print(f"one row, 30-64-64-3: /predict has a body of {len(one.body)} bytes, and its answer has {length}")
    with patch.dict(os.environ, {"CONSTANT_LENGTH": str(length)}):
        threads = ("--worker-class", "gthread", "--threads", "16")
        for name, application, options in (
            ("WSGI echo, our worker", "benchmarks.echo:app", ()),
            ("WSGI echo, gthread", "benchmarks.echo:app", threads),
            ("Flask echo, gthread", "benchmarks.constant:app", threads),
        ):
            port, _ = stack.enter_context(gunicorn(application, *options))
            contestants[name] = Contestant(port, one)
    return contestants


def _answer(contestant: Contestant) -> Any:
    request = contestant.request
    answer = Client(f"http://127.0.0.1:{contestant.port}").post(request.path, request.body, headers=request.headers)
    if answer.status != 200:
        raise RuntimeError(f"{request.path} must have status 200. Received: {answer}")
    return answer


def _require_equal(contestants: dict[str, Contestant]) -> None:
    """Raise AssertionError if a server answers other probabilities; the table's network has weights of its own."""
    expected = contestants[PREDICT].request.read(_answer(contestants[PREDICT]))
    for name, contestant in contestants.items():
        found = contestant.request.read(_answer(contestant))
        if name == ROWS:
            assert found.shape == expected.shape, name
        else:
            np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=name)


def _load(contestant: Contestant, connections: int) -> Load:
    request = contestant.request
    found = wrk.load(contestant.port, request.body, connections, SECONDS, request.path, request.headers)
    return found.all_good()


def _print_table(loads: Loads) -> None:
    """Print a table as docs/performance.md has it: requests a second, and p50 and p99 in milliseconds."""
    head = " | ".join(f"{count:2}: requests/s | p50, p99 in ms" for count in CONNECTIONS)
    print(f"\n| {'connections':22} | {head} |\n|{'---|' * (1 + 2 * len(CONNECTIONS))}")
    for name in next(iter(loads.values())):
        cells = [
            f"{_median(by_name[name], 'per_second'):14,.0f} | "
            f"{_median(by_name[name], 'p50'):6.2f}, {_median(by_name[name], 'p99'):6.2f}"
            for by_name in loads.values()
        ]
        print(f"| {name:22} | {' | '.join(cells)} |")


def _floors(loads: Loads) -> list[Floor]:
    """What must be met by requests of one row."""

    def rate(name: str, connections: int) -> float:
        return _median(loads[connections][name], "per_second")

    floors = [
        Floor(f"/predict, times the one before, {count} connections", rate(PREDICT, count) / rate(BEFORE, count), gain)
        for count, gain in GAINS.items()
    ]
    floors.append(Floor("/predict, p99 in ms, 8 connections", _median(loads[8][PREDICT], "p99"), P99, most=True))
    for count in CONNECTIONS:
        rivals = {name: rate(name, count) for name in (GRANIAN, *CONTESTANTS)}
        fastest = max(rivals, key=rivals.__getitem__)
        ratio = rate(PREDICT, count) / rivals[fastest]
        floors.append(Floor(f"/predict, times the fastest other server ({fastest}), {count} connections", ratio, 1.0))
    for name, share in SHARES.items():
        least = min(rate(name, count) / rate(PREDICT, count) for count in CONNECTIONS)
        floors.append(Floor(f"{name}, share of /predict, the least of all connections", least, share))
    return floors


def _median(loads: list[Load], figure: str) -> float:
    return float(statistics.median(getattr(load, figure) for load in loads))


def _plain(loads: Loads) -> dict[int, dict[str, list[dict[str, Any]]]]:
    """The same as JSON can hold it, with names."""
    return {
        connections: {name: [load._asdict() for load in each] for name, each in by_name.items()}
        for connections, by_name in loads.items()
    }


if __name__ == "__main__":
    main()
