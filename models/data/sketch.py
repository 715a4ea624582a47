"""A sketch of a table: a few rows with the same columns, levels, extremes and gaps, made from its details alone.

A check of a request reads the sketch in place of the table: features fitted on it have the widths that they would get
from all rows, or a few more numbers, and what they refuse in it they refuse in the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from models.data.columns import MISSING_CODE, MISSING_TIME, Column, ColumnSpec
from models.data.profile import TableDetails
from models.data.table import MemoryTable
from nncore.arrays import Array

__all__ = ["sketch_of"]

#: Values from one extreme to the other that stand for all others.
VALUES = 64


def sketch_of(details: TableDetails) -> MemoryTable:
    """A sketch of the table with these details."""
    columns = {
        spec.name: _column(spec, profile) for spec, profile in zip(details.columns, details.profile, strict=True)
    }
    rows = max(len(column.values) for column in columns.values())
    values = {name: column._replace(values=np.resize(column.values, rows)) for name, column in columns.items()}
    return MemoryTable(rows, details.columns, values, details.label, details.weight)


def _column(spec: ColumnSpec, profile: Mapping[str, Any]) -> Column:
    """Values of a column: each level or quantile once, and a gap if there are gaps."""
    gap = bool(profile["missing"])
    match spec.kind:
        case "number":
            values = [each["value"] for each in profile.get("values", [])] or _spread(profile["quantiles"])
            return Column(spec.kind, np.array([*values, *([np.nan] if gap else [])] or [np.nan], np.float64))
        case "datetime":
            times = np.array(profile["quantiles"], "datetime64[us]").astype(np.int64)
            return Column(spec.kind, np.append(times, MISSING_TIME) if gap or not len(times) else times)
        case "text":
            texts: Array = np.array(["text", *([""] if gap else [])], object)
            return Column(spec.kind, texts)
    codes = np.arange(len(spec.levels), dtype=np.int32)
    return Column(spec.kind, np.append(codes, MISSING_CODE) if gap or not len(codes) else codes, spec.levels)


def _spread(quantiles: list[float]) -> list[float]:
    """The quantiles and some values between them, so that as many intervals can be made as of the column itself."""
    if not quantiles:
        return []
    # Halves, because the difference of two numbers may be infinite.
    between = np.linspace(quantiles[0] / 2, quantiles[-1] / 2, VALUES) * 2
    return [*quantiles, *between[1:-1].tolist()]
