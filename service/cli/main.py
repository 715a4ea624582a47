"""All commands."""

from __future__ import annotations

import click

from service.cli import keys, processes, serve, settings, upkeep

__all__ = ["cli"]


def _print_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from models.version import VERSION

        click.echo(f"Trainyard {VERSION}")
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Train neural-network classifiers and serve their predictions over REST.

    All commands read their settings from TRAINYARD_* variables in the environment; the command "settings" lists them.
    """


for command in (
    serve.serve,
    settings.settings,
    keys.keys,
    processes.trainer,
    processes.runner,
    processes.member,
    processes.upkeep,
    processes.parser,
    processes.table_reader,
    processes.healthcheck,
    upkeep.migrate,
    upkeep.backup,
    upkeep.verify,
    upkeep.reindex,
):
    cli.add_command(command)
