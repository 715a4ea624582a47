"""All commands, by name: the module of a command is imported when it is called."""

from __future__ import annotations

import importlib
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any, NamedTuple

import click

from trainyard._house import enter, version
from trainyard.cli.command import Group, common_options

__all__ = ["COMMANDS", "Entry", "cli", "main"]

EXAMPLE = """\
trainyard serve &
trainyard train iris.csv --label species
trainyard predict iris petal_length=4.9 petal_width=1.7"""
#: A package that only the service needs.
OF_SERVICE = "gunicorn"
MISSING = """this command is a part of the service, which is not installed here.
Install Trainyard with its extra "server": trainyard-server[server], or the wheel with [server] behind its name."""


class NotInstalledError(click.ClickException):
    """Raised if a command needs packages that are not installed; a command of that name is a wrong use here."""

    exit_code = 2


class Entry(NamedTuple):
    """A command: where it is, and what it does, for the list of commands. Without a sentence it is not listed."""

    place: str
    sentence: str = ""

    @property
    def of_service(self) -> bool:
        """Whether it needs the service's packages."""
        return self.place.startswith("service.")


COMMANDS: dict[str, dict[str, Entry]] = {
    "Train and use models": {
        "train": Entry("trainyard.cli.train:train", "Train a model on a file or a dataset, and serve it."),
        "predict": Entry("trainyard.cli.predict:predict", "Predict the class of one row, or of each row of a file."),
        "evaluate": Entry("trainyard.cli.evaluate:evaluate", "Measure a model on labelled rows."),
        "compare": Entry("trainyard.cli.compare:compare", "Show how versions of models differ."),
        "data": Entry("trainyard.cli.data:data", "List, show, add and delete datasets."),
        "model": Entry("trainyard.cli.model:model", "List, show, promote, export and delete models."),
        "job": Entry("trainyard.cli.job:job", "List, watch, pause, stop and delete jobs."),
        "open": Entry("trainyard.cli.open:open_console", "Open the console, or a model's page, in a browser."),
        "api": Entry("trainyard.cli.api:api", "Send any request to the service, and print its answer."),
        "completion": Entry(
            "trainyard.cli.completion:completion", "Print a script that completes commands in a shell."
        ),
    },
    "Run the service": {
        "serve": Entry("service.cli.serve:serve", "Run the service."),
        "keys": Entry("service.cli.keys:keys", "Make, list and revoke the keys of clients."),
        "settings": Entry("service.cli.settings:settings", "Print the table of settings."),
        "trainer": Entry("service.cli.processes:trainer", "Run a trainer, which runs queued jobs."),
        "healthcheck": Entry("service.cli.processes:healthcheck", "Ask whether the service is ready."),
        "backup": Entry("service.cli.upkeep:backup", "Copy database and files to DIRECTORY."),
        "verify": Entry("service.cli.upkeep:verify", "Compare every file with the database."),
        "reindex": Entry("service.cli.upkeep:reindex", "Fill an empty database from the files."),
        "migrate": Entry("service.cli.upkeep:migrate", "Bring the database to the newest schema."),
    },
    "": {
        "runner": Entry("service.cli.processes:runner"),
        "member": Entry("service.cli.processes:member"),
        "upkeep": Entry("service.cli.processes:upkeep"),
        "parser": Entry("service.cli.processes:parser"),
        "network-reader": Entry("service.cli.processes:network_reader"),
        "table-reader": Entry("service.cli.processes:table_reader"),
    },
}
ALL = {name: entry for section in COMMANDS.values() for name, entry in section.items()}


class _Commands(Group):
    """The commands in the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of those that are listed."""
        return [name for name, entry in ALL.items() if entry.sentence]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; raises ClickException if it is one of the service and that is not installed."""
        entry = ALL.get(cmd_name)
        if entry is None:
            return None
        module, _, name = entry.place.partition(":")
        if entry.of_service:
            enter()
            if find_spec(OF_SERVICE) is None:
                raise NotInstalledError(MISSING)
        found: click.Command = getattr(importlib.import_module(module), name)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of these arguments; a wrong name is told with the nearest ones."""
        name = args[0]
        if name not in ALL and not name.startswith("-") and not ctx.resilient_parsing:
            near = get_close_matches(name, self.list_commands(ctx))
            meant = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            ctx.fail(f"No such command {name!r}.{meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands with their sentences, without importing them."""
        for section, entries in COMMANDS.items():
            if section:
                with formatter.section(section):
                    formatter.write_dl([(name, entry.sentence) for name, entry in entries.items()])


def _print_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"Trainyard {version()}")
        context.exit()


@click.group(
    cls=_Commands,
    example=EXAMPLE,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    params=common_options(hidden=False),
)
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

    Results go to standard output, all else to standard error. In a pipe a table has tabs and no headings.

    The exit status is 0, 1 if a job failed or missed what --expect names, 2 for a wrong use, 3 without a service, 4 if
    the service refused, and 130 after Ctrl-C.

    Commands that run the service read their settings from TRAINYARD_* variables; "settings" lists them.
    """


def main(**options: Any) -> None:
    """Run the command line."""
    cli(**options)
