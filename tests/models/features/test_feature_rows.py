"""Compact rows: what a batch gathers, with and without bins, is what the whole table becomes."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.data.table import MemoryTable
from models.features import fitted as fitted_module
from models.features import rows as rows_module
from models.features.category import Boolean, Category
from models.features.feature import Feature
from models.features.fitted import FittedFeatures
from models.features.moment import Datetime
from models.features.number import Number
from models.features.rows import FeatureRows
from models.features.text import Text
from nncore.arrays import Array
from nncore.batches import MatrixRows
from testing.features import table_of
from testing.tables import a_frame

DTYPE = np.dtype("float32")
#: One of each form in which numbers are kept, and several that have bins: with and without gaps, of few values.
FEATURES: dict[str, Feature] = {
    "notes": Text("notes", buckets=7),
    "sex": Category("sex"),
    "age": Number("age", scale="robust_bins"),
    "member": Boolean("member"),
    "size": Number("size", scale="robust_bins", bins=5),
    "flag": Number("flag", scale="robust_bins"),
    "same": Number("same", scale="robust_bins"),
    "step": Number("step", scale="robust_bins"),
    "height": Number("height", scale="piecewise_linear"),
    "day": Datetime("day"),
    "weight": Number("weight"),
    "place": Category("place"),
}


def a_wide_table() -> MemoryTable:
    frame = a_frame(90)
    random = np.random.default_rng(5)
    more = pd.DataFrame(
        {
            "size": random.normal(size=90),
            "flag": np.arange(90) % 2.0,
            "same": 4.0,
            "step": random.integers(0, 9, 90).astype(float),
            "height": random.exponential(size=90),
            "weight": random.normal(60, 10, 90),
            "place": random.choice(["a", "b", "c"], 90).astype(object),
        }
    )
    kinds = {"notes": "text", "sex": "category", "member": "boolean", "day": "datetime", "place": "category"}
    whole = pd.concat([frame, more], axis=1)
    return table_of(**{name: (whole[name], kinds.get(name, "number")) for name in FEATURES})  # type: ignore[arg-type]


TABLE = a_wide_table()


def gathered(rows: FeatureRows | MatrixRows, chosen: Array) -> Array:
    out = np.full((len(chosen), rows.inputs + 1), 7, DTYPE)
    for call in rows.gather_calls(chosen, out):
        call()
    assert (out[:, -1] == 1).all()
    return out[:, :-1]


@given(names=st.permutations(list(FEATURES)), count=st.integers(1, len(FEATURES)), seed=st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_any_rows_of_any_features_are_their_columns(names: list[str], count: int, seed: int) -> None:
    """Each feature alone is the oracle of its columns among others."""
    features = [FEATURES[name] for name in names[:count]]
    fitted = FittedFeatures.fit(features, TABLE)
    rows = fitted.encode(TABLE, None, DTYPE)
    alone = [FittedFeatures.fit([each], TABLE).encode(TABLE, None, DTYPE).expanded() for each in features]
    expected = np.concatenate(alone, axis=1)
    chosen = np.random.default_rng(seed).integers(0, TABLE.rows, 23)
    assert np.array_equal(rows.expanded(), expected)
    assert np.array_equal(gathered(rows, chosen), expected[chosen])
    assert fitted.bin_columns.shape == (fitted.width,)
    smaller = rows.without_bins()
    assert smaller.inputs == np.count_nonzero(~fitted.bin_columns)
    assert np.array_equal(gathered(smaller, chosen), expected[chosen][:, ~fitted.bin_columns])
    for each in (rows, smaller):
        assert np.array_equal(gathered(pickle.loads(pickle.dumps(each)), chosen), gathered(each, chosen))


def test_bins_are_named_and_the_values_themselves_are_none_of_them() -> None:
    fitted = FittedFeatures.fit([*FEATURES.values()], TABLE)
    names = np.array(fitted.names())
    bins = {f"{name}[{place}]" for name, count in (("age", 16), ("size", 5), ("step", 8)) for place in range(count)}
    assert {*names[fitted.bin_columns].tolist()} == bins
    assert {"age", "age is missing", "size", "flag", "step", "height[0]"} <= {*names[~fitted.bin_columns].tolist()}
    assert "same" not in names.tolist()


def test_a_position_stands_for_all_bins_of_a_row() -> None:
    numbers = {f"n{place}": (pd.Series(np.random.default_rng(place).normal(size=500)), "number") for place in range(9)}
    table = table_of(**numbers)  # type: ignore[arg-type]
    fitted = FittedFeatures.fit([Number(name, scale="robust_bins") for name in numbers], table)
    rows = fitted.encode(table, None, DTYPE)
    assert fitted.width == 9 * 17
    assert rows.nbytes == 500 * 9 * 2 * 4


def test_pieces_of_a_table_are_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = FittedFeatures.fit([*FEATURES.values()], TABLE)
    whole = fitted.encode(TABLE, None, DTYPE).expanded()
    monkeypatch.setattr(fitted_module, "CHUNK", 13)
    again = FittedFeatures.fit([*FEATURES.values()], TABLE)
    assert np.array_equal(again.encode(TABLE, None, DTYPE).expanded(), whole)


def test_small_rows_become_a_matrix_and_large_ones_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = FittedFeatures.fit([*FEATURES.values()], TABLE)
    rows = fitted.encode(TABLE, None, DTYPE)
    matrix = rows.expand_if_small()
    assert isinstance(matrix, MatrixRows)
    chosen = np.array([5, 0, 89, 5])
    assert np.array_equal(gathered(matrix, chosen), gathered(rows, chosen))
    monkeypatch.setattr(rows_module, "SMALL", 90 * (fitted.width + 1) * 4)
    assert rows.expand_if_small() is rows


def test_rows_without_bins_lose_nothing() -> None:
    rows = FittedFeatures.fit([Number("age"), Category("sex")], TABLE).encode(TABLE, None, DTYPE)
    assert rows.without_bins() is rows
