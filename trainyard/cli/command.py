"""Commands that talk to the service: their common options, their help, and what they exit with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from trainyard.cli import text
from trainyard.cli.session import Choices, Session

if TYPE_CHECKING:
    from trainyard.errors import Refused

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "NO_SERVICE",
    "REFUSED",
    "Command",
    "Failure",
    "Group",
    "WithExample",
    "command",
    "common_options",
]

#: What a command exits with, beside 0 and click's 2 for a wrong use.
FAILED, NO_SERVICE, REFUSED, INTERRUPTED = 1, 3, 4, 130

Function = TypeVar("Function", bound=Callable[..., Any])


class Failure(click.ClickException):
    """A job has failed, or has not reached what was expected."""

    exit_code = FAILED


class _NoServiceFailure(click.ClickException):
    """The service does not answer."""

    exit_code = NO_SERVICE


class _RefusedFailure(click.ClickException):
    """The service has refused a request."""

    exit_code = REFUSED


def _chooses(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def choose(context: click.Context, _parameter: click.Parameter, value: Any) -> None:
        choices = context.ensure_object(Choices)
        if value not in (None, False):
            setattr(choices, name, value)

    return choose


def common_options(*, hidden: bool) -> list[click.Option]:
    """The options that may stand before a command and after it."""
    table: tuple[tuple[tuple[str, ...], str, dict[str, Any], str], ...] = (
        (("--url",), "url", {"metavar": "URL"}, "The service; else TRAINYARD_URL, else http://127.0.0.1:8000."),
        (("--key",), "key", {"metavar": "KEY"}, "A key of the service; else TRAINYARD_KEY."),
        (("-q", "--quiet"), "quiet", {"is_flag": True}, "Print the result, and nothing about how it comes about."),
        (("--json",), "as_json", {"is_flag": True}, "Print the service's document."),
        (("--curl",), "curl", {"is_flag": True}, "Print the requests as curl commands, and send none."),
    )
    return [
        click.Option(names, expose_value=False, callback=_chooses(name), hidden=hidden, help=words, **kind)
        for names, name, kind, words in table
    ]


class WithExample(click.Command):
    """A command whose help begins with an example."""

    def __init__(self, *arguments: Any, example: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.example = example

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The example, then how to use it, then the options."""
        with formatter.section("Example"):
            for line in self.example.splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
        formatter.write("\n")
        super().format_help(ctx, formatter)


class Command(WithExample):
    """A command that sends requests.

    ``places`` are the options that pointers into the request belong to; for ``*`` it is what the pointer goes on with.
    """

    def __init__(self, *arguments: Any, example: str, places: Mapping[str, str] | None = None, **options: Any) -> None:
        super().__init__(*arguments, example=example, **options)
        self.places = places or {}
        self.params += common_options(hidden=True)
        self.epilog = "Also --url, --key, -q, --json and --curl: see trainyard --help."

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; what goes wrong at the service ends with a sentence and an exit status of its own."""
        from trainyard.errors import Refused, Unreachable

        session = Session(ctx.ensure_object(Choices))
        ctx.obj = session
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except Unreachable as error:
            raise _no_service(error.url, error.reason) from None
        except Refused as error:
            if session.output.as_json:
                session.output.document(error.document)
            raise self._refused(error) from None
        finally:
            session.close()

    def _refused(self, error: Refused) -> click.ClickException:
        """Every fault with the option that it is about, then the code and what the service's log knows it by."""
        told = [self._fault(each.pointer, str(each), each.detail) for each in error.errors] or [error.detail]
        if error.total > len(error.errors):
            told.append(f"and {error.total - len(error.errors)} more")
        request = f", request {error.request_id}" if error.request_id else ""
        return _RefusedFailure(text.harmless("\n".join([*told, f"({error.code}{request})"]), lines=True))

    def _fault(self, pointer: str, whole: str, detail: str) -> str:
        option = self.option_of(pointer)
        return f"{option}: {detail}" if option else whole

    def option_of(self, pointer: str) -> str | None:
        """The option or argument that a place in the request was made from, if it is known."""
        for place, option in sorted(self.places.items(), key=lambda entry: -len(entry[0])):
            if pointer == place or pointer.startswith(f"{place}/"):
                rest = pointer[len(place) + 1 :].replace("~1", "/").replace("~0", "~")
                return rest if option == "*" else option
        return None


class Group(WithExample, click.Group):
    """Commands about one noun."""


def command(group: click.Group | None = None, name: str | None = None, **options: Any) -> Callable[[Function], Command]:
    """Make a function a command of ``group``; the command's session is its first argument."""

    def make(function: Function) -> Command:
        made = click.command(name, cls=Command, **options)(click.pass_obj(function))
        if group is not None:
            group.add_command(made)
        return made

    return make


def _no_service(url: str, reason: str) -> click.ClickException:
    from trainyard.addresses import Address

    start = "; start one: trainyard serve" if Address.parse(url).is_this_machine else ""
    told = "" if "connection refused" in reason or "no such file" in reason else f": {reason}"
    return _NoServiceFailure(f"no service at {url}{told}{start}")
