"""What a child says of a table's columns, checked before it is believed: every member that is read later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from models.data.columns import KINDS, ColumnSpec
from models.data.profile import TableDetails

__all__ = ["require_details"]


def require_details(details: TableDetails, rows: int) -> None:
    """Raise ValueError or TypeError unless columns, label, weight and profile can be those of so many rows."""
    names = [column.name for column in details.columns]
    texts = [*names, *chain.from_iterable(column.levels for column in details.columns)]
    texts += [column.reason for column in details.columns if column.reason is not None]
    if not all(type(text) is str for text in texts):
        raise ValueError("a name, a level or a reason is no text")
    "".join(texts).encode()  # Halves of characters raise a ValueError.
    if len(set(names)) != len(names):
        raise ValueError("two columns have the same name")
    if {details.label, details.weight} - {None, *names}:
        raise ValueError(f"label {details.label!r} or weight {details.weight!r} is no column")
    if not isinstance(details.format, Mapping):
        raise TypeError("the format is no object")
    if len(details.profile) != len(names):
        raise ValueError("the columns and their profiles differ in number")
    for column, profile in zip(details.columns, details.profile, strict=True):
        _require_column(column)
        if not _is_profile(column, profile, rows):
            raise ValueError(f"column {column.name!r} has another profile")


def _require_column(column: ColumnSpec) -> None:
    different = len(set(column.levels)) == len(column.levels)
    if column.kind not in KINDS or not different or (column.kind == "boolean" and len(column.levels) != 2):
        raise ValueError(f"column {column.name!r} of type {column.kind!r} has {len(column.levels)} levels")


def _is_profile(column: ColumnSpec, profile: Mapping[str, Any], rows: int) -> bool:
    try:
        fits = (
            (profile["name"], profile["type"]) == (column.name, column.kind)
            and _is_count(profile["missing"], rows)
            and _is_count(profile["distinct"], _estimate(rows))
            and profile["use"] is (column.reason is None)
            and (profile["relation"] is None or type(profile["relation"]) in (int, float))
        )
        if column.kind in ("category", "boolean"):
            return fits and _are_counted(profile["levels"], rows, str)
        if column.kind == "text":
            return fits
        return fits and _are_numbers(profile, rows, (str,) if column.kind == "datetime" else (int, float))
    except (KeyError, TypeError):
        return False


def _are_numbers(profile: Mapping[str, Any], rows: int, kinds: Sequence[type]) -> bool:
    """Whether a profile has what numbers and times have; ``kinds`` are the types of their values in JSON."""
    histogram = profile["histogram"]
    shown = [*profile["quantiles"], *(histogram["edges"] if histogram is not None else ())]
    shown += [profile[name] for name in ("min", "max", "mean") if profile[name] is not None]
    return (
        all(type(value) in kinds for value in shown if value is not None)
        and (profile["std"] is None or type(profile["std"]) in (int, float))
        and (histogram is None or all(_is_count(count, _estimate(rows)) for count in histogram["counts"]))
        and _are_counted(profile.get("values", []), rows, *kinds)
    )


def _are_counted(listed: Any, rows: int, *kinds: type) -> bool:
    return isinstance(listed, list) and all(type(e["value"]) in kinds and _is_count(e["count"], rows) for e in listed)


def _estimate(rows: int) -> int:
    """The most that an estimate of a number of rows may be: sketches of many values miss it by a few percent."""
    return 2 * rows + 100


def _is_count(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most
