"""How to read a file: what the client says, or nothing, which means that the file decides."""

from __future__ import annotations

import codecs
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.data.columns import KINDS, ColumnKind
from models.errors import Faults, InvalidError, Problem, describe, escaped, listed

__all__ = ["OPTION_NAMES", "ReadOptions", "unknown_column"]

#: Delimiters by the names that are easier to write in a URL.
_DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
#: Columns that an option names at most: as many as a model may have features.
MOST_NAMES = 100_000
#: Characters of a name that are compared with those of others.
MATCHED = 100
_SWITCH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True)
class ReadOptions:
    """What a client says about a file. None, or nothing in a collection, means that the file decides.

    ``types`` gives columns a kind; ``missing`` adds words that mean a missing value; ``dates`` is a strptime format.
    ``alone`` means that a single column will do, as it does for prediction.
    """

    label: str | None = None
    weight: str | None = None
    ignore: tuple[str, ...] = ()
    types: Mapping[str, ColumnKind] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    delimiter: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    header: bool | None = None
    dates: str | None = None
    alone: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> ReadOptions:
        """The options in a query, a form or a JSON body. Raises InvalidError with all faults together."""
        found: dict[str, Any] = {}
        problems: list[Problem] = []
        for name, value in given.items():
            if value is None:
                continue
            try:
                found[name] = _READERS[name](value)
            except KeyError:
                near = difflib.get_close_matches(name[:MATCHED], OPTION_NAMES, 1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; the options are {', '.join(OPTION_NAMES)}"
                problems.append(Problem(f"/{escaped(name)}", f"is not an option{hint}"))
            except ValueError as error:
                problems.append(Problem(f"/{escaped(name)}", f"{error}. Received: {describe(value)}"))
        if not problems:
            problems = cls(**found)._clashes()
        if problems:
            raise InvalidError.of(problems)
        return cls(**found)

    def _clashes(self) -> list[Problem]:
        """Options that contradict each other."""
        problems = []
        if self.label is not None and self.label == self.weight:
            problems.append(
                Problem("/weight", f"must name another column than label. Received: {describe(self.label)}")
            )
        for name, column in (("label", self.label), ("weight", self.weight)):
            if column is not None and column in self.ignore:
                problems.append(Problem("/ignore", f"must not hold the {name}. Received: {describe(column)}"))
        if self.decimal is not None and self.decimal == self.thousands:
            problems.append(Problem("/thousands", f"must differ from decimal. Received: {describe(self.decimal)}"))
        if self.weight is not None and self.types.get(self.weight, "number") != "number":
            problems.append(Problem(f"/types/{escaped(self.weight)}", "must be number, because it is the weight"))
        return problems

    def document(self) -> dict[str, Any]:
        """The options as JSON, which ``of`` reads."""
        return {
            "label": self.label,
            "weight": self.weight,
            "ignore": list(self.ignore),
            "types": dict(self.types),
            "missing": list(self.missing),
            "delimiter": self.delimiter,
            "decimal": self.decimal,
            "thousands": self.thousands,
            "encoding": self.encoding,
            "header": self.header,
            "dates": self.dates,
            "alone": self.alone,
        }

    def faults_of_names(self, names: Sequence[str], hint: str = "") -> Faults:
        """What is wrong with the columns that are named here, if the file has columns ``names``.

        ``hint`` is what may be the reason, as the end of a sentence.
        """
        wanted = [(f"/{what}", name) for what, name in (("label", self.label), ("weight", self.weight)) if name]
        wanted += [(f"/ignore/{place}", name) for place, name in enumerate(self.ignore)]
        wanted += [(f"/types/{escaped(name)}", name) for name in self.types]
        faults, known = Faults(), set(names)
        for pointer, name in wanted:
            if name not in known:
                if faults.full:
                    faults.count()
                else:
                    faults.add(pointer, unknown_column(name, names) + hint)
        return faults


def unknown_column(name: str, names: Sequence[str]) -> str:
    """The sentence about a column that does not exist: the nearest name, or all of them."""
    lower = {each.lower(): each for each in reversed(names)}
    near = difflib.get_close_matches(name[:MATCHED].lower(), list(lower), 1, 0.6)
    if near:
        return f"must name a column; did you mean {describe(lower[near[0]])}? Received: {describe(name)}"
    return f"must name a column: {listed(names)}. Received: {describe(name)}"


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be the name of a column")
    return value.strip()


def _list(value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if isinstance(parts, list) and len(parts) > MOST_NAMES:
        raise ValueError(f"must hold at most {MOST_NAMES} items")
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError("must be a list, as in a,b")
    return tuple(part.strip() for part in parts if part.strip())


def _types(value: Any) -> dict[str, ColumnKind]:
    if isinstance(value, str):
        pairs = [part.rpartition(":")[::2] for part in value.split(",") if part.strip()]
    elif isinstance(value, dict):
        pairs = list(value.items())
    else:
        raise ValueError("must be like zip:category,age:number")  # noqa: TRY004 - reported like other bad values
    if len(pairs) > MOST_NAMES:
        raise ValueError(f"must name at most {MOST_NAMES} columns")
    found: dict[str, ColumnKind] = {}
    for name, kind in pairs:
        known = next((each for each in KINDS if each == str(kind).strip().lower()), None)
        if known is None or not name.strip():
            raise ValueError(f"must be like zip:category,age:number, with types {', '.join(KINDS)}")
        found[name.strip()] = known
    return found


def _delimiter(value: Any) -> str:
    found = _DELIMITERS.get(value, value) if isinstance(value, str) else ""
    if len(found) != 1 or found in '"\r\n\0' or found.isalnum():
        raise ValueError("must be one sign, or tab, comma, semicolon, pipe or space")
    return found


def _decimal(value: Any) -> str:
    if value not in (".", ","):
        raise ValueError("must be . or ,")
    return str(value)


def _thousands(value: Any) -> str:
    if value not in (".", ",", "'", " ", "space", "none", ""):
        raise ValueError("must be one of . , ' space none")
    return {"space": " ", "none": ""}.get(value, str(value))


def _encoding(value: Any) -> str:
    try:
        found = codecs.lookup(value)
        text = isinstance(b"a".decode(found.name), str)
    except (LookupError, TypeError, ValueError, UnicodeError):
        text = False
    if not text:
        raise ValueError("must be the name of a text encoding, as in utf-8, cp1252 or utf-16")
    return found.name


def _switch(value: Any) -> bool:
    known = value if isinstance(value, bool) else _SWITCH.get(str(value).lower())
    if known is None:
        raise ValueError("must be true or false")
    return known


def _dates(value: Any) -> str:
    if not isinstance(value, str) or "%" not in value or "\0" in value or len(value) > 100:
        raise ValueError("must be a strptime format, as in %d.%m.%Y")
    return value


_READERS = {
    "label": _text,
    "weight": _text,
    "ignore": _list,
    "types": _types,
    "missing": _list,
    "delimiter": _delimiter,
    "decimal": _decimal,
    "thousands": _thousands,
    "encoding": _encoding,
    "header": _switch,
    "dates": _dates,
    "alone": _switch,
}
#: What a client may say.
OPTION_NAMES = tuple(name for name in _READERS if name != "alone")
