"""Warnings: what in the data of a run is probably not intended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from models.data.labels import Label
from models.data.profile import TableWarning
from models.definition.definition import ModelDefinition
from models.definition.given_table import Outline
from models.errors import describe, listed
from models.features.number import Number
from models.training.prepared import PreparedData
from nncore.arrays import Array

__all__ = ["matrix_warnings", "shared_rows", "table_warnings"]

#: Larger numbers are seldom intended, and make training start badly.
LARGE = 1e4
#: Columns outside of these limits slow training down: mean in standard deviations, and standard deviation.
OFF_CENTER, NARROW, WIDE = 3.0, 0.1, 10.0
#: Numbers that are looked at together.
PIECE = 1_000_000
#: Maximum number of columns, classes or values that a warning names.
NAMED = 5


def matrix_warnings(definition: ModelDefinition, prepared: PreparedData) -> Iterator[TableWarning]:
    """What is conspicuous in rows of numbers that are used as they are."""
    inputs, features = prepared.inputs, prepared.features
    found = _look_through(inputs)
    constant = [features[column] for column in np.flatnonzero(found.constant)]
    if constant:
        detail = f"the same in every row, so nothing can be learned from them: {_some(constant)}"
        yield TableWarning("constant_columns", detail)
    yield from _rare(definition.classes, np.bincount(prepared.codes, minlength=len(definition.classes)))
    if found.large:
        row, column = found.first_large
        place = f"row {row}, {features[column]}: {inputs[row, column]:g}"
        detail = f"{found.large} values lie beyond ±{LARGE:g}, the first in {place}; scale the inputs"
        yield TableWarning("large_values", detail)
    remedy = 'leave out "inputs" and name the columns ("features")'
    yield from _unscaled(list(features), found.mean, found.deviation, remedy)
    validation = prepared.validation_part()
    shared = 0 if validation is None else shared_rows(_chosen(inputs, prepared.rows), np.asarray(validation.inputs))
    if shared:
        yield TableWarning("duplicates_across_split", f"{shared} validation rows stand among the training rows too")


class _Seen(NamedTuple):
    """What rows of numbers show: columns that are constant, numbers beyond ``LARGE``, mean and standard deviation."""

    constant: Array
    large: int
    first_large: tuple[int, int]
    mean: Array
    deviation: Array


def _look_through(inputs: Array) -> _Seen:
    """Look through the rows in pieces: they may be a mapped file that is larger than memory should hold."""
    rows, columns = inputs.shape
    step = max(1, PIECE // columns)
    constant, large, first = np.ones(columns, bool), 0, (0, 0)
    total, squares = np.zeros(columns), np.zeros(columns)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, rows, step):
            piece = inputs[start : start + step]
            constant &= (piece == inputs[0]).all(axis=0)
            beyond = np.argwhere(np.abs(piece) > LARGE)
            if len(beyond) and not large:
                first = start + int(beyond[0, 0]), int(beyond[0, 1])
            large += len(beyond)
            total += piece.sum(axis=0, dtype=np.float64)
        mean = total / rows
        for start in range(0, rows, step):
            squares += np.square(inputs[start : start + step] - mean).sum(axis=0)
        return _Seen(constant, large, first, mean, np.where(constant, 0.0, np.sqrt(squares / rows)))


def _chosen(inputs: Array, rows: Array) -> Iterator[Array]:
    """Some of the rows, one after the other."""
    return (inputs[row] for row in rows.tolist())


def table_warnings(definition: ModelDefinition, data: Outline) -> Iterator[TableWarning]:
    """What is conspicuous in a table, from its outline."""
    assert isinstance(definition.features, tuple)
    if data.missing:
        detail = f"{data.missing} rows have no label in {describe(data.label)} and are left out"
        yield TableWarning("rows_without_label", detail, data.label)
    for warning in data.details.warnings:
        if warning.code != "rows_without_label" or not data.missing:
            yield warning
    yield from _rare(data.classes, data.counts)
    raw = {each.column for each in definition.features if isinstance(each, Number) and each.scale == "none"}
    found = [each for each in data.details.profile if each["name"] in raw and each["mean"] is not None]
    mean, deviation = (np.array([each[name] for each in found]) for name in ("mean", "std"))
    yield from _unscaled([each["name"] for each in found], mean, deviation, '"scale": "standardize"')


def _rare(classes: Sequence[Label], counts: Array) -> Iterator[TableWarning]:
    rare = [describe(classes[code]) for code in np.flatnonzero(counts < 2).tolist()]
    if rare:
        yield TableWarning("rare_classes", f"classes with fewer than two rows: {_some(rare)}")


def _unscaled(names: Sequence[str], mean: Array, deviation: Array, remedy: str) -> Iterator[TableWarning]:
    """Columns whose scale makes training slow; constant ones have a warning already."""
    with np.errstate(invalid="ignore"):
        off = (np.abs(mean) > OFF_CENTER * deviation) | (deviation < NARROW) | (deviation > WIDE)
    bad = [names[place] for place in np.flatnonzero(off & (deviation > 0)).tolist()]
    if bad:
        detail = (
            f"columns whose mean or spread makes training slow, {_some(bad)}; bring them to mean 0 and standard "
            f"deviation 1, or let the model do it: {remedy}"
        )
        yield TableWarning("unscaled_columns", detail)


def shared_rows(training: Iterable[Array], validation: Array) -> int:
    """How many validation rows equal a training row in every number."""
    held_out = _rows_as_bytes(validation)
    wanted = set(held_out)
    found = wanted & {each for row in training if (each := row.astype(np.float64).tobytes()) in wanted}
    return sum(row in found for row in held_out)


def _rows_as_bytes(inputs: Array) -> list[bytes]:
    return [row.tobytes() for row in np.ascontiguousarray(inputs, np.float64)]


def _some(names: list[str]) -> str:
    return listed(names, NAMED)
