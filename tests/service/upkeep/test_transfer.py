"""An installation that moves to another kind of database, and back."""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from models.registry.models import define_model
from models.registry.tables import METADATA, MODELS
from service.jobs.events import StateEvent, add_events
from service.jobs.record import State
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileStore
from service.upkeep.transfer import TransferError, copy_rows, transfer
from service.upkeep.verify import verify
from testing.databases import new_database
from testing.harness import ROOT, Server
from testing.postgresql import PostgreSQL
from testing.runs import a_definition
from testing.samples import ROWS, a_training

pytestmark = [pytest.mark.processes, pytest.mark.sqlite]

MIGRATE = (sys.executable, "-m", "service", "migrate")
STATES = ("release-0.1.0", "migration-0013")


def extracted(state: str, folder: Path) -> Path:
    with tarfile.open(ROOT / "tests" / "data" / state / "data.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "data"


def opened(data: Path, url: str | None = None) -> Database:
    settings = Settings.read({"TRAINYARD_DATA": str(data)})
    return Database(settings if url is None else replace(settings, database_url=url))


def rows(database: Database) -> dict[str, list[str]]:
    with database.read() as connection:
        return {
            name: sorted(repr(tuple(row)) for row in connection.execute(sa.select(table)))
            for name, table in METADATA.tables.items()
        }


@pytest.fixture
def url(postgresql_server: PostgreSQL) -> Iterator[str]:
    with postgresql_server.database() as made:
        yield made


@pytest.mark.parametrize("state", STATES)
def test_it_is_the_same_there_and_back_again(state: str, tmp_path: Path, url: str) -> None:
    data = extracted(state, tmp_path)
    source, target, back = opened(data), opened(data, url), opened(tmp_path / "back")
    counts = transfer(source, target)
    assert counts["jobs"] > 5
    assert counts["events"] > 50
    before = rows(source)
    assert rows(target) == before
    assert counts == {name: len(found) for name, found in before.items()}
    assert transfer(target, back) == counts
    assert rows(back) == before
    numbers = []
    for database in (source, target, back):
        with database.write() as connection:
            define_model(connection, a_definition(name="next"))
            numbers.append(connection.scalar(sa.select(MODELS.c.number).where(MODELS.c.name == "next")))
            add_events(connection, "job_of_mine", [StateEvent(State.QUEUED)])
        with database.read() as connection:
            numbers.append(connection.scalar(sa.text("SELECT max(id) FROM events")))
    assert numbers[:2] == numbers[2:4] == numbers[4:], "a number that was given is not given again"
    assert {each.fault for each in verify(target, FileStore(data)).wrong} == {"missing"}, "files of new models"
    for database in (source, target, back):
        database.dispose()


def test_the_service_goes_on_there(tmp_path: Path, url: str, make_server: Callable[..., Server]) -> None:
    """By the command: models answer, the queue goes on, and the next job has the next number."""
    data = extracted("migration-0013", tmp_path)
    moved = make_server("data", IDEMPOTENCY_SECONDS=10**10, JOB_RETENTION_DAYS=0)
    done = moved.run_to_end(*MIGRATE, "--from", f"sqlite:///{data}/trainyard.db", "--to", url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("copied: ")
    assert " 14 jobs" in done.stdout
    moved.settings["DATABASE_URL"] = url
    client = moved.start_ready()
    answer = client.post("/predict", {"model": "first", "inputs": ROWS[:1]})
    assert answer.status == 200
    job = client.run(a_training("first", data={"dataset": "shades"}))
    assert job["version"] > answer.json["version"]


def test_only_an_empty_database_is_filled(tmp_path: Path, url: str) -> None:
    source, target = new_database(tmp_path / "source"), opened(tmp_path / "target", url)
    target.migrate()
    with target.write() as connection:
        define_model(connection, a_definition(name="mine"))
    before = rows(target)
    with pytest.raises(TransferError, match="has models already"):
        transfer(source, target)
    assert rows(target) == before
    for database in (source, target):
        database.dispose()


def test_nothing_is_copied_by_half(tmp_path: Path, url: str) -> None:
    """The last table cannot be written: then none is."""
    source, target = new_database(tmp_path / "source"), opened(tmp_path / "target", url)
    with source.write() as connection:
        define_model(connection, a_definition(name="mine"))
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
    target.migrate()
    empty = rows(target)
    with target.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE models ADD CONSTRAINT nobody CHECK (name <> 'mine')")
    with pytest.raises(sa.exc.IntegrityError):
        transfer(source, target)
    assert rows(target) == empty
    for database in (source, target):
        database.dispose()


def test_a_difference_is_noticed(tmp_path: Path, url: str) -> None:
    """What reads back otherwise is not taken for copied."""
    source, target = new_database(tmp_path / "source"), opened(tmp_path / "target", url)
    with source.write() as connection:
        define_model(connection, a_definition(name="mine"))
    target.migrate()
    with target.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.name = 'yours'; RETURN NEW; END $$"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER change BEFORE INSERT ON models FOR EACH ROW EXECUTE FUNCTION change()"
        )

    def copy() -> None:
        with source.write() as reading, target.write() as writing:
            copy_rows(reading, writing)

    with pytest.raises(TransferError, match="models did not read back"):
        copy()
    for database in (source, target):
        database.dispose()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--from", "sqlite:////nowhere/trainyard.db"], "--from and --to belong together"),
        (["--from", "sqlite:////nowhere/trainyard.db", "--to", "sqlite:////nowhere/x.db"], "there is no database at"),
        (["--from", "sqlite:////a.db", "--to", "sqlite:////a.db"], "the same one twice"),
        (["--from", "mysql://a/b", "--to", "sqlite:////a.db"], "--from must be sqlite:"),
    ],
)
def test_what_cannot_be_moved(options: list[str], message: str, tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    done = server.run_to_end(*MIGRATE, *options)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
