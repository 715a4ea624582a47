"""A real PostgreSQL server: one writer at a time, on however many machines, and connections that are lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, time
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.command import downgrade
from alembic.migration import MigrationContext
from flask import Flask
from flask.testing import FlaskClient

from models.formats.model_file import ModelFile
from models.registry import models, versions
from models.registry.rebuild import RebuiltRows, store
from models.registry.tables import METADATA
from service.jobs.events import StateEvent, add_events, newest_event_id, newest_events_of_all
from service.jobs.record import State
from service.settings import Settings
from service.store.database import Database
from service.store.locks import LockTakenError
from service.store.migrations import configuration
from service.store.storage_errors import storage_error_code
from service.store.tables import EVENTS
from service.web.app import create_app
from testing.harness import ROOT, Server, eventually
from testing.postgresql import PostgreSQL
from testing.runs import a_definition
from testing.samples import CSV, DATA, ROWS, a_model, a_training

pytestmark = pytest.mark.processes

MACHINES = 4


def close(app: Flask) -> None:
    app.extensions["trainyard"].parser.close()
    app.extensions["trainyard"].database.dispose()


def settings(url: str, folder: Path, **variables: str) -> Settings:
    given = {"TRAINYARD_DATA": str(folder), "TRAINYARD_DATABASE_URL": url, "TRAINYARD_TRAINER": "external"}
    return Settings.read({**given, **variables})


@pytest.fixture
def url(postgresql_server: PostgreSQL) -> Iterator[str]:
    with postgresql_server.database() as made:
        yield made


@pytest.fixture
def database(url: str, tmp_path: Path) -> Iterator[Database]:
    opened = Database(settings(url, tmp_path / "machine-0"))
    opened.migrate()
    yield opened
    opened.dispose()


def test_the_schema_is_that_of_the_tables(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
    downgrade(configuration(database.engine), "base")
    with database.read() as connection:
        assert sa.inspect(connection).get_table_names() == ["alembic_version"]
    database.migrate()


def test_a_model_after_those_that_were_rebuilt_has_the_next_number(database: Database) -> None:
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
        (
            lambda client, number, _: client.post(
                "/train",
                json={"model": a_model("one"), "data": DATA, "epochs": 1},
                headers={"Idempotency-Key": f"key-{number}"},
            ),
            None,
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
        "one key",
    ],
)
def test_requests_at_the_same_moment(
    database: Database,
    url: str,
    tmp_path: Path,
    ask: Callable[[FlaskClient, int, int], Any],
    expected: list[int] | None,
) -> None:
    """One comes first, and the others are answered as if they had come after it."""
    with database.write() as connection:
        models.define_model(connection, a_definition(name="m"))
        versions.publish(connection, "m", None, "ckpt", "{}")
    apps = [create_app(settings(url, tmp_path / f"machine-{machine}")) for machine in range(MACHINES)]
    barrier = threading.Barrier(MACHINES)

    def send(machine: int, number: int) -> Any:
        barrier.wait()
        return ask(apps[machine].test_client(), number, machine)

    with ThreadPoolExecutor(MACHINES) as threads:
        for number in range(10):
            answers = list(threads.map(send, range(MACHINES), [number] * MACHINES))
            found = sorted(int(answer.status_code) for answer in answers)
            if expected is not None:
                assert found == expected
            else:  # The one that makes the job, those that get its answer, and those that meet it under way.
                assert set(found) <= {202, 409}
                assert len({answer.get_json()["id"] for answer in answers if answer.status_code == 202}) == 1
    for app in apps:
        close(app)


def test_events_become_visible_in_the_order_of_their_ids(database: Database) -> None:
    """Else a stream that has seen an event would miss one with a lower id, whose transaction took longer."""

    def add_later() -> None:
        with database.write() as connection:
            add_events(connection, "job_2", [StateEvent(State.QUEUED)])

    with ThreadPoolExecutor(1) as threads:
        with database.write() as connection:
            add_events(connection, "job_1", [StateEvent(State.QUEUED)])
            later = threads.submit(add_later)
            with database.read() as reader:
                eventually(lambda: waiting(reader) == 1, what="the second transaction waits")
                assert newest_event_id(reader) == 0
            add_events(connection, "job_1", [StateEvent(State.RUNNING)])
        later.result(10)
    with database.read() as reader:
        assert [row.data for row in newest_events_of_all(reader, None, 9)] == [
            '{"job": "job_2", "state": "queued"}',
            '{"job": "job_1", "state": "running"}',
            '{"job": "job_1", "state": "queued"}',
        ]


def waiting(connection: sa.Connection) -> int:
    """How many transactions wait to be the writer."""
    found = connection.scalar(
        sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND NOT granted")
    )
    return int(found or 0)


def test_commits_of_others_are_noticed(database: Database, url: str, tmp_path: Path) -> None:
    other = Database(settings(url, tmp_path / "machine-1"))
    before = database.changes.mark()
    assert database.changes.mark() == before
    with database.changes.write() as connection:
        add_events(connection, "job_1", [StateEvent(State.QUEUED)])
    assert database.changes.mark() == before, "its own commit is no change"
    with other.changes.write() as connection:
        add_events(connection, "job_1", [StateEvent(State.QUEUED)])
    assert database.changes.mark() == before, "nobody is to notice it"
    with other.write() as connection:
        add_events(connection, "job_1", [StateEvent(State.RUNNING)])
    eventually(lambda: database.changes.mark() != before, what="the notification")
    other.dispose()


def test_a_key_is_held_once_on_all_machines(database: Database, url: str, tmp_path: Path) -> None:
    other = Database(settings(url, tmp_path / "machine-1"))
    with database.backend.keyed("POST /train", "a"):
        for one in (database, other):
            with pytest.raises(LockTakenError, match="'a'"), one.backend.keyed("POST /train", "a"):
                pass
            with one.backend.keyed("POST /train", "b"), one.backend.keyed("POST /models", "a"):
                pass
    with other.backend.keyed("POST /train", "a"):
        pass
    other.dispose()


def test_a_session_that_was_lost_holds_no_key(
    database: Database, url: str, tmp_path: Path, postgresql_server: PostgreSQL
) -> None:
    other = Database(settings(url, tmp_path / "machine-1"))
    with database.backend.keyed("POST /train", "a"):
        postgresql_server.cut_connections(str(database.engine.url.database), wait=True)
        with other.backend.keyed("POST /train", "a"):
            pass
    with database.backend.keyed("POST /train", "a"):
        pass
    other.dispose()


def test_connections_that_the_server_has_ended_are_made_anew(
    database: Database, url: str, tmp_path: Path, postgresql_server: PostgreSQL
) -> None:
    """As after a restart or a fail-over: no request fails for it."""
    app = create_app(settings(url, tmp_path / "machine-1"))
    client = app.test_client()
    for _ in range(5):
        with ThreadPoolExecutor(4) as threads:
            assert set(threads.map(lambda _: client.get("/models").status_code, range(16))) == {200}
        postgresql_server.cut_connections(str(database.engine.url.database), wait=True)
        for _ in range(4):
            assert client.get("/models").status_code == 200
            assert client.post("/models", json=a_model("m")).status_code in (200, 201)
    close(app)


def test_a_name_with_the_sign_that_text_cannot_have(database: Database, url: str, tmp_path: Path) -> None:
    """PostgreSQL stores no U+0000; a name that has it is the name of nothing."""
    app = create_app(settings(url, tmp_path / "machine-1"))
    client = app.test_client()
    for path in ("/models/%00", "/datasets/a%00b", "/jobs/%00", "/checkpoints/%00", "/models/m/versions/%00"):
        answer = client.get(path)
        assert (answer.status_code, answer.get_json()["code"]) == (404, "not_found"), path
    for path in ("/models?after=%00", "/jobs?model=%00", "/jobs?after=%00"):
        assert 400 <= client.get(path).status_code < 500, path
    body: dict[str, Any] = {"model": "m\0", "inputs": [[1.0, 2.0]]}
    for path, document in (("/predict", body), ("/train", {"model": "m\0", "data": DATA}), ("/models", {"name": "\0"})):
        answer = client.post(path, json=document)
        assert 400 <= answer.status_code < 500, answer.get_json()
    close(app)


WRITER = """
import signal, os, sys
from service.settings import Settings
from service.store.database import Database
from service.jobs.events import StateEvent, add_events
database = Database(Settings.read())
with database.write() as connection:
    add_events(connection, "job_1", [StateEvent("queued")])
    print("writes", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_a_writer_that_is_stopped_keeps_others_waiting_for_some_seconds_only(
    database: Database, url: str, tmp_path: Path
) -> None:
    """The server ends its session, so nothing of what it wrote is there."""
    environment = {"TRAINYARD_DATA": str(tmp_path / "stopped"), "TRAINYARD_DATABASE_URL": url}
    stopped = subprocess.Popen(
        [sys.executable, "-c", WRITER],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert stopped.stdout is not None
        assert stopped.stdout.readline() == "writes\n"
        began = monotonic()
        with database.write() as connection:
            add_events(connection, "job_2", [StateEvent(State.QUEUED)])
        assert monotonic() - began < 8.0
        stopped.send_signal(signal.SIGCONT)
        _, error = stopped.communicate(timeout=30)
        assert "OperationalError" in error
    finally:
        stopped.kill()
        stopped.communicate(timeout=30)
    with database.read() as connection:
        assert [row.data for row in newest_events_of_all(connection, None, 9)] == [
            '{"job": "job_2", "state": "queued"}'
        ]


def test_its_clock_is_the_servers(database: Database) -> None:
    before = time()
    assert before - 0.01 < database.now() < time() + 0.01


@pytest.mark.parametrize(
    ("state", "code"), [("53100", "storage_full"), ("58030", "storage_error"), ("53300", None), ("40001", None)]
)
def test_what_ails_the_server(database: Database, state: str, code: str | None) -> None:
    with pytest.raises(sa.exc.OperationalError) as raised, database.write() as connection:
        connection.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION 'as if' USING ERRCODE = '{state}'; END $$")
    assert storage_error_code(raised.value) == code


def test_a_server_that_is_full_is_said_to_be(database: Database, url: str, tmp_path: Path) -> None:
    with database.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END $$"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER full_disk BEFORE INSERT ON models FOR EACH ROW EXECUTE FUNCTION full_disk()"
        )
    app = create_app(settings(url, tmp_path / "machine-1"))
    answer = app.test_client().post("/models", json=a_model("m"))
    assert (answer.status_code, answer.get_json()["code"]) == (503, "storage_full")
    close(app)


def test_too_few_connections_are_no_fault_of_the_request(database: Database, url: str, tmp_path: Path) -> None:
    """Each thread gets one in the end, or the client is told to come again."""
    name = str(database.engine.url.database)
    with database.engine.connect() as connection:
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" CONNECTION LIMIT 1')
        connection.commit()
    # The role is a superuser, for whom no limit counts; the next one is not.
    with database.engine.begin() as connection:
        connection.exec_driver_sql("DROP ROLE IF EXISTS limited")
        connection.exec_driver_sql("CREATE ROLE limited LOGIN CONNECTION LIMIT 0")
    refused = url.replace("trainyard@", "limited@", 1)
    other = Database(settings(refused, tmp_path / "machine-1"))
    with pytest.raises(sa.exc.OperationalError, match="too many connections"), other.read():
        pass
    assert other.probe.ask(lambda _: True)[0].startswith("unavailable")
    other.dispose()


def test_ready_says_so_if_nothing_can_be_written(database: Database, url: str, tmp_path: Path) -> None:
    name = str(database.engine.url.database)
    with database.engine.connect() as connection:
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        connection.commit()
    assert database.probe.ask(lambda _: True)[0].startswith("locked: ")
    with database.engine.execution_options(reading=True).connect() as connection:
        connection.exec_driver_sql("SET default_transaction_read_only = off")
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        connection.commit()
    assert database.probe.ask(lambda _: True) == ("ok", True)


def test_the_service_from_upload_to_prediction(url: str, make_server: Callable[..., Server]) -> None:
    """A runner is killed meanwhile, the server's connections are cut, and the service is stopped and started."""
    server = make_server(DATABASE_URL=url, WORKERS=2)
    client = server.start_ready()
    client.define(a_model("m"))
    job = client.train(a_training("m", epochs=4000, checkpoint={"every_epochs": 500}))["id"]
    client.until_epoch(job, 700)
    os.kill(server.busy_runner().pid, signal.SIGKILL)
    done = client.wait(job)
    assert (done["state"], done["attempt"]) == ("succeeded", 2)
    assert client.post("/predict", {"model": "m", "inputs": ROWS[:1]}).json["version"] == 1
    server.terminate()
    server.wait_until_gone()
    again = server.start_ready()
    assert again.post("/predict", {"model": "m", "inputs": ROWS[:1]}).json["version"] == 1
    assert again.run(a_training("m"))["version"] == 2
    assert again.post("/predict", {"model": "m", "inputs": ROWS[:1]}).json["version"] == 2
    assert not (server.data / "trainyard.db").exists()


def test_many_transactions_leave_no_gap_in_what_they_count(database: Database, url: str, tmp_path: Path) -> None:
    """Read, then write, in four processes' connections: one writer at a time."""
    others = [Database(settings(url, tmp_path / f"machine-{number}")) for number in range(4)]

    def add(number: int) -> None:
        with others[number % 4].write() as connection:
            count = connection.scalar(sa.select(sa.func.count()).select_from(EVENTS))
            connection.execute(sa.insert(EVENTS).values(job="j", type="epoch", epoch=count, at="", data="{}"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(80)))
    with database.read() as connection:
        assert connection.scalars(sa.select(EVENTS.c.epoch).order_by(EVENTS.c.id)).all() == list(range(80))
    for one in others:
        one.dispose()
