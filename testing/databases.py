"""New databases: copies of one that was migrated once, since a migration takes longer than most tests."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from service.settings import Settings
from service.store.database import Database

__all__ = ["new_database", "place_database"]

_NAME = "trainyard.db"


def new_database(data: Path) -> Database:
    """The database of a data directory that has none yet, with the newest schema and no rows."""
    place_database(data)
    return Database(Settings.read({"TRAINYARD_DATA": str(data)}))


def place_database(data: Path) -> None:
    """Put a new SQLite database into a data directory, which is made if it is missing."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (data / _NAME).open("xb") as file:
        file.write(_migrated())
    with closing(sqlite3.connect(data / _NAME)) as database, database:
        # As the migration does: no two databases have the same identity.
        database.execute("UPDATE identity SET id = lower(hex(randomblob(16)))")


@cache
def _migrated() -> bytes:
    """The file of a database that has been migrated."""
    with TemporaryDirectory(prefix="trainyard-database-") as folder:
        made = Database(Settings.read({"TRAINYARD_DATA": folder}))
        made.migrate()
        made.dispose()
        # What the log of SQLite held is in the file once the last connection is closed.
        assert [path.name for path in Path(folder).glob(f"{_NAME}*")] == [_NAME]
        return (Path(folder) / _NAME).read_bytes()
