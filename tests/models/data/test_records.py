"""Tables from JSON: the kinds of columns, their values as pandas has them, and the place of each fault."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.columns import MISSING_TIME, Column, ColumnKind
from models.data.records import from_lists, from_matrix, from_records, set_aside
from models.errors import InvalidError


def plain(column: Column) -> list[Any]:
    """The values of a column, None for missing ones."""
    gaps = column.missing().tolist()
    values: list[Any] = column.values.tolist()
    if column.kind == "category":
        values = [column.levels[code] if code >= 0 else None for code in values]
    elif column.kind == "boolean":
        values = [bool(code) for code in values]
    return [None if gap else value for gap, value in zip(gaps, values, strict=True)]


def refused(rows: Any, **options: Any) -> list[str]:
    with pytest.raises(InvalidError) as error:
        from_records(rows, **options)
    assert all(problem.detail for problem in error.value.problems)
    return [problem.pointer for problem in error.value.problems]


#: Values of a column as JSON, its kind, and its values.
COLUMNS: dict[str, tuple[list[Any], ColumnKind, list[Any]]] = {
    "whole numbers": ([1, 2, 3], "number", [1, 2, 3]),
    "numbers": ([1, 2.5, None], "number", [1, 2.5, None]),
    "numbers and missing words": ([1, "NA", " ? ", 2], "number", [1, None, None, 2]),
    "booleans": ([True, None, False], "boolean", [True, None, False]),
    "words for booleans": (["yes", "No", "-"], "boolean", [True, False, None]),
    "words": (["b", "a", "", " b "], "category", ["b", "a", None, "b"]),
    "numeric strings": (["10", "9"], "category", ["10", "9"]),
    "padded numbers": (["007", "7"], "category", ["007", "7"]),
    "dates": (["1970-01-02", None], "datetime", [86_400_000_000, None]),
    "dates and words": (["1970-01-02", "soon"], "category", ["1970-01-02", "soon"]),
    "nothing": ([None, "NA"], "number", [None, None]),
    "long strings": (["word " * 50, "more " * 50], "text", [("word " * 50).strip(), ("more " * 50).strip()]),
    "many strings": ([f"w{i}" for i in range(60)], "text", [f"w{i}" for i in range(60)]),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_the_kind_follows_from_the_values(case: str) -> None:
    cells, kind, values = COLUMNS[case]
    table = from_records([{"x": cell, "y": 1} for cell in cells])
    assert [spec.name for spec in table.columns] == ["x", "y"]
    assert table.columns[0].kind == table.read("x").kind == kind
    assert plain(table.read("x")) == values
    listed = from_lists(["x"], [[cell] for cell in cells])
    assert plain(listed.read("x")) == values


SCALARS = [
    st.none() | st.integers(-(2**53), 2**53),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.booleans(),
    st.none() | st.sampled_from(["red", "green", "blue"]),
]


@given(st.data())
def test_values_are_those_of_pandas(data: st.DataObject) -> None:
    rows: list[dict[str, Any]] = [{} for _ in range(data.draw(st.integers(1, 8)))]
    for name, values in zip("abcd", SCALARS, strict=True):
        for row in rows:
            if data.draw(st.booleans()):
                row[name] = data.draw(values)
    if not any(rows):
        return
    frame = pd.DataFrame.from_records(rows)
    table = from_records(rows)
    assert [spec.name for spec in table.columns] == list(dict.fromkeys(key for row in rows for key in row))
    for spec in table.columns:
        expected = [None if pd.isna(value) else value for value in frame[spec.name].tolist()]
        assert plain(table.read(spec.name)) == expected


#: Rows that are refused, and the pointers of all faults.
FAULTS: dict[str, tuple[Any, list[str]]] = {
    "no list": ({"a": 1}, ["/rows"]),
    "no rows": ([], ["/rows"]),
    "a row that is a list": ([{"a": 1}, [1]], ["/rows/1"]),
    "rows without values": ([{}, {}], ["/rows/0"]),
    "nested": ([{"a": 1}, {"a": [1]}, {"a": {"b": 1}}], ["/rows/1/a", "/rows/2/a"]),
    "mixed": ([{"a": 1}, {"a": "x"}, {"a": None}, {"a": True}], ["/rows/1/a", "/rows/3/a"]),
    "a number among words": ([{"a": "x"}, {"a": 1}], ["/rows/1/a"]),
    "a number in quotes": ([{"a": 1}, {"a": "2"}], ["/rows/1/a"]),
    "two columns": ([{"a": 1, "b": "x"}, {"a": "x", "b": 2}], ["/rows/1/a", "/rows/1/b"]),
    "names equal but for spaces": ([{"a": 1, " a": 2}], ["/rows/0/ a"]),
    "a name with a slash": ([{"a/b~": 1}, {"a/b~": "x"}], ["/rows/1/a~1b~0"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_reported_at_its_place(fault: str) -> None:
    rows, pointers = FAULTS[fault]
    assert refused(rows) == pointers


def test_the_first_twenty_faults_are_reported() -> None:
    rows: list[dict[str, Any]] = [{"a": 1}, *[{"a": "x"} for _ in range(50)]]
    assert refused(rows) == [f"/rows/{row}/a" for row in range(1, 21)]


def test_wanted_kinds_decide() -> None:
    rows = [{"zip": 1250.0, "n": "1.5", "t": "yes", "mixed": 1}, {"zip": 99, "n": "NA", "t": "no", "mixed": "x"}]
    kinds: dict[str, ColumnKind] = {"zip": "category", "n": "number", "t": "text", "mixed": "category"}
    table = from_records(rows, kinds=kinds)
    assert plain(table.read("zip")) == ["1250", "99"]
    assert plain(table.read("n")) == [1.5, None]
    assert plain(table.read("t")) == ["yes", "no"]
    assert plain(table.read("mixed")) == ["1", "x"]
    assert refused([{"n": "1"}, {"n": "one"}], kinds={"n": "number"}) == ["/rows/1/n"]


def test_further_missing_words() -> None:
    assert plain(from_records([{"a": 1}, {"a": "None given"}], missing={"none given"}).read("a")) == [1, None]


def test_lists_have_as_many_values_as_names() -> None:
    with pytest.raises(InvalidError) as error:
        from_lists(["a", "b"], [[1, 2], [1], {}, [3, "x"]], "/data")
    assert [problem.pointer for problem in error.value.problems] == ["/data/rows/1", "/data/rows/2"]
    with pytest.raises(InvalidError) as error:
        from_lists(["a", "a "], [[1, 2]], "/data")
    assert [problem.pointer for problem in error.value.problems] == ["/data/columns/1"]


def test_a_matrix_with_names() -> None:
    table = from_matrix([[1, 2.5], [3, 4]], ["a", "b"])
    assert [(spec.name, spec.kind) for spec in table.columns] == [("a", "number"), ("b", "number")]
    assert plain(table.read("b")) == [2.5, 4]
    for features, pointer in ((["a"], "/features"), (["a", 1], "/features/1"), (["a", "a"], "/features/1")):
        with pytest.raises(InvalidError) as error:
            from_matrix([[1, 2]], features)
        assert error.value.problems[0].pointer == pointer


def test_columns_of_no_use_are_set_aside() -> None:
    rows = [
        {"id": i, "same": "x", "ticket": f"T {i}", "words": "ab"[i % 2], "x": i * i, "back": -i, "none": None}
        for i in range(100)
    ]
    table = set_aside(from_records(rows))
    reasons = {spec.name: spec.reason for spec in table.columns}
    assert [name for name, reason in reasons.items() if reason] == ["id", "same", "ticket", "none"]
    assert reasons["ticket"] == "100 different texts in 100 rows"


def test_times_are_microseconds_of_utc() -> None:
    cells = ["2024-02-29", "1969-12-31T23:59:59.5Z", "2024-05-17 08:30:00+02:00", None]
    found = from_records([{"t": cell} for cell in cells]).read("t")
    expected = (
        pd.to_datetime(pd.Series(cells), utc=True, format="ISO8601").astype("datetime64[us, UTC]").astype("int64")
    )
    assert found.values[:3].tolist() == expected[:3].tolist()
    assert found.values[3] == MISSING_TIME
    assert found.values.dtype == np.int64


@pytest.mark.parametrize("kind", ["number", "category", "boolean", "datetime", "text"])
def test_a_column_without_values_is_of_the_kind_that_is_asked_for(kind: ColumnKind) -> None:
    (spec,) = from_records([{"a": None}, {"a": "NA"}], kinds={"a": kind}).columns
    assert spec.kind == kind
