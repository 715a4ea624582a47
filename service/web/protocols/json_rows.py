"""Rows in JSON: one after the other, or column by column, as TensorFlow Serving and after it MLflow take them.

A value of a table's column may stand in a list of its own, ``[22]``, because a column is a tensor of shape (n_rows, 1)
to some clients, and text may be an object ``{"b64": "…"}`` with the base64 of its UTF-8.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from models.data.rows import Array, NumberRows, number_matrix, row_length
from models.errors import Faults, InvalidError, describe, escaped, listed, unknown_field
from models.features.plan import ServingPlan
from models.serving.served_model import ServedModel
from service.serving.inference import RowOverflowError

__all__ = [
    "INPUT",
    "by_column",
    "by_row",
    "count",
    "in_order",
    "matrix",
    "named_lists",
    "objects",
    "one_by_one",
    "overflow",
]

#: The name of the only input of a model without columns.
INPUT = "inputs"


def count(value: Any) -> int:
    """How many rows a value holds at least, before it is looked at: rows, or the columns of rows."""
    if isinstance(value, NumberRows):
        return value.count
    if isinstance(value, dict):
        return max((count(column) for column in value.values()), default=1)
    return max(1, len(value)) if isinstance(value, list) else 1


def by_row(value: Any, served: ServedModel, pointer: str) -> Array:
    """What the network reads for rows: lists of numbers, objects by column, or numbers if the model has one input.

    Raises InvalidError with the first faults, whose pointers begin with ``pointer``.
    """
    if not isinstance(value, NumberRows):
        _require_rows(value, pointer)
        if type(value[0]) is dict:
            return objects(value, served, pointer)
        if served.inputs == 1 and served.takes_matrix and not any(type(row) is list for row in value):
            return one_by_one(value, served, pointer)
    return matrix(value, served, pointer)


def by_column(value: Any, served: ServedModel, pointer: str) -> Array:
    """What the network reads for an object of columns, each a list with a value a row, or for rows as in ``by_row``.

    A model without columns has the only input ``inputs``. Raises InvalidError as ``by_row``.
    """
    if not isinstance(value, dict):
        return by_row(value, served, pointer)
    plan = served.plan
    if served.takes_matrix and value.keys() == {INPUT} and (plan is None or INPUT not in plan.columns):
        return by_row(value[INPUT], served, f"{pointer}/{INPUT}")
    if plan is None:
        raise _only_input(value, pointer)
    names, faults = list(value), Faults()
    if not names:
        raise InvalidError.at(pointer, f"must have a list of values for each column: {listed(plan.columns)}")
    for name in names:
        if not isinstance(value[name], list) or not value[name]:
            detail = f"must be a list with a value for each row. Received: {_some(value[name])}"
            faults.add(f"{pointer}/{escaped(name)}", detail)
    faults.check()
    length = len(value[names[0]])
    for name in names[1:]:
        if len(value[name]) != length:
            detail = f"must have {length} values, as many as {pointer}/{escaped(names[0])}"
            faults.add(f"{pointer}/{escaped(name)}", f"{detail}. Received: {len(value[name])}")
    faults.check()
    columns = [_plain_values(value[name], f"{pointer}/{escaped(name)}") for name in names]
    rows = [list(row) for row in zip(*columns, strict=True)]

    def place(row: int | None, column: int | None) -> str:
        name = "" if column is None else f"/{escaped(names[column])}"
        return f"{pointer}{name}" if row is None else f"{pointer}{name}/{row}"

    return named_lists(names, rows, plan, place)


def overflow(error: RowOverflowError, value: Any, pointer: str) -> InvalidError:
    """The error of a row that overflows, at its place in a request; a row of an object of columns has none."""
    if isinstance(value, dict) and INPUT not in value and "data" not in value:
        return InvalidError.at(pointer, f"row {error.row} {error.reason}")
    below = f"/{INPUT}" if isinstance(value, dict) and INPUT in value else ""
    return error.moved("", f"{pointer}{below}")


def one_by_one(value: Sequence[Any], served: ServedModel, pointer: str) -> Array:
    """What the network reads for rows that are one number each, of a model with one input."""
    try:
        return matrix([[number] for number in value], served, pointer)
    except InvalidError as error:
        places = [problem.pointer.removesuffix("/0") for problem in error.problems]
        problems = [replace(each, pointer=place) for each, place in zip(error.problems, places, strict=True)]
        raise error.with_problems(problems) from None


def objects(rows: list[Any], served: ServedModel, pointer: str) -> Array:
    """What the network reads for objects by column, or for objects with the only input of a model without columns."""
    if served.plan is not None:
        plain = _plain_objects(rows, pointer)
        return served.plan.records(plain, pointer)
    faults = Faults()
    for place, row in enumerate(rows):
        if type(row) is not dict or row.keys() != {INPUT}:
            if faults.full:
                faults.count()
            else:
                received = f"members {listed(row)}" if type(row) is dict else describe(row)
                detail = f'must be an object {{"{INPUT}": […]}}, as the model has no columns. Received: {received}'
                faults.add(f"{pointer}/{place}", detail)
    faults.check()
    try:
        return matrix([row[INPUT] for row in rows], served, pointer)
    except InvalidError as error:
        problems = []
        for each in error.problems:
            row, slash, rest = each.pointer.removeprefix(f"{pointer}/").partition("/")
            problems.append(replace(each, pointer=f"{pointer}/{row}/{INPUT}{slash}{rest}"))
        raise error.with_problems(problems) from None


def named_lists(
    names: list[Any], rows: Any, plan: ServingPlan, place: Callable[[int | None, int | None], str]
) -> Array:
    """What the network reads for lists of values and the names of their columns.

    ``place`` returns the pointer to a row, a column (as its place among the names), or a value.
    """
    try:
        return plan.lists(names, rows)
    except InvalidError as error:
        problems = []
        for each in error.problems:
            what, *numbers = each.pointer.split("/")[1:]
            # "/columns/2", "/rows/5" or "/rows/5/2", or the list itself.
            found = [int(number) for number in numbers]
            if what == "columns":
                row, column = None, found[0] if found else None
            else:
                row, column = (*found, None, None)[:2]
            problems.append(replace(each, pointer=place(row, column)))
        raise error.with_problems(problems) from None


def in_order(plan: ServingPlan, width: int | None) -> list[str] | None:
    """The names of the columns of rows that have none, by how many there are; None if that fits no row of the model.

    A row has the columns that the model reads, or those too that it sets aside.
    """
    every = [feature.column for feature in plan.fitted.features]
    return next((names for names in (plan.columns, every) if len(names) == width), None)


def matrix(rows: Any, served: ServedModel, pointer: str) -> Array:
    """What the network reads for rows of numbers, one number for each input or column in their order."""
    if not served.takes_matrix:
        assert served.plan is not None
        detail = f"must be objects by column, because not all columns are numbers: {listed(served.plan.columns)}"
        raise InvalidError.at(pointer, f"{detail}. Received: {describe(rows)}")
    if isinstance(rows, list) and rows and type(rows[0]) in (int, float):
        detail = f"must be a list of rows, [[…], …], each of {served.inputs} numbers; one row is [[…]]"
        raise InvalidError.at(pointer, f"{detail}. Received: {describe(rows)}")
    plan = None if served.plan is None or served.plan.plain else served.plan
    length = row_length(rows)
    whole = plan is not None and plan.is_whole(length)
    dtype = served.dtype if plan is None else np.float64
    numbers = number_matrix(rows, pointer, dtype, length if whole else served.inputs)
    if plan is None:
        return numbers
    return plan.matrix(numbers[:, plan.places] if whole else numbers)


def _require_rows(value: Any, pointer: str) -> None:
    if not isinstance(value, list) or not value:
        raise InvalidError.at(pointer, f"must be a list of at least one row. Received: {_some(value)}")


def _only_input(value: dict[str, Any], pointer: str) -> InvalidError:
    """The error for columns of a model that has none."""
    unknown = [name for name in value if name != INPUT]
    if not unknown:
        return InvalidError.at(pointer, f'must be an object with the member "{INPUT}". Received: an empty object')
    faults = Faults()
    for name in unknown:
        faults.add(f"{pointer}/{escaped(name)}", unknown_field(name, {INPUT}))
    return InvalidError.of(faults.problems, faults.total)


def _some(value: Any) -> str:
    return "an empty list" if value == [] else describe(value)


def _plain_objects(rows: list[Any], pointer: str) -> list[Any]:
    """The rows with plain values; the same list if there are no others."""
    if not any(type(row) is dict and _is_nested(row.values()) for row in rows):
        return rows
    return [
        {name: _plain(value, f"{pointer}/{place}/{escaped(name)}") for name, value in row.items()}
        if type(row) is dict
        else row
        for place, row in enumerate(rows)
    ]


def _plain_values(values: list[Any], pointer: str) -> list[Any]:
    """The values of a column as plain ones; the same list if there are no others."""
    if not _is_nested(values):
        return values
    return [_plain(value, f"{pointer}/{place}") for place, value in enumerate(values)]


def _is_nested(values: Iterable[Any]) -> bool:
    return not {list, dict}.isdisjoint(map(type, values))


def _plain(value: Any, pointer: str) -> Any:
    """A value without the list around it, and text in place of its base64."""
    if type(value) is list:
        if len(value) != 1:
            raise InvalidError.at(pointer, f"must be one value, or a list of one. Received: {_some(value)}")
        return _plain(value[0], f"{pointer}/0") if type(value[0]) is dict else value[0]
    if type(value) is not dict:
        return value
    if value.keys() != {"b64"} or type(value["b64"]) is not str:
        raise InvalidError.at(pointer, f'must be a value, or {{"b64": "…"}} for text. Received: {describe(value)}')
    try:
        return base64.b64decode(value["b64"], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        received = describe(value["b64"])
        raise InvalidError.at(f"{pointer}/b64", f"must be the base64 of text in UTF-8. Received: {received}") from None
