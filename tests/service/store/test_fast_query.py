"""The select that runs on every prediction: it never returns an old answer, and notices only what may change it."""

from __future__ import annotations

import re
import resource
import signal
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path
from time import monotonic

import pytest
import sqlalchemy as sa

from models.clock import utc_now
from models.formats.durable import FileRecord
from models.registry import checkpoints, versions
from models.registry.models import define_model, delete_model
from models.registry.tables import CHECKPOINTS
from models.registry.versions import SERVING_QUERY, publish
from service.settings import Settings
from service.store import fast_query, sqlite
from service.store.database import Database
from service.store.fast_query import FastQuery
from service.store.sqlite import JOURNAL_MODE, UserVersion
from service.store.tables import EVENTS
from testing.harness import ROOT
from testing.runs import a_definition


@pytest.mark.sqlite
@pytest.mark.skipif(JOURNAL_MODE != "DELETE", reason="the write-ahead log does not write the counter")
def test_no_answer_outlives_a_count_that_comes_twice(database: Database, tmp_path: Path) -> None:
    """A writer that is killed in its commit leaves a count that the next writer reuses; answers between are old."""
    with database.write() as connection:
        define_model(connection, a_definition(name="m"))
        publish(connection, "m", "j", "first", "{}")
    real = UserVersion(database.engine)
    left_behind = (int.from_bytes(real() or b"", "big") + 1).to_bytes(4, "big")
    other = sqlite3.connect(tmp_path / "trainyard.db", timeout=0, isolation_level=None)
    calls: list[bytes | None] = []

    def commit() -> None:
        other.execute("BEGIN IMMEDIATE")
        try:
            other.execute("UPDATE versions SET checkpoint = 'second'")
            other.execute(f"PRAGMA user_version = {int.from_bytes(left_behind, 'big')}")
            other.execute("COMMIT")
        finally:
            if other.in_transaction:
                other.execute("ROLLBACK")

    def counter() -> bytes | None:
        """First what the killed writer left; then a commit is tried at each read of the counter."""
        calls.append(left_behind if not calls else None)
        if calls[-1] is None:
            with suppress(sqlite3.OperationalError):  # The reader's lock excludes the writer.
                commit()
        return calls[-1] or real()

    database.backend.count = counter  # type: ignore[misc, assignment]
    query = FastQuery(database.backend, SERVING_QUERY)
    query._known["local", "m", "default"] = fast_query._Known(
        b"older", (0, "older"), monotonic()
    )  # so that the counter is asked
    assert query.first(owner="local", model="m", alias="default") == (1, "first", None, None, None)
    commit()
    assert real() == left_behind
    assert query.first(owner="local", model="m", alias="default") == (1, "second", None, None, None)
    assert len(calls) >= 2
    other.close()


MODEL = a_definition().name

Change = Callable[[sa.Connection], object]


def _checkpoint(connection: sa.Connection, number: int) -> None:
    values: dict[str, object] = {
        "id": f"ckpt_{number}",
        "model": MODEL,
        "kind": "last",
        "epoch": 1,
        "step": 1,
        "metrics": "{}",
    }
    values["created_at"] = utc_now()
    checkpoints.add_checkpoint(connection, values, FileRecord(7, "cd" * 32, 1))


#: What changes the answer for some alias, in an order in which each does.
CHANGES: dict[str, Change] = {
    "publish": lambda connection: publish(connection, MODEL, "j", "ckpt_1", "{}"),
    "add a checkpoint": lambda connection: _checkpoint(connection, 1),
    "publish another": lambda connection: publish(connection, MODEL, "j", "ckpt_2", "{}"),
    "add its checkpoint": lambda connection: _checkpoint(connection, 2),
    "set an alias": lambda connection: versions.set_alias(connection, MODEL, "default", 1),
    "note a fault": lambda connection: connection.execute(sa.update(CHECKPOINTS).values(fault="changed")),
    "forget the fault": lambda connection: connection.execute(sa.update(CHECKPOINTS).values(fault=None)),
    "remove an alias": lambda connection: versions.remove_alias(connection, MODEL, "default"),
    "forget a checkpoint": lambda connection: checkpoints.forget_checkpoints(connection, ["ckpt_2"]),
    "delete the model": lambda connection: delete_model(connection, MODEL),
}
ALIASES = ("default", "latest")


def _answers(database: Database) -> list[object]:
    return [database.serving_version.first(owner="local", model=MODEL, alias=alias) for alias in ALIASES]


def _selected(database: Database) -> list[object]:
    """What SQLAlchemy selects, without anything that is kept."""
    with database.read() as connection:
        rows = [
            connection.execute(SERVING_QUERY, {"owner": "local", "model": MODEL, "alias": alias}).first()
            for alias in ALIASES
        ]
    return [None if row is None else tuple(row) for row in rows]


@pytest.mark.parametrize("by", ["Database.write", "Changes.write"])
def test_each_change_is_noticed_by_every_process(database: Database, by: str) -> None:
    """Two databases stand for the engines of two processes: one writes, the other has cached what it read."""
    other = Database(database.settings)
    write: Callable[[], AbstractContextManager[sa.Connection]] = (
        other.write if by == "Database.write" else other.changes.write
    )
    seen = [_answers(database)]
    for name, change in CHANGES.items():
        with write() as connection:
            change(connection)
        found = _answers(database)
        assert found == _answers(other) == _selected(database), name
        assert found != seen[-1], name
        seen.append(found)
    assert seen[-1] == [None, None]
    other.dispose()


@pytest.mark.sqlite
@pytest.mark.skipif(JOURNAL_MODE != "DELETE", reason="with the write-ahead log, the select runs every time")
def test_other_commits_leave_the_answer_known(database: Database, tmp_path: Path) -> None:
    """A prediction need not wait for a running job's reports, nor for whoever holds the database for writing."""
    with database.write() as connection:
        publish(connection, MODEL, "j", "ckpt_1", "{}")
    known = _answers(database)
    with database.write() as connection:
        connection.execute(sa.insert(EVENTS).values(job="j", type="log", at="", data="{}"))
    with closing(sqlite3.connect(tmp_path / "trainyard.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert [database.serving_version.at_once(owner="local", model=MODEL, alias=alias) for alias in ALIASES] == known


def test_a_change_that_is_rolled_back_changes_no_answer(database: Database) -> None:
    with database.write() as connection:
        publish(connection, MODEL, "j", "ckpt_1", "{}")
    known = _answers(database)
    with suppress(ZeroDivisionError), database.write() as connection:
        publish(connection, MODEL, "j", "ckpt_2", "{}")
        raise ZeroDivisionError
    assert _answers(database) == known == _selected(database)


@pytest.mark.sqlite
@pytest.mark.skipif(JOURNAL_MODE != "DELETE", reason="with the write-ahead log, the select runs every time")
def test_a_change_that_did_not_count_is_noticed_in_the_end(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trainer of an earlier release may still run beside a new web service."""
    with database.write() as connection:
        publish(connection, MODEL, "j", "ckpt_1", "{}")
    now = monotonic()
    monkeypatch.setattr(fast_query, "monotonic", lambda: now)
    assert _answers(database)[1] == (1, "ckpt_1", None, None, None)
    with closing(sqlite3.connect(tmp_path / "trainyard.db")) as other, other:
        other.execute("UPDATE versions SET checkpoint = 'ckpt_9'")
    now += fast_query.MAXIMUM_AGE
    assert database.serving_version.at_once(owner="local", model=MODEL, alias="latest") is None
    assert _answers(database) == _selected(database)
    assert _answers(database)[1] == (1, "ckpt_9", None, None, None)


@pytest.mark.sqlite
def test_a_full_disk_is_reported_as_by_any_write(database: Database) -> None:
    """Also if the counter is the first that a transaction writes, and meets the full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def write() -> None:
        with database.write() as connection:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
            publish(connection, MODEL, "j", "ckpt_1", "{}")

    try:
        with pytest.raises(sa.exc.OperationalError):
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert _answers(database) == [None, None]


def test_the_tables_include_all_that_delete_rows_of_theirs(database: Database) -> None:
    """A row that is deleted or changed because another one is deleted is noticed by that one's table."""
    tables = database.serving_version.tables
    assert {table.name for table in tables} == {"models", "versions", "aliases", "checkpoints"}
    for table in tables:
        assert {key.column.table for key in table.foreign_keys if key.ondelete} <= tables


def test_no_statement_that_changes_rows_is_text() -> None:
    """Only SQLAlchemy's own statements say which table they change."""
    changes = re.compile(r"""["'](INSERT|UPDATE|DELETE|REPLACE)\s""")
    modules = [path for folder in ("service", "models") for path in (ROOT / folder).rglob("*.py")]
    found = [str(path) for path in modules if "migrations" not in path.parts and changes.search(path.read_text())]
    assert modules
    assert not found


@pytest.mark.sqlite
def test_with_the_write_ahead_log_each_answer_is_selected_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers wait for no writer then, so nothing need be kept."""
    monkeypatch.setattr(sqlite, "JOURNAL_MODE", "WAL")
    logged = Database(Settings.read({"TRAINYARD_DATA": str(tmp_path)}))
    logged.migrate()
    asked = {"owner": "local", "model": MODEL, "alias": "latest"}
    with logged.write() as connection:
        define_model(connection, a_definition())
        publish(connection, MODEL, "j", "ckpt_1", "{}")
    with logged.write() as connection:
        publish(connection, MODEL, "j", "ckpt_2", "{}")
        assert logged.serving_version.at_once(**asked) == (1, "ckpt_1", None, None, None)
    assert logged.serving_version.at_once(**asked) == (2, "ckpt_2", None, None, None)
    assert logged.serving_version.at_once(owner="local", model="other", alias="latest") is None
    logged.dispose()
