"""The table of features as operators: each makes what a member of ``models.features.features.FEATURES`` makes.

To export a feature, write one function and one line in ``FEATURE_NODES``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from models.data.columns import MISSING_CODE, MISSING_TIME, ColumnKind
from models.data.words import MISSING_WORDS
from models.errors import ConflictError, describe
from models.export.arithmetic import floor_divide, standardized
from models.export.graph import ML_DOMAIN, Graph
from models.export.scale_nodes import SCALE_NODES
from models.features.category import Boolean, Category
from models.features.feature import Feature, Learned
from models.features.moment import DAY, HOUR, PERIODS, Datetime, Part
from models.features.number import Number
from models.features.text import Text
from nncore.arrays import Array

__all__ = ["FEATURE_NODES", "INPUT_FORMS", "Block", "InputForm"]

_FLOAT64, _INT64 = np.dtype(np.float64), np.dtype(np.int64)


class InputForm(NamedTuple):
    """How an input holds the values of a column: their type in ONNX and in NumPy, and what a missing value is."""

    name: str
    dtype: np.dtype[np.generic]
    missing: str | int
    meaning: str


#: By the kind of column that a feature reads.
INPUT_FORMS: dict[ColumnKind, InputForm] = {
    "number": InputForm("double", _FLOAT64, "NaN", "the number"),
    "category": InputForm("string", np.dtype(object), "", "the word, without spaces around it"),
    "boolean": InputForm("int64", _INT64, MISSING_CODE, "1 for true, 0 for false"),
    "datetime": InputForm("int64", _INT64, MISSING_TIME, "microseconds since 1970-01-01T00:00:00Z"),
}


class Block(NamedTuple):
    """What becomes of a column: numbers (rows, width) of the networks' type.

    ``refused`` (rows, 1) says of each row whether it lacks a value that it must have; None if it may lack it.
    """

    numbers: str
    refused: str | None = None


#: Makes a block of a column's values (rows, 1).
Nodes = Callable[[Graph, Any, Learned, str], Block]


def _number(graph: Graph, feature: Number, learned: Learned, values: str) -> Block:
    gaps, marked = graph.call("IsNaN", values), bool(learned["gaps"][0])
    refused = gaps if feature.missing == "refuse" else None
    if refused is None:
        values = graph.call("Where", gaps, learned["fill"], values)
    rule = feature.rule
    scaled = SCALE_NODES[type(rule)](graph, rule, learned, values)
    blocks, position = [graph.cast(scaled.numbers, graph.dtype)], scaled.position
    if position is not None:
        if marked:
            position = graph.call("Where", gaps, np.array(0.0), position)
        # The position is rounded before the bins are made of it, as that of a row at the service is.
        above = graph.call("Sub", graph.cast(position, graph.dtype), np.arange(scaled.bins, dtype=graph.dtype)[None, :])
        blocks.append(graph.call("Min", graph.call("Max", above, graph.number(0.0)), graph.number(1.0)))
    if marked:
        blocks.append(graph.cast(gaps, graph.dtype))
    return Block(graph.joined(blocks), refused)


def _category(graph: Graph, feature: Category, learned: Learned, values: str) -> Block:
    places, rare, gap = feature.places(learned)
    places = {**places, **dict.fromkeys(_missing_words(), gap)}
    place = graph.call(
        "LabelEncoder",
        values,
        domain=ML_DOMAIN,
        keys_strings=[*places],
        values_int64s=[*places.values()],
        default_int64=rare,
    )
    if feature.is_signed(learned):
        # -1 is the place of what is no level; it stands for 0.
        return Block(graph.call("Gather", np.array([-1.0, 1.0, 0.0], graph.dtype), place))
    every = np.arange(feature.width(learned), dtype=np.int64)[None, :]
    return Block(graph.cast(graph.call("Equal", place, every), graph.dtype))


def _missing_words() -> Iterator[str]:
    """Every spelling of the words for missing values, in capitals and small letters."""
    for word in MISSING_WORDS:
        yield from map("".join, product(*({letter, letter.upper()} for letter in word)))


def _boolean(graph: Graph, feature: Boolean, learned: Learned, values: str) -> Block:
    blocks = [graph.cast(graph.call("Equal", values, np.array(1, np.int64)), graph.dtype)]
    if learned["gaps"][0]:
        blocks.append(graph.cast(graph.call("Less", values, np.array(0, np.int64)), graph.dtype))
    return Block(graph.joined(blocks))


def _datetime(graph: Graph, feature: Datetime, learned: Learned, values: str) -> Block:
    gaps = graph.call("Equal", values, np.array(MISSING_TIME, np.int64))
    moments = graph.call("Where", gaps, np.array(0, np.int64), values)
    numbers: list[str] = []
    for part, center, scale in feature.used(learned):
        found = PART_NODES[part](graph, moments)
        if part in PERIODS:
            angle = graph.call("Mul", found, np.array(2.0 * np.pi / PERIODS[part]))
            # Older runtimes have no cosine of float64.
            quarter = graph.call("Add", angle, np.array(np.pi / 2.0))
            numbers += [graph.call("Sin", angle), graph.call("Sin", quarter)]
        else:
            numbers.append(standardized(graph, found, np.array(center), np.array(scale)))
    blocks = [graph.cast(graph.call("Where", gaps, np.array(0.0), each), graph.dtype) for each in numbers]
    if learned["gaps"][0]:
        blocks.append(graph.cast(gaps, graph.dtype))
    return Block(graph.joined(blocks))


def _elapsed(graph: Graph, moments: str) -> str:
    return graph.call("Div", graph.cast(moments, _FLOAT64), np.array(float(DAY)))


def _hour(graph: Graph, moments: str) -> str:
    within = graph.call("Mod", moments, np.array(DAY, np.int64))
    return graph.call("Div", graph.cast(within, _FLOAT64), np.array(float(HOUR)))


def _weekday(graph: Graph, moments: str) -> str:
    # 1970-01-01 was a Thursday.
    days = graph.call("Add", floor_divide(graph, moments, DAY), np.array(3, np.int64))
    return graph.cast(graph.call("Mod", days, np.array(7, np.int64)), _FLOAT64)


def _month(graph: Graph, moments: str) -> str:
    _, month = _civil(graph, moments)
    return graph.cast(month, _FLOAT64)


def _year(graph: Graph, moments: str) -> str:
    year, _ = _civil(graph, moments)
    return graph.cast(year, _FLOAT64)


def _civil(graph: Graph, moments: str) -> tuple[str, str]:
    """Year and month, from 0, in the Gregorian calendar (Hinnant, "chrono-Compatible Low-Level Date Algorithms").

    Its years begin in March, so that a leap day is the last one of a year, and 400 of them have 146,097 days.
    """

    def whole(value: int) -> Array:
        return np.array(value, np.int64)

    def divided(value: str, by: int) -> str:
        return graph.call("Div", value, whole(by))

    days = graph.call("Add", floor_divide(graph, moments, DAY), whole(719_468))
    era, day = floor_divide(graph, days, 146_097), graph.call("Mod", days, whole(146_097))
    leaps = graph.call("Sub", divided(day, 36_524), graph.call("Add", divided(day, 1_460), divided(day, 146_096)))
    year = divided(graph.call("Add", day, leaps), 365)
    before = graph.call(
        "Sub", graph.call("Add", graph.call("Mul", year, whole(365)), divided(year, 4)), divided(year, 100)
    )
    day_of_year = graph.call("Sub", day, before)
    march = divided(graph.call("Add", graph.call("Mul", day_of_year, whole(5)), whole(2)), 153)
    month = graph.call("Mod", graph.call("Add", march, whole(2)), whole(12))
    # January and February belong to the next year.
    next_year = graph.cast(graph.call("Less", month, whole(2)), _INT64)
    return graph.call("Add", graph.call("Add", year, graph.call("Mul", era, whole(400))), next_year), month


#: Parts of times (rows, 1) in microseconds, as float64.
PART_NODES: dict[Part, Callable[[Graph, str], str]] = {
    "elapsed": _elapsed,
    "year": _year,
    "month": _month,
    "weekday": _weekday,
    "hour": _hour,
}


def _text(graph: Graph, feature: Text, learned: Learned, values: str) -> Block:
    detail = (
        f"column {describe(feature.column)} is a text, whose words are hashed, and ONNX has no operator that reads the "
        f"letters of a string. Train a version with this column as a category, or without it, as in "
        f'"features": {{{json.dumps(feature.column, ensure_ascii=False)}: "ignore"}}'
    )
    raise ConflictError("not_exportable", detail)


FEATURE_NODES: dict[type[Feature], Nodes] = {
    Number: _number,
    Category: _category,
    Boolean: _boolean,
    Datetime: _datetime,
    Text: _text,
}
