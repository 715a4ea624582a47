"""A real PostgreSQL: the migration of the old release's rows, and writers that really work at the same time.

Runs if ``POSTGRESQL_URL`` names an empty database that these tests may clear, as in
``POSTGRESQL_URL=postgresql+psycopg://postgres@/trainyard?host=/tmp/socket``; psycopg must be installed.
"""

from __future__ import annotations

import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.command import downgrade, upgrade
from alembic.migration import MigrationContext
from flask.testing import FlaskClient

from models.formats.model_file import ModelFile
from models.registry import models, versions
from models.registry.rebuild import RebuiltRows, store
from models.registry.tables import METADATA
from service.jobs.events import StateEvent, add_events, newest_event_id, newest_events_of_all
from service.jobs.record import State
from service.settings import Settings
from service.store.database import Database
from service.store.migrations import configuration
from service.web.app import create_app
from testing.harness import ROOT, eventually
from testing.runs import a_definition
from testing.samples import CSV, DATA, a_model

URL = os.environ.get("POSTGRESQL_URL")
pytestmark = [pytest.mark.skipif(URL is None, reason="POSTGRESQL_URL names no database"), pytest.mark.processes]
MACHINES = 4


def settings(folder: Path) -> Settings:
    variables = {"TRAINYARD_DATA": str(folder), "TRAINYARD_DATABASE_URL": URL or "", "TRAINYARD_TRAINER": "external"}
    return Settings.read(variables)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(settings(tmp_path / "machine-0"))
    with opened.engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    yield opened
    opened.dispose()


def rows(database: Database) -> dict[str, list[str]]:
    tables = {name: table for name, table in METADATA.tables.items() if name != "identity"}
    with database.read() as connection:
        return {
            name: sorted(repr(tuple(row)) for row in connection.execute(sa.select(table)))
            for name, table in tables.items()
        }


def test_rows_of_release_0_1_0_become_the_same_as_in_sqlite(database: Database, tmp_path: Path) -> None:
    with tarfile.open(ROOT / "tests" / "data" / "release-0.1.0" / "data.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    upgrade(configuration(database.engine), "0006")
    old = sa.create_engine(f"sqlite:///{tmp_path}/data/trainyard.db")
    tables = sa.MetaData()
    tables.reflect(database.engine)
    with old.connect() as source, database.engine.begin() as target:
        for name in METADATA.tables.keys() & tables.tables.keys() - {"identity"}:
            found = [dict(row._mapping) for row in source.execute(sa.text(f"SELECT * FROM {name}"))]
            if found:
                target.execute(sa.insert(tables.tables[name]), found)
    old.dispose()
    database.migrate()
    sqlite = Database(Settings.read({"TRAINYARD_DATA": str(tmp_path / "data")}))
    sqlite.migrate()
    migrated = rows(database)
    assert migrated == rows(sqlite)
    sqlite.dispose()
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
    downgrade(configuration(database.engine), "0006")
    database.migrate()
    assert rows(database) == migrated


def test_a_model_after_those_that_were_rebuilt_has_the_next_number(database: Database) -> None:
    database.migrate()
    found = RebuiltRows({"small": ModelFile("local", "small", 7, "", a_definition().canonical(), 0, [], {})})
    with database.write() as connection:
        store(connection, found)
        models.define_model(connection, a_definition(name="next"))
        assert versions.require_model(connection, "next") == 8


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (lambda client, number, _: client.post("/models", json=a_model(f"m-{number}")), [200] * 3 + [201]),
        (
            lambda client, number, machine: client.post(
                "/models", json=a_model(f"m-{number}", metadata={"m": machine})
            ),
            [200] * 3 + [201],
        ),
        (
            lambda client, number, machine: client.post(
                "/models", json=a_model(f"m-{number}", metadata={"m": machine}, exact=True)
            ),
            [201] + [409] * 3,
        ),
        (
            lambda client, number, _: client.post(
                f"/datasets?name=d-{number}&label=colour", data=CSV, content_type="text/csv"
            ),
            [201] + [409] * 3,
        ),
        (lambda client, number, _: client.put(f"/models/m/aliases/a-{number}", json={"version": 1}), [200] * 4),
        (
            lambda client, number, _: client.post(
                "/train", json={"model": a_model(f"m-{number}"), "data": DATA, "epochs": 1}
            ),
            [202] * 4,
        ),
        (
            lambda client, number, machine: client.post(
                "/train", json={"model": a_model(f"m-{number}", metadata={"m": machine}), "data": DATA, "epochs": 1}
            ),
            [202] * 4,
        ),
    ],
    ids=[
        "one definition",
        "different definitions",
        "different definitions that must be the same",
        "datasets",
        "aliases",
        "training of new models",
        "training of different definitions",
    ],
)
def test_requests_at_the_same_moment(
    database: Database, tmp_path: Path, ask: Callable[[FlaskClient, int, int], Any], expected: list[int]
) -> None:
    """One comes first, and the others are answered as if they had come after it."""
    database.migrate()
    with database.write() as connection:
        models.define_model(connection, a_definition(name="m"))
        versions.publish(connection, "m", None, "ckpt", "{}")
    apps = [create_app(settings(tmp_path / f"machine-{machine}")) for machine in range(MACHINES)]
    barrier = threading.Barrier(MACHINES)

    def send(machine: int, number: int) -> int:
        barrier.wait()
        return int(ask(apps[machine].test_client(), number, machine).status_code)

    with ThreadPoolExecutor(MACHINES) as threads:
        for number in range(10):
            assert sorted(threads.map(send, range(MACHINES), [number] * MACHINES)) == expected
    for app in apps:
        app.extensions["trainyard"].database.dispose()


def test_events_become_visible_in_the_order_of_their_ids(database: Database) -> None:
    """Else a stream that has seen an event would miss one with a lower id, whose transaction took longer."""
    database.migrate()

    def waits(connection: sa.Connection) -> int:
        return connection.scalar(sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))

    def add_later() -> None:
        with database.write() as connection:
            add_events(connection, "job_2", [StateEvent(State.QUEUED)])

    with ThreadPoolExecutor(1) as threads, database.write() as connection:
        add_events(connection, "job_1", [StateEvent(State.QUEUED)])
        later = threads.submit(add_later)
        with database.read() as reader:
            eventually(lambda: waits(reader) == 1, what="the second transaction waits")
            assert newest_event_id(reader) == 0
        add_events(connection, "job_1", [StateEvent(State.RUNNING)])
        connection.commit()
        later.result(10)
    with database.read() as reader:
        assert [row.data for row in newest_events_of_all(reader, None, 9)] == [
            '{"job": "job_2", "state": "queued"}',
            '{"job": "job_1", "state": "running"}',
            '{"job": "job_1", "state": "queued"}',
        ]
