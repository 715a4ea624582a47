"""The schema: tables and migrations agree, also if several processes start at the same time."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import time

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.command import downgrade
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from models.clock import utc_now
from models.formats.durable import FileRecord
from models.registry.datasets import add_dataset
from models.registry.models import define_model
from models.registry.tables import METADATA
from service.settings import Settings, SettingsError
from service.store.counters import Total, count, totals
from service.store.database import HEAD, Database
from service.store.migrations import configuration
from service.store.sqlite import wal_is_safe
from service.store.storage_errors import storage_error_code
from service.store.tables import EVENTS
from testing.databases import url_of
from testing.harness import ROOT
from testing.runs import a_definition


def database(folder: Path) -> Database:
    return Database(Settings.read({"TRAINYARD_DATA": str(folder)}))


def test_a_fresh_migration_gives_the_tables(tmp_path: Path) -> None:
    migrated = database(tmp_path)
    migrated.migrate()
    with migrated.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA) == []
        assert context.get_current_heads() == (HEAD,)
        assert set(sa.inspect(connection).get_table_names()) == {*METADATA.tables, "alembic_version"}
    migrated.dispose()


def test_unique_constraints_and_indexes_are_there(tmp_path: Path) -> None:
    migrated = database(tmp_path)
    migrated.migrate()
    with migrated.read() as connection:
        inspector = sa.inspect(connection)
        for table in METADATA.tables.values():
            wanted = {index.name for index in table.indexes}
            assert {index["name"] for index in inspector.get_indexes(table.name)} >= wanted
        (constraint,) = inspector.get_unique_constraints("events")
        assert constraint["column_names"] == ["job", "member", "epoch"]
    migrated.dispose()


def test_the_newest_migration_is_the_one_the_code_names(tmp_path: Path) -> None:
    migrated = database(tmp_path)
    scripts = ScriptDirectory.from_config(configuration(migrated.engine))
    assert scripts.get_heads() == [HEAD]
    migrated.dispose()


def test_migrating_again_changes_nothing(tmp_path: Path) -> None:
    migrated = database(tmp_path)
    migrated.migrate()
    with migrated.write() as connection:
        connection.execute(sa.insert(EVENTS).values(job="j", type="log", at="", data="{}"))
    migrated.migrate()
    with migrated.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(EVENTS)) == 1
    migrated.dispose()


def test_a_database_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    newer = database(tmp_path)
    newer.migrate()
    with newer.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SettingsError, match=r"newer release .schema 9999.*TRAINYARD_DATA"):
        newer.migrate()
    newer.dispose()


def test_each_total_begins_at_zero(tmp_path: Path) -> None:
    migrated = database(tmp_path)
    migrated.migrate()
    with migrated.write() as connection:
        assert totals(connection) == dict.fromkeys(Total, 0.0)
        count(connection, {Total.EPOCHS: 2, Total.CHECKPOINT_SECONDS: 0.5, Total.CHECKPOINTS: 0})
        count(connection, {Total.EPOCHS: 1})
    with migrated.read() as connection:
        assert totals(connection) == {**dict.fromkeys(Total, 0.0), Total.EPOCHS: 3, Total.CHECKPOINT_SECONDS: 0.5}
    migrated.dispose()


def test_migrations_can_be_taken_back(tmp_path: Path) -> None:
    migrated = database(tmp_path)
    migrated.migrate()
    downgrade(configuration(migrated.engine), "base")
    with migrated.read() as connection:
        assert sa.inspect(connection).get_table_names() == ["alembic_version"]
    migrated.migrate()
    with migrated.read() as connection:
        assert sa.inspect(connection).has_table("jobs")
    migrated.dispose()


@pytest.mark.processes
def test_processes_that_migrate_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "service", "migrate"]

    url = url_of(tmp_path / "new") or ""

    def migrate(_number: int) -> subprocess.CompletedProcess[str]:
        environment = {"TRAINYARD_DATA": str(tmp_path / "new"), "TRAINYARD_DATABASE_URL": url, "PATH": ""}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)

    with ThreadPoolExecutor(4) as pool:
        for done in pool.map(migrate, range(4)):
            assert (done.returncode, done.stderr) == (0, "")
    migrated = database(tmp_path / "new")
    with migrated.read() as connection:
        assert connection.scalars(sa.text("SELECT version_num FROM alembic_version")).all() == [HEAD]
    migrated.dispose()


def test_its_clock_is_this_machines(tmp_path: Path) -> None:
    own = database(tmp_path)
    before = time()
    now = own.now()
    assert before - 0.002 < now < time() + 0.002, "to the millisecond"
    own.dispose()


def test_event_ids_are_never_used_again(tmp_path: Path) -> None:
    migrated = database(tmp_path)
    migrated.migrate()
    ids = []
    for _ in range(3):
        with migrated.write() as connection:
            connection.execute(sa.insert(EVENTS).values(job="j", type="log", at="", data="{}"))
            ids.append(connection.scalar(sa.select(sa.func.max(EVENTS.c.id))))
            connection.execute(sa.delete(EVENTS))
    assert ids == [1, 2, 3]
    migrated.dispose()


def test_an_epoch_stands_once_in_a_history(tmp_path: Path) -> None:
    migrated = database(tmp_path)
    migrated.migrate()
    row = {"job": "j", "type": "epoch", "epoch": 1, "at": "", "data": "{}"}
    with migrated.write() as connection:
        connection.execute(sa.insert(EVENTS), [row, {**row, "job": "k"}])
    with pytest.raises(sa.exc.IntegrityError), migrated.write() as connection:
        connection.execute(sa.insert(EVENTS), [row])
    migrated.dispose()


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    migrated = database(tmp_path)
    migrated.migrate()

    def fail_after_a_write() -> None:
        with migrated.write() as connection:
            connection.execute(sa.insert(EVENTS).values(job="j", type="log", at="", data="{}"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_a_write()
    with migrated.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(EVENTS)) == 0
    migrated.dispose()


def test_writers_wait_for_each_other(tmp_path: Path) -> None:
    """Read, then write: deferred transactions would fail at once as soon as two do it."""
    migrated = database(tmp_path)
    migrated.migrate()

    def add(_number: int) -> None:
        with migrated.write() as connection:
            count = connection.scalar(sa.select(sa.func.count()).select_from(EVENTS))
            connection.execute(sa.insert(EVENTS).values(job="j", type="epoch", epoch=count, at="", data="{}"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(24)))
    with migrated.read() as connection:
        assert connection.scalars(sa.select(EVENTS.c.epoch).order_by(EVENTS.c.id)).all() == list(range(24))
    migrated.dispose()


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
        ((4, 0, 0), True),
    ],
)
def test_the_write_ahead_log_is_used_only_where_it_is_mended(version: tuple[int, ...], safe: bool) -> None:
    assert wal_is_safe(version) is safe


@pytest.mark.sqlite
@pytest.mark.parametrize("of", ["model", "dataset"])
def test_a_row_with_a_name_that_a_full_database_refuses(tmp_path: Path, of: str) -> None:
    """The error is that of the disk, whichever row is the one too many."""
    migrated = database(tmp_path)
    migrated.migrate()

    def fill() -> None:
        with migrated.write() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            for number in range(10_000):
                if of == "model":
                    define_model(connection, a_definition(name=f"m{number}"))
                else:
                    row = {"id": f"ds_{number}", "name": f"d{number}", "rows": 3, "features": ["a"], "classes": [0, 1]}
                    add_dataset(connection, {**row, "created_at": utc_now()}, FileRecord(7, "cd" * 32))

    with pytest.raises(sa.exc.OperationalError) as failure:
        fill()
    assert storage_error_code(failure.value) == "storage_full"
    migrated.dispose()
