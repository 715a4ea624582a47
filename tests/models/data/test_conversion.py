"""Columns as other kinds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.columns import KINDS, Column, ColumnKind, ColumnSpec
from models.data.conversion import ConversionError, coerce
from models.data.records import from_records
from tests.models.data.test_records import plain


def column_of(*cells: Any) -> Column:
    return from_records([{"x": cell} for cell in cells]).read("x")


#: Values, the kind wanted, and the values then.
CONVERTED: dict[str, tuple[list[Any], ColumnKind, list[Any]]] = {
    "numbers to categories": ([1250.0, None, 0.5, -0.0], "category", ["1250", None, "0.5", "0"]),
    "numbers to texts": ([1, 2.5], "text", ["1", "2.5"]),
    "0 and 1 to booleans": ([0, 1, None], "boolean", [False, True, None]),
    "booleans to numbers": ([True, None], "number", [1, None]),
    "booleans to words": ([True, False], "category", ["true", "false"]),
    "words for booleans to words": (["No", "yes", None], "text", ["No", "yes", None]),
    "words to numbers": (["10", " 9.5", "NA"], "number", [10, 9.5, None]),
    "words to texts": (["b", "a", None], "text", ["b", "a", None]),
    "times to words": (["2024-01-02", None], "category", ["2024-01-02", None]),
    "nothing to times": ([None, None], "datetime", [None, None]),
}


@pytest.mark.parametrize("case", CONVERTED)
def test_values_as_another_kind(case: str) -> None:
    cells, kind, expected = CONVERTED[case]
    found = coerce(column_of(*cells), kind)
    assert found.kind == kind
    assert plain(found) == expected


#: Values, the kind wanted, and the row of the first value that has none of this kind.
REFUSED: dict[str, tuple[list[Any], ColumnKind, int]] = {
    "words to numbers": (["1", "one"], "number", 1),
    "words to booleans": (["yes", None, "maybe"], "boolean", 2),
    "words to times": (["2024-01-02", "soon"], "datetime", 1),
    "numbers to times": ([None, 2024], "datetime", 1),
    "times to numbers": (["2024-01-02"], "number", 0),
    "numbers to booleans": ([0, 1, 2], "boolean", 2),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_first_row_without_such_a_value_is_named(case: str) -> None:
    cells, kind, row = REFUSED[case]
    with pytest.raises(ConversionError) as error:
        coerce(column_of(*cells), kind)
    assert error.value.row == row
    assert isinstance(error.value, ValueError)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", [[1.5, None], [True], ["a", "b"], ["2024-01-02"], ["long text " * 10], [None]])
def test_a_kind_converts_to_itself_and_missing_values_to_every_kind(kind: ColumnKind, source: list[Any]) -> None:
    column = column_of(*source)
    assert coerce(column, column.kind) is column
    gaps = coerce(column_of(None, "NA"), kind)
    assert gaps.kind == kind
    assert gaps.missing().all()


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_survive_as_words(numbers: list[float | None]) -> None:
    column = Column("number", np.array(numbers, float))
    for kind in ("category", "text"):
        assert np.array_equal(coerce(coerce(column, kind), "number").values, column.values, equal_nan=True)


@given(st.lists(st.sampled_from(["a", "b", "7", "07", ""]), min_size=1))
def test_words_survive_as_texts(words: list[str]) -> None:
    column = coerce(Column("text", np.array(words, object)), "category")
    assert plain(column) == [word or None for word in words]
    assert plain(coerce(column, "text")) == [word or None for word in words]


def test_the_words_of_the_wanted_column_are_truths() -> None:
    spec = ColumnSpec("x", "boolean", ("nein", "ja"))
    assert plain(coerce(column_of("Ja", "nein", None), "boolean", spec)) == [True, False, None]
    other = coerce(column_of("yes", "no"), "boolean", spec)
    assert (plain(other), other.levels) == ([True, False], ("nein", "ja"))


def test_levels_that_do_not_occur_need_not_convert() -> None:
    column = Column("category", np.array([0, -1], np.int32), ("1", "one"))
    assert plain(coerce(column, "number")) == [1, None]
