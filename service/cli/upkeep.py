"""Commands that keep database and files in order."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from service.cli.settings import read_settings
from trainyard.cli.command import WithExample

__all__ = ["backup", "migrate", "reindex", "verify"]


@click.command(cls=WithExample, example="trainyard migrate")
@click.option(
    "--from", "source", metavar="URL", help="Copy all rows from this database, as sqlite:////data/trainyard.db,"
)
@click.option("--to", "target", metavar="URL", help="to this empty one, as postgresql://user@host/name.")
def migrate(source: str | None, target: str | None) -> None:
    """Bring the database to the newest schema.

    The service does this by itself when it starts.

    With --from and --to, an installation moves to another database, while no service uses either. The files stay where
    they are.
    """
    from service.settings import SettingsError
    from service.store.database import Database

    settings = read_settings()
    if source is not None and target is not None:
        from service.upkeep.transfer import main

        main(settings, source, target)
        return
    if source is not None or target is not None:
        raise click.UsageError("--from and --to belong together")
    database = Database(settings)
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
    directory, with SQLite. To restore it, start the service with TRAINYARD_DATA set to it; before that, move it to
    PostgreSQL if it came from there, with `trainyard migrate --from --to`.
    """
    from service.upkeep.backup import BackupError, back_up

    try:
        made = back_up(read_settings(), directory)
    except BackupError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{made.files} files of {made.bytes} bytes and the database: {directory}")
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
