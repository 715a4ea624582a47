"""Marks of the database's state, and selects that are repeated only after a change."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import sqlalchemy.event

from service.store.changes import CachedQuery, Changes
from service.store.sqlite import DataVersions, begin_sqlite


@pytest.fixture(params=["DELETE", "WAL"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A database in either journal mode, with one table of one row."""
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path)) as database, database:
        assert database.execute(f"PRAGMA journal_mode = {request.param}").fetchone() == (request.param.lower(),)
        database.execute("CREATE TABLE numbers (number INTEGER)")
        database.execute("INSERT INTO numbers VALUES (0)")
    return path


@pytest.fixture
def engine(path: Path) -> Iterator[sa.Engine]:
    engine = sa.create_engine(f"sqlite:///{path}")

    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA busy_timeout = 50")

    sqlalchemy.event.listen(engine, "connect", configure)
    sqlalchemy.event.listen(engine, "begin", begin_sqlite)
    yield engine
    engine.dispose()


@pytest.fixture
def changes(engine: sa.Engine) -> Iterator[Changes]:
    made = Changes(engine, DataVersions(), lambda _connection: None)
    yield made
    made.close()


def write(path: Path, number: int) -> None:
    """Commit as another process would."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE numbers SET number = ?", (number,))


def own_write(changes: Changes, number: int) -> None:
    with changes.write() as connection:
        connection.exec_driver_sql("UPDATE numbers SET number = ?", (number,))


def number_in(connection: sa.Connection) -> int:
    return int(connection.exec_driver_sql("SELECT number FROM numbers").scalar_one())


def test_a_mark_stays_until_another_one_commits(changes: Changes, engine: sa.Engine, path: Path) -> None:
    before = changes.mark()
    assert before is not None
    with engine.execution_options(reading=True).connect() as connection:
        assert number_in(connection) == 0
    assert changes.mark() == before
    marks = [before]
    for number in (1, 2):
        write(path, number)
        marks.append(changes.mark())
        assert changes.mark() == marks[-1]
    with engine.begin() as connection:  # another connection of the same process
        connection.exec_driver_sql("UPDATE numbers SET number = 3")
    marks.append(changes.mark())
    assert len(set(marks)) == 4


def test_own_writes_are_no_change_and_hide_none(changes: Changes, engine: sa.Engine, path: Path) -> None:
    before = changes.mark()
    own_write(changes, 1)
    assert changes.mark() == before
    with engine.connect() as connection:
        assert number_in(connection) == 1
    write(path, 2)
    own_write(changes, 3)
    after = changes.mark()
    assert after != before
    with changes.write() as connection:
        assert number_in(connection) == 3
    assert changes.mark() == after


def test_a_failed_write_is_undone_and_the_next_one_works(changes: Changes, path: Path) -> None:
    before = changes.mark()

    def fail() -> None:
        with changes.write() as connection:
            connection.exec_driver_sql("UPDATE numbers SET number = 1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert changes.mark() == before
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sa.exc.OperationalError, match="locked"):
            own_write(changes, 2)
        other.execute("ROLLBACK")
    own_write(changes, 3)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT number FROM numbers").fetchall() == [(3,)]


def test_no_mark_of_a_new_connection_is_one_of_an_old_one(changes: Changes, engine: sa.Engine, path: Path) -> None:
    """SQLite counts from the same number in each."""
    before = changes.mark()
    changes.close()
    engine.dispose()  # Otherwise the pool gives the same connection again.
    write(path, 1)
    assert changes.mark() != before


def test_a_database_that_does_not_answer(changes: Changes, engine: sa.Engine, path: Path) -> None:
    changes.mark()
    changes.close()
    engine.dispose()
    path.unlink()
    path.mkdir()
    with pytest.raises(sa.exc.OperationalError):
        changes.mark()


def test_a_query_is_asked_again_only_after_a_change(changes: Changes, engine: sa.Engine, path: Path) -> None:
    asked: list[int] = []

    def ask(connection: sa.Connection) -> list[int]:
        asked.append(number_in(connection))
        return asked[-1:]

    @contextmanager
    def read() -> Iterator[sa.Connection]:
        with engine.execution_options(reading=True).connect() as connection:
            yield connection

    query = CachedQuery(changes, read, ask)
    first = query()
    assert (query() is first, first, asked) == (True, [0], [0])
    write(path, 7)
    assert (query(), query(), asked) == ([7], [7], [0, 7])
    own_write(changes, 8)
    assert (query(), asked) == ([7], [0, 7])


def test_a_query_that_failed_or_met_a_commit_is_asked_again(changes: Changes, engine: sa.Engine, path: Path) -> None:
    steps: list[Any] = [ZeroDivisionError, 1, None]

    def ask(connection: sa.Connection) -> int:
        step = steps.pop(0)
        if step is ZeroDivisionError:
            raise step
        found = number_in(connection)
        if step is not None:
            write(path, step)  # after the select, before its answer is kept
        return found

    query = CachedQuery(changes, lambda: engine.execution_options(reading=True).connect(), ask)
    with pytest.raises(ZeroDivisionError):
        query()
    assert [query(), query(), query()] == [0, 1, 1]
    assert steps == []
