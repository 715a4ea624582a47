"""All commands."""

from __future__ import annotations

import click

from service.cli import processes, settings, upkeep

__all__ = ["cli"]


@click.group()
def cli() -> None:
    """Trainyard: trains neural-network classifiers and serves their predictions."""


for command in (
    settings.settings,
    processes.trainer,
    processes.runner,
    processes.housekeeping,
    processes.reader,
    processes.healthcheck,
    upkeep.migrate,
    upkeep.backup,
    upkeep.verify,
    upkeep.reindex,
):
    cli.add_command(command)
