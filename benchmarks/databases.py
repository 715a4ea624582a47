"""The service on PostgreSQL beside SQLite: predictions, reports of jobs, changes of what is served, a short job."""

from __future__ import annotations

import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from benchmarks import processor, wrk
from models.registry.models import define_model
from models.registry.versions import publish, set_alias
from service.jobs.events import StateEvent, add_events
from service.jobs.record import State
from service.settings import Settings
from service.store.database import Database
from testing.harness import Client, serving
from testing.postgresql import postgresql
from testing.runs import a_definition
from testing.samples import ROWS, a_model, a_training

__all__ = ["main"]

ROUNDS, SECONDS = 5, 1
CONNECTIONS = (1, 8, 32)
COMMITS, CHANGES, JOBS = 300, 100, 5


def main() -> dict[str, Any]:
    """Measure both in turn and print it; return the medians, by what was measured and kind of database."""
    print(f"{processor.name()}, {processor.cores()} cores; one web worker; medians; both flush what they commit")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trainyard-bench-")))
        server = stack.enter_context(postgresql(durable=True))
        urls = {"sqlite": "", "postgresql": server.create("service")}
        own = {"sqlite": "", "postgresql": server.create("transactions")}
        found = _of_service(stack, folder, urls) | _of_transactions(folder, own)
    for what, values in found.items():
        ratio = values["postgresql"] / values["sqlite"]
        print(f"{what:<40} {values['sqlite']:10,.2f} {values['postgresql']:10,.2f}   {ratio:.2f} of SQLite's")
    return found


def _of_service(stack: ExitStack, folder: Path, urls: dict[str, str]) -> dict[str, dict[str, float]]:
    clients: dict[str, Client] = {}
    for kind, url in urls.items():
        variables = {"DATABASE_URL": url} if url else {}
        running = stack.enter_context(serving(folder / kind, WORKERS=1, ACCESS_LOG="off", **variables))
        running.client.define(a_model("small"))
        running.client.run(a_training("small"))
        clients[kind] = running.client
    body = b'{"model": "small", "inputs": [%s]}' % str(ROWS[0]).encode()
    rates: dict[int, dict[str, list[float]]] = {each: {kind: [] for kind in urls} for each in CONNECTIONS}
    for _ in range(ROUNDS):
        for connections, by_kind in rates.items():
            for kind, client in clients.items():
                port = urlsplit(client.base).port
                assert port is not None
                by_kind[kind].append(wrk.load(port, body, connections, SECONDS).all_good().per_second)
    seconds: dict[str, list[float]] = {kind: [] for kind in urls}
    for seed in range(JOBS):
        for kind, client in clients.items():
            began = perf_counter()
            client.run(a_training("small", seed=seed))
            seconds[kind].append(perf_counter() - began)
    found = {
        f"predictions a second, {each} connections": {kind: statistics.median(all_) for kind, all_ in by_kind.items()}
        for each, by_kind in rates.items()
    }
    found["ms of a job of five epochs, to its end"] = {
        kind: 1000 * statistics.median(all_) for kind, all_ in seconds.items()
    }
    return found


def _of_transactions(folder: Path, urls: dict[str, str]) -> dict[str, dict[str, float]]:
    databases = {}
    for kind, url in urls.items():
        variables = {"TRAINYARD_DATA": str(folder / f"{kind}-alone"), "TRAINYARD_DATABASE_URL": url}
        database = databases[kind] = Database(Settings.read(variables))
        database.migrate()
        with database.write() as connection:
            define_model(connection, a_definition(name="m"))
            for number in (1, 2):
                publish(connection, "m", "j", f"ckpt_{number}", "{}")
    commits: dict[str, list[float]] = {kind: [] for kind in urls}
    changes: dict[str, list[float]] = {kind: [] for kind in urls}
    for number in range(COMMITS):
        for kind, database in databases.items():
            began = perf_counter()
            with database.write() as connection:
                add_events(connection, "job", [StateEvent(State.QUEUED)])
            commits[kind].append(perf_counter() - began)
            if number < CHANGES:
                began = perf_counter()
                with database.write() as connection:
                    set_alias(connection, "m", "default", 1 + number % 2)
                changes[kind].append(perf_counter() - began)
    for database in databases.values():
        database.dispose()
    return {
        what: {kind: 1000 * statistics.median(all_) for kind, all_ in seconds.items()}
        for what, seconds in (("ms of a transaction with one event", commits), ("ms of a move of an alias", changes))
    }


if __name__ == "__main__":
    main()
