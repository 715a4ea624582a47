"""The command that prints what completes commands in a shell."""

from __future__ import annotations

import click

from trainyard.cli.command import WithExample

__all__ = ["completion"]

#: The variable by which a shell asks for completions.
VARIABLE = "_TRAINYARD_COMPLETE"
EXAMPLE = """\
eval "$(trainyard completion bash)"            # in ~/.bashrc; zsh is alike, in ~/.zshrc
trainyard completion fish > ~/.config/fish/completions/trainyard.fish"""


@click.command(cls=WithExample, example=EXAMPLE)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script that completes commands in a shell.

    It completes options too, and the names of models, datasets and jobs that the service has.
    """
    from click.shell_completion import get_completion_class

    from trainyard.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "trainyard", VARIABLE).source())
