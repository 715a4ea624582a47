"""Kinds of values that options take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from trainyard.cli.expectation import Expectation
from trainyard.cli.training_request import read_value

__all__ = ["ASSIGNMENT", "CONDITION", "NAMES", "NAME_OF_DATASET", "NAME_OF_JOB", "NAME_OF_MODEL", "NUMBERS", "WEIGHTED"]


class _Names(click.ParamType[tuple[str, ...]]):
    """Names, separated by commas; a name with a comma in it is given by an option of its own."""

    name = "names"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> tuple[str, ...]:
        names = value if isinstance(value, tuple) else tuple(name.strip() for name in value.split(","))
        if not all(names):
            self.fail(f"must be names, separated by commas. Received: {value!r}", parameter, context)
        return names


class _Numbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers, separated by commas."""

    name = "numbers"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(number) for number in value.split(","))
        except ValueError:
            self.fail(
                f"must be whole numbers, separated by commas, as in 64,64. Received: {value!r}", parameter, context
            )


class _Weighted(click.ParamType[tuple[int, float]]):
    """The number of a version, and its weight: ``3=0.9``; without one it is 1."""

    name = "version"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> tuple[int, float]:
        if isinstance(value, tuple):
            return value
        number, mark, weight = value.partition("=")
        try:
            return int(number), float(weight) if mark else 1.0
        except ValueError:
            self.fail(f"must be a version and its weight, as in 3=0.9. Received: {value!r}", parameter, context)


class _Assignment(click.ParamType[tuple[tuple[str, ...], Any]]):
    """A path and a value as JSON: ``optimizer.type=adamw``."""

    name = "path=JSON"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> tuple[tuple[str, ...], Any]:
        path, mark, written = value.partition("=")
        names = tuple(path.split("."))
        if not mark or not all(names):
            self.fail(
                f"must be a path and a value, as in optimizer.type=adamw. Received: {value!r}", parameter, context
            )
        return names, read_value(written)


class _Condition(click.ParamType[Expectation]):
    """A metric, a comparison and a number."""

    name = "condition"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Expectation:
        try:
            return Expectation.parse(value)
        except ValueError as error:
            self.fail(str(error), parameter, context)


class _Known(click.ParamType[str]):
    """The name of something at the service, which completes it in a shell."""

    def __init__(self, path: str, member: str, kind: str) -> None:
        self.path, self.member, self.name = path, member, kind

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> str:
        return str(value)

    def shell_complete(
        self, context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(name) for name in self._names(context, incomplete) if name.startswith(incomplete)]

    def _names(self, context: click.Context, incomplete: str) -> Sequence[str]:
        """The newest hundred that fit; none if the service does not answer at once."""
        from trainyard.cli.session import Choices, Session
        from trainyard.errors import TrainyardError

        session = Session(context.find_object(Choices) or Choices())
        prefix = (incomplete or None) if self.member == "name" else None
        query = {"limit": 100, "fields": self.member, "prefix": prefix}
        request = session.request("GET", self.path, query=query)
        try:
            page = session.transport.send(request, timeout=1.0, retries=0).json()
        except TrainyardError:
            return []
        return [entry[self.member] for entry in page["data"]]


NAMES, NUMBERS, ASSIGNMENT, CONDITION = _Names(), _Numbers(), _Assignment(), _Condition()
WEIGHTED = _Weighted()
NAME_OF_MODEL = _Known("/models", "name", "model")
NAME_OF_DATASET = _Known("/datasets", "name", "dataset")
NAME_OF_JOB = _Known("/jobs", "id", "job")
