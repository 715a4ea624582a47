"""All rows of one database copied into another one, which may be of another kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import click
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import REGCLASS

from models.registry.tables import IDENTITY, METADATA
from service.settings import Settings, SettingsError, database_problem
from service.store.database import Database
from service.store.tables import COUNTERS

__all__ = ["TransferError", "copy_rows", "transfer"]

_ROWS_AT_ONCE = 500
#: What a migration fills, in every database.
_FILLED = (IDENTITY, COUNTERS)


class TransferError(Exception):
    """Nothing was copied; the message has the reason and a remedy."""


def transfer(source: Database, target: Database) -> dict[str, int]:
    """Copy all rows to an empty database, in one transaction; how many of each table.

    Both databases are brought to the newest schema first, and ``source`` cannot be changed meanwhile. Raises
    TransferError if ``target`` is not empty, or if it does not read back as it was written.
    """
    if source.engine.url == target.engine.url:
        raise TransferError("--from and --to must be two databases. Received: the same one twice")
    _require(source)
    source.migrate()
    target.migrate()
    with source.write() as reading, target.write() as writing:
        for table in METADATA.sorted_tables:
            if table not in _FILLED and writing.execute(sa.select(table.c[0]).limit(1)).first() is not None:
                raise TransferError(f"the database at --to has {table.name} already: it must be a new one")
        return copy_rows(reading, writing)


def _require(database: Database) -> None:
    """Raise TransferError if there is no database: SQLite would make one."""
    if not database.exists():
        raise TransferError(f"there is no database at {database.engine.url.database}: --from must name one")


def copy_rows(source: sa.Connection, target: sa.Connection) -> dict[str, int]:
    """Copy all rows within open transactions into a database without rows, except those of a migration.

    Returns how many of each table. Raises TransferError if something does not read back as it was written.
    """
    counts = {}
    for table in METADATA.sorted_tables:
        if table in _FILLED:
            target.execute(sa.delete(table))
        counts[table.name] = 0
        for rows in _rows(source, table):
            target.execute(sa.insert(table), rows)
            counts[table.name] += len(rows)
        if any(before != after for before, after in zip(_rows(source, table), _rows(target, table), strict=True)):
            raise TransferError(f"the rows of {table.name} did not read back as they were written; nothing was copied")
        _go_on_counting(source, target, table)
    return counts


def _rows(connection: sa.Connection, table: sa.Table) -> Iterator[list[dict[str, object]]]:
    """All rows, some at a time, in the order of their keys."""
    # By bytes: databases order text by different rules.
    order = [
        sa.collate(column, "C" if connection.dialect.name == "postgresql" else "BINARY")
        if isinstance(column.type, sa.String)
        else column
        for column in table.primary_key
    ]
    found = connection.execute(sa.select(table).order_by(*order), execution_options={"yield_per": _ROWS_AT_ONCE})
    for rows in found.partitions():
        yield [dict(zip(table.columns.keys(), row, strict=True)) for row in rows]


def _go_on_counting(source: sa.Connection, target: sa.Connection, table: sa.Table) -> None:
    """Have the database give no number that the source has given, also to rows that were deleted since."""
    if not table.dialect_options["sqlite"]["autoincrement"]:
        return
    newest = _newest(source, table)
    if not newest:
        return
    if target.dialect.name == "sqlite":
        # SQLite's own table, in which each table with rows has one.
        numbers = sa.table("sqlite_sequence", sa.column("name"), sa.column("seq"))
        target.execute(sa.delete(numbers).where(numbers.c.name == table.name))
        target.execute(sa.insert(numbers).values(name=table.name, seq=newest))
    else:
        target.execute(sa.select(sa.func.setval(_sequence(table), newest)))


def _newest(connection: sa.Connection, table: sa.Table) -> int | None:
    """The newest number that a database has given; None or 0 before the first."""
    if connection.dialect.name == "sqlite":
        numbers = sa.table("sqlite_sequence", sa.column("name"), sa.column("seq"))
        newest: int | None = connection.scalar(sa.select(numbers.c.seq).where(numbers.c.name == table.name))
        return newest
    last: int | None = connection.scalar(sa.select(sa.func.pg_sequence_last_value(sa.cast(_sequence(table), REGCLASS))))
    return last


def _sequence(table: sa.Table) -> sa.ColumnElement[str]:
    return sa.func.pg_get_serial_sequence(table.name, table.primary_key.columns[0].name)


def main(settings: Settings, source: str, target: str) -> None:
    """Copy the rows and print how many. Raises ClickException."""
    for option, url in (("--from", source), ("--to", target)):
        wanted = database_problem(url) if url else "a URL"
        if wanted is not None:
            raise click.UsageError(f"{option} must be {wanted.removeprefix('empty, ')}. Received: {url!r}")
    databases = [Database(replace(settings, database_url=url)) for url in (source, target)]
    try:
        counts = transfer(*databases)
    except (TransferError, SettingsError) as error:
        raise click.ClickException(str(error)) from None
    except sa.exc.OperationalError as error:
        raise click.ClickException(f"a database did not answer, and nothing was copied: {error.orig}") from None
    finally:
        for database in databases:
            database.dispose()
    several = ", ".join(f"{number} {table}" for table, number in counts.items() if number and table != IDENTITY.name)
    click.echo(f"copied: {several or 'no rows'}")
    click.echo("Start the service with TRAINYARD_DATABASE_URL set to the new database. The old one is as it was.")
