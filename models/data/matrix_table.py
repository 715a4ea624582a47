"""A matrix with labels as a table: its columns by the names of its features, then the labels and the weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.data.columns import MISSING_CODE, Column, ColumnSpec
from models.data.dataset import Dataset
from models.data.labels import Label
from models.data.table import MemoryTable
from nncore.arrays import Array

__all__ = ["label_column", "matrix_specs", "special_name", "table_of"]


def special_name(wanted: str, features: Sequence[str]) -> str:
    """A name for labels or weights of a matrix: ``wanted``, with an underscore for each feature of that name."""
    while wanted in features:
        wanted += "_"
    return wanted


def matrix_specs(
    features: Sequence[str], classes: Sequence[Label], *, weighted: bool
) -> tuple[tuple[ColumnSpec, ...], str, str | None]:
    """The columns of a matrix, then one of labels and one of weights if it has some; the names of these two."""
    label = special_name("label", features)
    weight = special_name("weight", features) if weighted else None
    specs = [ColumnSpec(name, "number") for name in features]
    empty = label_column(np.empty(0, np.intp), classes)
    specs.append(ColumnSpec(label, empty.kind, empty.levels))
    if weight is not None:
        specs.append(ColumnSpec(weight, "number"))
    return tuple(specs), label, weight


def label_column(codes: Array, classes: Sequence[Label]) -> Column:
    """A column of labels from the codes of their classes, of which -1 is a missing label."""
    kinds = set(map(type, classes))
    if kinds == {bool}:
        truths = np.array(classes, np.int8)
        return Column("boolean", _taken(truths, codes, MISSING_CODE), ("false", "true"))
    if kinds == {int} and max(map(abs, classes), default=0) < 2**63:  # type: ignore[arg-type]
        return Column("number", _taken(np.array(classes, np.int64), codes, np.nan))
    return Column("category", codes.astype(np.int32), tuple(map(str, classes)))


def _taken(values: Array, codes: Array, missing: float) -> Array:
    """The value of each code, or the missing one, for which whole numbers become floats."""
    if len(codes) and codes.min() < 0:
        values = values.astype(np.float64) if values.dtype.itemsize == 8 else values
        return np.append(values, values.dtype.type(missing))[codes]
    return values[codes]


def table_of(dataset: Dataset) -> MemoryTable:
    """A matrix with its labels as a table that shares its numbers."""
    specs, label, weight = matrix_specs(dataset.features, dataset.labels.classes, weighted=dataset.weights is not None)
    values = {name: Column("number", dataset.inputs[:, place]) for place, name in enumerate(dataset.features)}
    values[label] = label_column(dataset.labels.codes, dataset.labels.classes)
    if weight is not None and dataset.weights is not None:
        values[weight] = Column("number", dataset.weights)
    return MemoryTable(dataset.rows, specs, values, label, weight)
