"""What can be wrong with a request, told so that a client can mend it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

__all__ = [
    "BusyError",
    "ConflictError",
    "InvalidError",
    "MalformedError",
    "MissingError",
    "Problem",
    "TrainyardError",
    "UnreadableError",
    "UnsupportedError",
    "escaped",
]


def escaped(name: object) -> str:
    """A member's name as it stands in a JSON pointer (RFC 6901)."""
    return str(name).replace("~", "~0").replace("/", "~1")


@dataclass(frozen=True)
class Problem:
    """One fault: where it is (a JSON pointer, or a row and column of a CSV file) and what would do."""

    pointer: str
    detail: str
    row: int | None = None
    column: str | None = None


class TrainyardError(Exception):
    """A refusal with a stable code and a sentence; the parent of all errors that a client can cause."""

    def __init__(self, code: str, detail: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(detail)
        self.code, self.detail, self.problems = code, detail, list(problems)


class InvalidError(TrainyardError):
    """Well-formed, but not valid: each fault stands in ``problems``."""

    @classmethod
    def at(cls, pointer: str, detail: str) -> InvalidError:
        """One fault at one place."""
        return cls.of([Problem(pointer, detail)])

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> InvalidError:
        """Several faults; the first is told in the detail."""
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return cls("validation_failed", f"{first.pointer or 'the request'}: {first.detail}{more}", problems)

    def moved(self, old: str, new: str) -> InvalidError:
        """The same faults, with the beginning ``old`` of their pointers replaced by ``new``."""
        return InvalidError.of(
            [replace(p, pointer=new + p.pointer[len(old) :]) if p.pointer.startswith(old) else p for p in self.problems]
        )


class MissingError(TrainyardError):
    """What was named is not there."""


class ConflictError(TrainyardError):
    """The present state forbids it."""


class UnreadableError(TrainyardError):
    """A file that was sent is not one of its kind, or is so damaged that it cannot be read."""


def file_fault(detail: str, row: int | None = None, column: str | None = None) -> InvalidError:
    where = [f"row {row}"] if row is not None else []
    where += [f"column {column!r}"] if column is not None else []
    return InvalidError(
        "validation_failed",
        f"{', '.join(where) or 'the file'}: {detail}",
        [Problem("", detail, row=row, column=column)],
    )


def describe(value: Any) -> str:
    """A short picture of a received value for an error message."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case dict():
            return "an object"
        case list():
            return (
                f"a list of {len(value)}"
                if len(value) > 8 or any(type(x) in (list, dict, str) for x in value)
                else repr(value)
            )
        case str():
            return repr(value if len(value) <= 60 else value[:57] + "…")
    return repr(value)


class BusyError(TrainyardError):
    """Too much at once; the client should come back."""


class MalformedError(TrainyardError):
    """The body is not JSON, or not the JSON that RFC 8259 recommends."""


class UnsupportedError(TrainyardError):
    """The body's content type is not one that the route takes."""
