"""Errors of requests, with messages that help a client to correct them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

__all__ = [
    "LISTED",
    "QUOTED",
    "BusyError",
    "ConflictError",
    "Faults",
    "InvalidError",
    "LowStorageError",
    "MalformedError",
    "MissingError",
    "MissingExtraError",
    "NoRoomError",
    "Problem",
    "QuotaError",
    "TooLargeError",
    "TrainyardError",
    "UnavailableError",
    "UnreadableError",
    "UnsupportedError",
    "describe",
    "escaped",
    "file_problem",
    "file_problems",
    "listed",
    "near",
    "nearest",
    "shortened",
    "unknown_field",
]

#: Problems that an error lists; the others are counted.
LISTED = 20
#: Characters of a received text that an error repeats, and of a list of names that it shows.
QUOTED, LISTED_CHARACTERS = 100, 400


def shortened(text: str, most: int = QUOTED) -> str:
    """A received text for an error: whole if it has at most ``most`` characters, else its beginning and "…"."""
    return text if len(text) <= most else text[: most - 1] + "…"


def escaped(name: object) -> str:
    """A member's name, shortened, and escaped for a JSON pointer (RFC 6901)."""
    return shortened(str(name)).replace("~", "~0").replace("/", "~1")


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
    """Base class of all errors that a client can cause: a stable ``code`` and a sentence in ``detail``.

    Of its problems, ``problems`` holds the first ``LISTED``, and ``total`` counts all. ``retry_after`` is the number of
    seconds after which the same request may succeed, if that is a matter of time.
    """

    retry_after: int | None = None

    def __init__(self, code: str, detail: str, problems: Sequence[Problem] = (), total: int = 0) -> None:
        super().__init__(detail)
        self.code, self.detail, self.problems = code, detail, list(problems[:LISTED])
        self.total = max(total, len(problems))


class InvalidError(TrainyardError):
    """The request is well-formed but invalid; ``problems`` lists what is wrong."""

    @classmethod
    def at(cls, pointer: str, detail: str) -> InvalidError:
        """An error with a single problem."""
        return cls.of([Problem(pointer, detail)])

    @classmethod
    def of(cls, problems: Sequence[Problem], total: int = 0, code: str = "validation_failed") -> InvalidError:
        """An error with one or more problems; ``detail`` describes the first.

        ``total`` is their number if it is larger than that of ``problems``.
        """
        first = problems[0]
        detail = f"{first.pointer or 'the request'}: {first.detail}{_more(max(total, len(problems)))}"
        return cls(code, detail, problems, total)

    def with_problems(self, problems: Sequence[Problem]) -> InvalidError:
        """An error with other words or places for the listed problems, of which there are as many as here."""
        return InvalidError.of(problems, self.total, self.code)

    def moved(self, old: str, new: str) -> InvalidError:
        """The same problems, with the prefix ``old`` of their pointers replaced by ``new``."""
        return self.with_problems(
            [replace(p, pointer=new + p.pointer[len(old) :]) if p.pointer.startswith(old) else p for p in self.problems]
        )


def _more(total: int) -> str:
    """How many problems there are beside the first, as the end of a sentence."""
    if total < 2:
        return ""
    return f" (and {total - 1:,} more{f', the first {LISTED} are listed' if total > LISTED else ''})"


class Faults:
    """Problems as they are found: the first ``LISTED``, and the number of all.

    If many may be found, ``full`` saves the work of describing one more, which is then only counted.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.total = 0

    @property
    def full(self) -> bool:
        """Whether further problems are only counted."""
        return len(self.problems) >= LISTED

    def add(self, pointer: str, detail: str, row: int | None = None, column: str | None = None) -> None:
        """Add a problem; ``row`` counts from 0."""
        self.total += 1
        if not self.full:
            self.problems.append(Problem(pointer, detail, None if row is None else row + 1, column))

    def add_all(self, error: InvalidError) -> None:
        """Add the problems of an error."""
        self.problems += error.problems[: LISTED - len(self.problems)]
        self.total += error.total

    def count(self, more: int = 1) -> None:
        """Count problems that need no description."""
        self.total += more

    def check(self) -> None:
        """Raise InvalidError if there are any."""
        if self.problems:
            raise InvalidError.of(self.problems, self.total)


class ForbiddenError(TrainyardError):
    """The caller may not do this."""


class MissingError(TrainyardError):
    """The named resource does not exist."""


class ConflictError(TrainyardError):
    """The request conflicts with the present state."""


class TooLargeError(TrainyardError):
    """A part of the request exceeds a limit of its own, or the request needs more memory than any may use."""


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
    places = (("row", first.row), ("line", first.line), ("column", first.column and describe(first.column)))
    where = ", ".join(f"{what} {value}" for what, value in places if value is not None)
    detail = f"{where or first.pointer or 'the file'}: {first.detail}{_more(count)}"
    return InvalidError("validation_failed", detail, problems, count)


def near(name: str, known: Iterable[str]) -> str:
    """The known name that is most like another one, as the end of a sentence; empty if none is like it."""
    found = nearest(name, known)
    return "" if found is None else f" (did you mean {describe(found)}?)"


def listed(names: Iterable[object], most: int = LISTED) -> str:
    """Names for an error message, each shortened: the first ``most`` or fewer, and how many follow."""
    every = [str(name) for name in names]
    shown: list[str] = []
    for name in every[:most]:
        if shown and sum(map(len, shown)) + len(shortened(name)) > LISTED_CHARACTERS:
            break
        shown.append(shortened(name))
    left = len(every) - len(shown)
    return ", ".join(shown) + (f" and {left:,} more" if left else "")


def describe(value: Any) -> str:
    """A short form of a received value for an error message: at most ``QUOTED`` characters of it."""
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
                else shortened(repr(value))
            )
        case str():
            return repr(value if len(value) <= 60 else value[:57] + "…")
    return shortened(repr(value))


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
    meant = "" if meant_name is None else f"did you mean {describe(meant_name)}? "
    return f"is not a known field; {meant}known are {', '.join(names) or 'none'}"


class BusyError(TrainyardError):
    """The service is overloaded; the client should retry later."""

    retry_after = 1


class LowStorageError(BusyError):
    """The disk space that is left is kept for jobs that run already."""

    retry_after = 60

    def __init__(self, detail: str) -> None:
        super().__init__("storage_low", detail)


class NoRoomError(TrainyardError):
    """What the request wants to store does not fit on the disk, beside what is kept for running jobs."""


class QuotaError(TrainyardError):
    """The client has as much as it may have; it should delete something, or wait until something ends."""

    retry_after = 60


class MalformedError(TrainyardError):
    """The request is malformed, for example its body is not strict JSON."""


class UnsupportedError(TrainyardError):
    """The route does not accept the body's content type."""


class UnavailableError(TrainyardError):
    """The service cannot do this as it is installed."""


class MissingExtraError(UnavailableError):
    """The service was installed without a package that the request needs, one of an extra of its own."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__("extra_missing", f'{purpose}, the service needs: pip install "trainyard-server[{extra}]"')
