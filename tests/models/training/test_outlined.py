"""The outline of a table: its features have the widths that all rows give them, or a few numbers more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.data.profile import Provenance, details_of
from models.data.table import MemoryTable
from models.definition.given_table import Outline, Place
from models.errors import InvalidError
from models.training.outlined import Outlined
from models.training.prepared_table import PreparedTable
from testing.features import table_of
from testing.runs import a_request
from testing.tables import given_table, of_table

FEATURES: list[dict[str, Any]] = [
    {"scale": "robust_bins"},
    {"scale": "robust_bins", "bins": 40},
    {"scale": "robust_clip"},
    {"type": "category", "min_count": 5, "max_levels": 64, "signed": True},
    {"type": "category", "min_count": 3},
    {"type": "category", "signed": True},
    {"type": "category", "max_levels": 2},
]


@st.composite
def columns(draw: st.DrawFn, rows: int) -> pd.Series:
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    values = random.choice([random.normal(size=rows), random.integers(0, draw(st.integers(1, 40)), rows)])
    # A value that holds many rows, and gaps.
    values[: int(rows * draw(st.sampled_from([0.0, 0.1, 0.5, 1.0])))] = 2.0
    values = random.permutation(values)
    values[: draw(st.sampled_from([0, 1, rows]))] = np.nan
    return pd.Series(random.permutation(values))


def outlined(table: MemoryTable, features: Any, **request: Any) -> Outlined:
    outline = Outline(details_of(table, Provenance({"type": "csv"})), None, Place("/data", stored=True))
    return Outlined.of(of_table(table, features=features), a_request(**request), outline)


def prepared(table: MemoryTable, features: Any, **request: Any) -> PreparedTable:
    return PreparedTable.of(of_table(table, features=features), a_request(**request), given_table(table))


def labelled(series: pd.Series, kind: Any) -> MemoryTable:
    rows = len(series)
    table = table_of(
        x=(series, kind),
        y=(pd.Series(np.arange(rows) % 9.0), "number"),
        label=(pd.Series([*"ab"] * rows)[:rows], "category"),
    )
    return MemoryTable(table.rows, table.columns, table.values, "label")


@given(data=st.data(), rows=st.integers(10, 400), options=st.sampled_from(FEATURES))
@settings(max_examples=100, deadline=None)
def test_widths_are_those_of_all_rows_or_a_few_more(data: st.DataObject, rows: int, options: dict[str, Any]) -> None:
    series, kind = data.draw(columns(rows)), "number"
    if options.get("type") == "category":
        series, kind = series.map(lambda value: None if pd.isna(value) else f"{value:.1f}").astype(object), "category"
    table = labelled(series, kind)
    features = {"x": options}
    given = outlined(table, features).fitted.widths[0]
    all_rows = prepared(table, features).fitted.widths[0]
    training = prepared(table, features, validation_fraction=0.3).fitted.widths[0]
    assert max(all_rows, training) <= given <= all_rows + 16


def test_widths_are_exact_without_heavy_values() -> None:
    """Numbers of many and of few values, constant ones, levels that are frequent and rare."""
    random = np.random.default_rng(0)
    words = pd.Series(random.choice([*"abcdefgh"], 300, p=[0.5, 0.3, 0.1, 0.08, 0.01, 0.004, 0.003, 0.003])).astype(
        object
    )
    for series, kind, options in (
        (pd.Series(random.normal(size=300)), "number", {"scale": "robust_bins"}),
        (pd.Series(random.integers(0, 9, 300).astype(float)), "number", {"scale": "robust_bins"}),
        (pd.Series(random.integers(0, 30, 300).astype(float)), "number", {"scale": "robust_bins"}),
        (pd.Series(np.full(300, 3.0)), "number", {"scale": "robust_bins"}),
        (words, "category", {"type": "category", "min_count": 5}),
        (words, "category", {"type": "category", "min_count": 40, "max_levels": 2}),
    ):
        table = labelled(series, kind)
        found = outlined(table, {"x": options}).fitted.widths
        assert found == prepared(table, {"x": options}).fitted.widths


def test_features_that_become_no_number_are_refused() -> None:
    table = labelled(pd.Series(np.full(30, 3.0)), "number")
    features = {"x": {"scale": "robust_bins"}, "y": "ignore"}
    for make in (
        lambda: outlined(table, features),
        lambda: prepared(table, features),
    ):
        with pytest.raises(InvalidError, match="at least one number"):
            make()
