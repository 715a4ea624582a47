"""Commands that run a process of the service, or ask whether it runs."""

from __future__ import annotations

import sys

import click

from service import log
from service.cli.settings import read_settings
from service.settings import Settings, SettingsError
from trainyard.cli.command import WithExample

__all__ = ["healthcheck", "member", "network_reader", "parser", "runner", "table_reader", "trainer", "upkeep"]


def start_log(process: str, *, ready: bool = False) -> None:
    """Log as this process; ``ready``: so that the first line takes no time and opens no file. Raises ClickException."""
    try:
        log.configure(process, Settings.read().log_format)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    if ready:
        log.make_ready()


@click.command(cls=WithExample, example="TRAINYARD_TRAINER=external trainyard serve &\ntrainyard trainer")
@click.option(
    "--while-web-lives", is_flag=True, hidden=True, help="Stop after the last web process; the web service uses this."
)
def trainer(while_web_lives: bool) -> None:
    """Run a trainer, which runs queued jobs.

    The web service keeps a trainer running by itself. Use this command if TRAINYARD_TRAINER is external.
    """
    from service.jobs.trainer import main

    start_log("trainer")
    sys.exit(main(read_settings(), while_web_lives=while_web_lives))


@click.command(hidden=True)
def runner() -> None:
    """Wait for one job on standard input and run it; used by the trainer."""
    from service.jobs.runner import main

    start_log("runner")
    main()


@click.command(hidden=True)
def member() -> None:
    """Train members of a job for the socket on standard input; used by the runner."""
    from service.jobs.members.process import main

    start_log("member")
    main()


@click.command(hidden=True)
@click.argument("work", type=click.Choice(["check", "clear", "model-files", "storage"]))
@click.argument("jobs", nargs=-1)
def upkeep(work: str, jobs: tuple[str, ...]) -> None:
    """Keep the data directory and the database consistent; used by the trainer.

    "clear" is for jobs whose runners have died. "storage" is asked before the web service starts.
    """
    if work == "storage":
        _check_storage()
        return
    from service.upkeep.clearing import clear_after
    from service.upkeep.model_files import write_model_files
    from service.upkeep.startup_check import check

    start_log("upkeep")
    if work == "check":
        sys.exit(check(read_settings()))
    if work == "clear":
        sys.exit(clear_after(read_settings(), jobs))
    write_model_files(read_settings())


def _check_storage() -> None:
    """End with a sentence, and gunicorn's status for what fails to load, if files cannot be kept where they should."""
    from service.store.storage_check import require_storage

    try:
        require_storage(read_settings())
    except SettingsError as error:
        click.echo(f"trainyard: {error}", err=True)
        sys.exit(4)


@click.command(hidden=True)
def parser() -> None:
    """Parse uploaded files for the socket on standard input; used by the web service."""
    from service.uploads.parser_process import main

    start_log("parser", ready=True)
    main()


@click.command(hidden=True)
def network_reader() -> None:
    """Read files of other programs for the socket on standard input; used by the web service."""
    from service.uploads.network_process import main

    start_log("network-reader", ready=True)
    main()


@click.command(hidden=True)
def table_reader() -> None:
    """Read uploaded tables for the socket on standard input; used by the web service."""
    from service.uploads.table_process import main

    start_log("table-reader", ready=True)
    main()


@click.command(cls=WithExample, example="trainyard healthcheck")
def healthcheck() -> None:
    """Ask whether the service is ready.

    The exit status is 1 if it is not, or if nothing answers at TRAINYARD_BIND.
    """
    import urllib.request

    address = read_settings().bind.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")  # noqa: S104
    try:
        with urllib.request.urlopen(f"http://{address}/health/ready", timeout=3) as response:
            click.echo(response.read().decode())
    except OSError as error:
        raise click.ClickException(f"http://{address}/health/ready: {error}") from None
