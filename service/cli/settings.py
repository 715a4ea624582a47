"""The settings of a command, and the command that prints them."""

from __future__ import annotations

import click

from service.settings import Settings, SettingsError, table

__all__ = ["read_settings", "settings"]


def read_settings() -> Settings:
    """The settings from the environment, with the data directory made; raises ClickException."""
    try:
        settings = Settings.read()
        settings.prepare()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    return settings


@click.command()
def settings() -> None:
    """Print the table of settings."""
    click.echo(table())
