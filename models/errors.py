"""Errors of requests, with messages that help a client to correct them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

__all__ = [
    "BusyError",
    "ConflictError",
    "InvalidError",
    "MalformedError",
    "MissingError",
    "Problem",
    "TooLargeError",
    "TrainyardError",
    "UnreadableError",
    "UnsupportedError",
    "describe",
    "escaped",
    "file_problem",
    "near",
    "nearest",
    "unknown_field",
]


def escaped(name: object) -> str:
    """A member's name, escaped for a JSON pointer (RFC 6901)."""
    return str(name).replace("~", "~0").replace("/", "~1")


@dataclass(frozen=True)
class Problem:
    """One problem: its place (a JSON pointer, or a row, line and column of a file) and what a valid value is.

    Rows of data count from 1, the header is row 0. The line is that of the file, in which a row may take several.
    """

    pointer: str
    detail: str
    row: int | None = None
    column: str | None = None
    line: int | None = None


class TrainyardError(Exception):
    """Base class of all errors that a client can cause: a stable ``code`` and a sentence in ``detail``."""

    def __init__(self, code: str, detail: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(detail)
        self.code, self.detail, self.problems = code, detail, list(problems)


class InvalidError(TrainyardError):
    """The request is well-formed but invalid; ``problems`` lists what is wrong."""

    @classmethod
    def at(cls, pointer: str, detail: str) -> InvalidError:
        """An error with a single problem."""
        return cls.of([Problem(pointer, detail)])

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> InvalidError:
        """An error with one or more problems; ``detail`` describes the first."""
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return cls("validation_failed", f"{first.pointer or 'the request'}: {first.detail}{more}", problems)

    def moved(self, old: str, new: str) -> InvalidError:
        """The same problems, with the prefix ``old`` of their pointers replaced by ``new``."""
        return InvalidError.of(
            [replace(p, pointer=new + p.pointer[len(old) :]) if p.pointer.startswith(old) else p for p in self.problems]
        )


class MissingError(TrainyardError):
    """The named resource does not exist."""


class ConflictError(TrainyardError):
    """The request conflicts with the present state."""


class UnreadableError(TrainyardError):
    """An uploaded file has the wrong format or is damaged."""


def file_problem(
    detail: str, row: int | None = None, column: str | None = None, line: int | None = None
) -> InvalidError:
    """An error with a single problem, which lies in an uploaded file."""
    return file_problems([Problem("", detail, row=row, column=column, line=line)])


def file_problems(problems: Sequence[Problem], total: int | None = None) -> InvalidError:
    """An error with problems of an uploaded file; ``total`` counts those too that are not listed."""
    first, count = problems[0], len(problems) if total is None else total
    places = (("row", first.row), ("line", first.line), ("column", first.column and repr(first.column)))
    where = ", ".join(f"{what} {value}" for what, value in places if value is not None)
    more = f" (and {count - 1} more{', the first 20 are listed' * (count > len(problems))})" if count > 1 else ""
    return InvalidError(
        "validation_failed", f"{where or first.pointer or 'the file'}: {first.detail}{more}", list(problems)
    )


def near(name: str, known: Iterable[str]) -> str:
    """The known name that is most like another one, as the end of a sentence; empty if none is like it."""
    found = nearest(name, known)
    return "" if found is None else f" (did you mean {found!r}?)"


def describe(value: Any) -> str:
    """A short form of a received value for an error message."""
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


def nearest(name: object, known: Iterable[str]) -> str | None:
    """The name that ``name`` is probably a misspelling of; None if it resembles none."""
    by_form = {_plain(each): each for each in known}
    found = get_close_matches(_plain(str(name)[:100]), by_form, 1, 0.6)
    return by_form[found[0]] if found else None


def _plain(name: str) -> str:
    """A name as misspellings are compared: ``batchSize`` and ``batch-size`` are ``batchsize``."""
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")


def unknown_field(name: object, known: Iterable[str]) -> str:
    """What is wrong with a member or parameter that nothing reads, with the nearest known name."""
    names = sorted(known)
    meant_name = nearest(name, names)
    meant = "" if meant_name is None else f"did you mean {meant_name!r}? "
    return f"is not a known field; {meant}known are {', '.join(names) or 'none'}"


class BusyError(TrainyardError):
    """The service is overloaded; the client should retry later."""


class MalformedError(TrainyardError):
    """The request is malformed, for example its body is not strict JSON."""


class UnsupportedError(TrainyardError):
    """The route does not accept the body's content type."""


class TooLargeError(TrainyardError):
    """The request needs more memory than any request may use."""
