"""Random tables that pandas writes in random dialects are read back as they were."""

from __future__ import annotations

import csv
from typing import Any

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.models.reading.support import cells, read

WORDS = (
    st.text(st.sampled_from('abc ÄÖßé,;"|\t-_/'), min_size=1, max_size=12)
    .map(str.strip)
    .filter(lambda word: any(letter.isalpha() for letter in word))
)
MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-", "#n/a"}


@st.composite
def columns(draw: st.DrawFn, rows: int) -> list[Any]:
    """A column of one kind with gaps."""
    gaps = draw(st.lists(st.sampled_from([False, False, False, True]), min_size=rows, max_size=rows))
    numbers = st.floats(-1e6, 1e6, allow_nan=False).map(lambda number: round(number, 3)).map(lambda n: n + 0.0)
    words = draw(st.lists(WORDS, min_size=2, max_size=5, unique=True))
    kind = draw(st.sampled_from([numbers, st.sampled_from(words)]))
    values = draw(st.lists(kind, min_size=rows, max_size=rows))
    return [None if gap else value for gap, value in zip(gaps, values, strict=True)]


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    """A table of several columns."""
    rows = draw(st.integers(12, 40))
    names = draw(st.lists(st.sampled_from(["größe", "b", "a name", "x,y", "Z"]), min_size=2, max_size=4, unique=True))
    return pd.DataFrame({name: pd.Series(draw(columns(rows)), dtype=object) for name in names})


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    frame=frames(),
    sep=st.sampled_from([",", ";", "\t", "|"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    missing=st.sampled_from(["", "NA", "?", "null", "n/a"]),
    decimal=st.sampled_from([".", ","]),
)
def test_what_pandas_writes_is_read_back(
    frame: pd.DataFrame, sep: str, encoding: str, quoting: int, missing: str, decimal: str
) -> None:
    if sep == decimal:
        decimal = "."
    shown = frame.map(lambda value: str(value).replace(".", decimal) if isinstance(value, float) else value)
    text = shown.to_csv(index=False, sep=sep, quoting=quoting, na_rep=missing)
    table = read(str(text).encode(encoding), delimiter=sep, decimal=decimal, header=True)
    assert table.rows == len(frame)
    assert [column.name for column in table.columns] == list(frame.columns)
    for name in frame:
        expected = [None if value is None else value for value in frame[name]]
        found = [value if value != "" else None for value in cells(table, str(name))]
        kind = table.read(str(name)).kind
        if kind in ("category", "text", "boolean"):
            words = [None if value is None else str(value) for value in expected]
            assert found == [None if word is None or word.lower() in MISSING else word for word in words]
        else:
            assert found == expected
