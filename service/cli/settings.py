"""The settings of a command, and the command that prints them."""

from __future__ import annotations

import click

from service.settings import Settings, SettingsError, table
from trainyard.cli.command import WithExample

__all__ = ["read_settings", "settings"]


class UnusableDirectoryError(click.ClickException):
    """Raised if the data directory cannot be used. The exit status is that of a process that fails later for it."""

    exit_code = 4


def read_settings() -> Settings:
    """The settings from the environment, with the data directory made; raises ClickException."""
    try:
        settings = Settings.read()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    try:
        settings.prepare()
    except SettingsError as error:
        raise UnusableDirectoryError(str(error)) from None
    return settings


@click.command(cls=WithExample, example="trainyard settings")
def settings() -> None:
    """Print the table of settings."""
    click.echo(table())
