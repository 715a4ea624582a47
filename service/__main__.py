"""Commands: ``python -m service …``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from service.settings import Settings, SettingsError, table


def _settings() -> Settings:
    try:
        settings = Settings.read()
        settings.prepare()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    return settings


def _start_log(process: str) -> None:
    logging.basicConfig(
        level=logging.INFO, format=f"%(asctime)s {process} %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z"
    )


@click.group()
def cli() -> None:
    """Trainyard: trains neural-network classifiers and serves their predictions."""


@cli.command()
def settings() -> None:
    """Print the table of settings."""
    click.echo(table())


@cli.command()
@click.option("--while-web-lives", is_flag=True, help="End after the last web process; used by the web service itself.")
def trainer(while_web_lives: bool) -> None:
    """Run the trainer of the data directory."""
    from service.trainer import main

    _start_log("trainer")
    sys.exit(main(_settings(), while_web_lives=while_web_lives))


@cli.command(hidden=True)
def runner() -> None:
    """Wait for one job on standard input and run it; used by the trainer."""
    from service.runner import main

    _start_log("runner")
    main()


@cli.command(hidden=True)
@click.argument("work", type=click.Choice(["check", "files"]))
def housekeeping(work: str) -> None:
    """Keep data directory and database in step; used by the trainer."""
    from service.housekeeping import check, keep_files

    _start_log("housekeeping")
    if work == "check":
        sys.exit(check(_settings()))
    keep_files(_settings())


@cli.command(hidden=True)
def reader() -> None:
    """Read files from outside for the socket on standard input; used by the web service."""
    from service.reader import main

    _start_log("reader")
    main()


@cli.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    from service.database import Database

    database = Database(_settings())
    database.migrate()
    database.dispose()  # Python 3.13 warns of connections that nobody closed.


@cli.command()
@click.argument("directory", type=click.Path(path_type=Path))
def backup(directory: Path) -> None:
    """Copy database and files to DIRECTORY, consistently and verified, while the service may run."""
    from service.backup import BackupError, back_up

    try:
        made = back_up(_settings(), directory)
    except BackupError as error:
        raise click.ClickException(str(error)) from None
    click.echo(
        f"{made.files} files of {made.bytes} bytes{' and the database' if made.has_database else ''}: {directory}"
    )
    if not made.has_database:
        click.echo("The database is not SQLite: it is not in this copy. Run pg_dump before each backup of the files.")
    if made.faults:
        raise click.ClickException("; ".join(made.faults))


@cli.command()
def verify() -> None:
    """Read every file and compare it with the database; status 1 where anything is wrong. The service may run."""
    from service.verify import main

    sys.exit(main(_settings()))


@cli.command()
def reindex() -> None:
    """Fill an empty database from the files of the data directory; the service must not run."""
    from service.reindex import main

    sys.exit(main(_settings()))


@cli.command()
def healthcheck() -> None:
    """Ask the web service of this machine whether it is ready; status 1 where it is not."""
    import urllib.request

    address = _settings().bind.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")  # noqa: S104
    try:
        with urllib.request.urlopen(f"http://{address}/health/ready", timeout=3) as response:
            click.echo(response.read().decode())
    except OSError as error:
        raise click.ClickException(f"http://{address}/health/ready: {error}") from None


if __name__ == "__main__":
    cli()
