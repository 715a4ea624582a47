"""New databases: copies of one that was migrated once, since a migration takes longer than most tests.

By default each data directory has its own SQLite file. After ``use_postgresql`` it has a database of that server.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import weakref
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import sqlalchemy as sa

from service.settings import Settings
from service.store.database import Database
from service.upkeep.transfer import transfer

if TYPE_CHECKING:  # What uses SQLite alone, as benchmarks do, need not have them.
    import pytest

    from service.store.postgresql import PostgreSQL as Backend
    from testing.postgresql import PostgreSQL

__all__ = [
    "copy_data",
    "drop_databases",
    "lose_database",
    "new_database",
    "place_database",
    "rows_of",
    "url_of",
    "use_postgresql",
    "uses_postgresql",
]

_NAME = "trainyard.db"
_TEMPLATE = "template_trainyard"
_server: PostgreSQL | None = None
#: The parts of this process that use it.
_backends: weakref.WeakSet[Backend] = weakref.WeakSet()
#: The databases of that server, by data directory.
_made: dict[Path, str] = {}


def use_postgresql(server: PostgreSQL, patch: pytest.MonkeyPatch) -> None:
    """From now on, settings that name no database mean one of this server: each data directory has its own."""
    global _server  # noqa: PLW0603 - what a run of the tests uses
    _server = server
    read = Settings.read

    def read_with_server(environment: Mapping[str, str] | None = None) -> Settings:
        given = dict(os.environ if environment is None else environment)
        if "TRAINYARD_DATA" in given and not given.get("TRAINYARD_DATABASE_URL"):
            given["TRAINYARD_DATABASE_URL"] = url_of(Path(given["TRAINYARD_DATA"])) or ""
        return read(given)

    patch.setattr(Settings, "read", read_with_server)
    from service.store.postgresql import PostgreSQL as Backend

    begin = Backend.__init__

    def begin_noted(self: Backend, settings: Settings) -> None:
        begin(self, settings)
        _backends.add(self)

    patch.setattr(Backend, "__init__", begin_noted)


def uses_postgresql() -> bool:
    """Whether tests run on PostgreSQL."""
    return _server is not None


def url_of(data: Path) -> str | None:
    """The URL of a data directory's database, which is made if it is missing; None if that is SQLite's."""
    if _server is None:
        return None
    data = data.absolute()
    if data not in _made:
        url = _make(data, "template0")
        if (data / _NAME).exists():
            # Of an earlier state, or a copy: an installation that moves.
            moved = [
                Database(Settings.read({"TRAINYARD_DATA": str(data), "TRAINYARD_DATABASE_URL": one}))
                for one in (f"sqlite:///{data / _NAME}", url)
            ]
            transfer(*moved)
            for one in moved:
                one.dispose()
    return _server.url(_made[data])


def _make(data: Path, template: str) -> str:
    assert _server is not None
    name = f"t{hashlib.sha256(str(data).encode()).hexdigest()[:24]}"
    _made[data] = name
    return _server.create(name, template)


def drop_databases(folder: Path) -> None:
    """Drop the databases of all data directories in a folder."""
    for data in [data for data in _made if data.is_relative_to(folder)]:
        assert _server is not None
        name = _made.pop(data)
        # What tests have left open would try to connect from now on.
        for backend in [one for one in _backends if one.engine.url.database == name]:
            backend.close()
        _server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def lose_database(data: Path) -> None:
    """Delete the database of a data directory, as if its disk were lost. The next one there is empty."""
    if _server is None:
        for path in data.glob(f"{_NAME}*"):
            path.unlink()
    else:
        drop_databases(data)


def copy_data(source: Path, target: Path) -> None:
    """Copy a data directory that no service uses, and its database."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    if _server is not None and source.absolute() in _made:
        _server.cut_connections(_made[source.absolute()])
        _make(target.absolute(), _made[source.absolute()])


@contextmanager
def rows_of(data: Path) -> Iterator[sa.Connection]:
    """A connection to the database of a data directory, for statements that the service does not make."""
    engine = sa.create_engine(url_of(data) or f"sqlite:///{data / _NAME}", poolclass=sa.NullPool)
    with engine.begin() as connection:
        yield connection


def new_database(data: Path) -> Database:
    """The database of a data directory that has none yet, with the newest schema and no rows."""
    place_database(data)
    return Database(Settings.read({"TRAINYARD_DATA": str(data)}))


def place_database(data: Path) -> None:
    """Give a data directory, which is made if it is missing, a new database."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    if _server is not None:
        _place_in_server(_server, data.absolute())
        return
    with (data / _NAME).open("xb") as file:
        file.write(_migrated())
    with closing(sqlite3.connect(data / _NAME)) as database, database:
        # As the migration does: no two databases have the same identity.
        database.execute("UPDATE identity SET id = lower(hex(randomblob(16)))")


def _place_in_server(server: PostgreSQL, data: Path) -> None:
    if not server.has(_TEMPLATE):
        server.create(_TEMPLATE)
        with TemporaryDirectory(prefix="trainyard-database-") as folder:
            url = server.url(_TEMPLATE)
            made = Database(Settings.read({"TRAINYARD_DATA": folder, "TRAINYARD_DATABASE_URL": url}))
            made.migrate()
            made.dispose()
    drop_databases(data)  # An empty one, if settings were read before.
    _make(data, _TEMPLATE)
    server.execute("UPDATE identity SET id = replace(gen_random_uuid()::text, '-', '')", _made[data])


@cache
def _migrated() -> bytes:
    """The file of a SQLite database that has been migrated."""
    with TemporaryDirectory(prefix="trainyard-database-") as folder:
        made = Database(Settings.read({"TRAINYARD_DATA": folder}))
        made.migrate()
        made.dispose()
        # What the log of SQLite held is in the file once the last connection is closed.
        assert [path.name for path in Path(folder).glob(f"{_NAME}*")] == [_NAME]
        return (Path(folder) / _NAME).read_bytes()
