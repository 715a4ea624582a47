"""Rows as requests of other protocols have them, for the logs of shadows: lists of values, or objects by column.

The requests were read before, so that their forms are valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from models.data.rows import NumberRows
from service.web.protocols.tensor_request import InferRequest, InputTensor
from service.web.protocols.tensors import from_json, from_raw

__all__ = ["named_rows", "rows_of_json", "rows_of_tensors"]


def named_rows(names: Sequence[Any] | None, rows: Any) -> Sequence[Any]:
    """Rows of values, as objects if their columns have names."""
    values = rows.numbers.tolist() if isinstance(rows, NumberRows) else rows
    if not names or not isinstance(names[0], str):
        return values if isinstance(values[0], (list, dict)) else [[value] for value in values]
    return [dict(zip(names, row, strict=True)) for row in values]


def rows_of_json(value: Any) -> Sequence[Any]:
    """Rows one after the other, as ``columns`` and ``data``, or column by column."""
    if not isinstance(value, dict):
        return named_rows(None, value)
    if "data" in value:
        return named_rows(value.get("columns"), value["data"])
    if len(value) == 1:
        (column,) = value.values()
        if isinstance(column, NumberRows) or (isinstance(column[0], list) and len(column[0]) > 1):
            return named_rows(None, column)
    columns = [map(_only, named_rows(None, column)) for column in value.values()]
    return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]


def _only(row: Any) -> Any:
    """The value of a row that is a list of it."""
    return row[0] if isinstance(row, list) and len(row) == 1 else row


def rows_of_tensors(given: InferRequest) -> Sequence[Any] | None:
    """The rows of tensors; None if the body is one, whose shape it does not say."""
    if given.raw is not None:
        return None
    if len(given.inputs) == 1 and len(given.inputs[0].shape) == 2 and given.inputs[0].shape[1] > 1:
        (tensor,) = given.inputs
        values, width = _elements(tensor), tensor.shape[1]
        return [values[start : start + width] for start in range(0, len(values), width)]
    names = [tensor.name for tensor in given.inputs]
    return [dict(zip(names, row, strict=True)) for row in zip(*map(_elements, given.inputs), strict=True)]


def _elements(tensor: InputTensor) -> list[Any]:
    if tensor.raw is None:
        return from_json(tensor.datatype, tensor.data, tensor.shape, "", gaps=True)
    found: list[Any] = from_raw(tensor.datatype, tensor.raw, prod(tensor.shape), "").tolist()
    return found
