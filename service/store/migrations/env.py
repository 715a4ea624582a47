"""Run by Alembic for each command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import context

from models.registry.tables import METADATA


def _run() -> None:
    with context.config.attributes["engine"].connect() as connection, _unreferenced(connection), connection.begin():
        context.configure(connection=connection, target_metadata=METADATA, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()
        if connection.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
            raise RuntimeError("a migration left rows that refer to missing rows")


@contextmanager
def _unreferenced(connection: sa.Connection) -> Iterator[None]:
    """Let SQLite enforce no foreign keys in the block: it would delete rows together with a table they refer to.

    SQLite takes note of this outside of a transaction only.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys = ON")


_run()
