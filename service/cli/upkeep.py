"""Commands that keep database and files in order."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from service.cli.settings import read_settings
from trainyard.cli.command import WithExample

__all__ = ["backup", "migrate", "reindex", "verify"]


@click.command(cls=WithExample, example="trainyard migrate")
def migrate() -> None:
    """Bring the database to the newest schema.

    The service does this by itself when it starts.
    """
    from service.settings import SettingsError
    from service.store.database import Database

    database = Database(read_settings())
    try:
        database.migrate()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    database.dispose()  # Python 3.13 warns of unclosed connections.


@click.command(cls=WithExample, example="trainyard backup /backups/monday")
@click.argument("directory", type=click.Path(path_type=Path))
def backup(directory: Path) -> None:
    """Copy database and files to DIRECTORY.

    DIRECTORY must be new or empty. The service may run. The copy is consistent and verified, and is itself a data
    directory: to restore it, start the service with TRAINYARD_DATA set to it.
    """
    from service.upkeep.backup import BackupError, back_up

    try:
        made = back_up(read_settings(), directory)
    except BackupError as error:
        raise click.ClickException(str(error)) from None
    click.echo(
        f"{made.files} files of {made.bytes} bytes{' and the database' if made.has_database else ''}: {directory}"
    )
    if not made.has_database:
        click.echo("The database is not SQLite: it is not in this copy. Run pg_dump before each backup of the files.")
    if made.faults:
        raise click.ClickException("; ".join(made.faults))


@click.command(cls=WithExample, example="trainyard verify")
def verify() -> None:
    """Compare every file with the database.

    The service may run. Prints what is missing or damaged; the exit status is 1 if anything is.
    """
    from service.upkeep.verify import main

    sys.exit(main(read_settings()))


@click.command(cls=WithExample, example="TRAINYARD_DATA=restored trainyard reindex")
def reindex() -> None:
    """Fill an empty database from the files.

    Makes a lost database again from TRAINYARD_DATA. The service must not run.
    """
    from service.upkeep.reindex import main

    sys.exit(main(read_settings()))
