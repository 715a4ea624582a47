"""Help, wrong names, what is imported for an answer, and the page about the command."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from testing.harness import ROOT
from tests.trainyard.cli.conftest import Shell
from trainyard.cli.command import WithExample
from trainyard.cli.main import ALL, COMMANDS, Entry, cli

PAGE = ROOT / "docs" / "command.md"
#: What takes long to import: numbers, tables, the service.
HEAVY = ("numpy", "pandas", "sqlalchemy", "flask", "service", "models", "nncore", "marshmallow", "trainyard.client")


def _root() -> click.Context:
    return click.Context(cli, info_name="trainyard", terminal_width=100, help_option_names=["-h", "--help"])


def commands() -> Iterator[tuple[str, click.Command, click.Context]]:
    """Every command that is listed, each below its group, with the words that call it."""
    root = _root()
    for name in cli.list_commands(root):
        command = cli.get_command(root, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=root)
        yield f"trainyard {name}", command, context
        if isinstance(command, click.Group):
            for below in command.list_commands(context):
                each = command.get_command(context, below)
                assert each is not None
                yield f"trainyard {name} {below}", each, click.Context(each, info_name=below, parent=context)


EVERY = list(commands())


@pytest.mark.parametrize(("name", "entry"), ALL.items())
def test_the_table_has_each_commands_own_sentence(name: str, entry: Entry) -> None:
    """So that the list of commands imports none of them."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.hidden == (not entry.sentence)
    if entry.sentence:
        assert command.help is not None
        assert command.help.partition("\n")[0] == entry.sentence


@pytest.mark.parametrize(("words", "command", "context"), EVERY, ids=[words for words, _, _ in EVERY])
def test_help_begins_with_an_example(words: str, command: click.Command, context: click.Context) -> None:
    """It calls the command itself."""
    told = command.get_help(context).splitlines()
    assert told[0] == "Example:"
    assert isinstance(command, WithExample)
    assert all("trainyard " in line for line in command.example.splitlines())
    assert words in command.example
    assert any(line.startswith("Usage: trainyard ") for line in told)


def test_a_wrong_command_is_told_the_nearest() -> None:
    for wrong, near in (("trian", "'train'"), ("modle", "'model'"), ("evalute", "'evaluate'")):
        done = CliRunner().invoke(cli, [wrong])
        assert done.exit_code == 2
        assert f"No such command '{wrong}'. Did you mean " in done.output
        assert near in done.output
    assert "Did you mean" not in CliRunner().invoke(cli, ["xyzzy"]).output
    below = CliRunner().invoke(cli, ["model", "lst"])
    assert below.exit_code == 2
    assert "'list'" in below.output


@pytest.mark.processes
@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["job", "list"], ["train", "--help"], ["completion", "bash"]]
)
def test_an_answer_imports_little(shell: Shell, words: list[str]) -> None:
    """The time until the first output is that of the imports: what takes long is not among them."""
    program = f"""import sys
from trainyard.cli.main import cli
try:
    cli({words!r})
finally:
    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = shell.run(sys.executable, "-c", program)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "[]\n"


@pytest.mark.processes
def test_both_names_are_the_same_command(shell: Shell) -> None:
    one = shell.run(sys.executable, "-m", "trainyard", "--help").stdout
    other = shell.run(sys.executable, "-m", "service", "--help").stdout
    assert one.replace("-m trainyard", "-m service") == other
    script = shell.run(sys.executable, "-c", "import trainyard; trainyard.main()", "x")
    assert script.returncode == 2


@pytest.mark.processes
def test_without_the_service_its_commands_say_so(shell: Shell) -> None:
    """The client and its command need click alone."""
    program = "import sys; sys.modules['gunicorn'] = None; from trainyard.cli.main import cli; cli()"
    done = shell.run(sys.executable, "-c", program, "keys", "list")
    assert done.returncode == 2
    assert 'Install Trainyard with its extra "server": trainyard-server[server]' in done.stderr
    assert "Traceback" not in done.stderr
    assert shell.run(sys.executable, "-c", program, "job", "list").returncode == 0
    assert shell.run(sys.executable, "-c", program, "--help").returncode == 0


def page() -> str:
    """docs/command.md as the help is now."""
    parts = [
        "# The command `trainyard`",
        "",
        "`python -m trainyard` and `python -m service` are the same command. This page is made of its help by",
        "`python -m tests.trainyard.cli.test_help`.",
        "",
        "```",
        _root().get_help(),
        "```",
    ]
    sections = {name: section for section, entries in COMMANDS.items() for name in entries}
    section = ""
    for words, command, context in EVERY:
        here = sections[words.split()[1]]
        if here != section:
            section = here
            parts += ["", f"## {section}"]
        parts += ["", f"### {words}", "", "```", command.get_help(context), "```"]
    return "\n".join(line.rstrip() for line in "\n".join(parts).splitlines()) + "\n"


def test_the_page_is_the_help() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.trainyard.cli.test_help"


if __name__ == "__main__":
    Path(PAGE).write_text(page())
