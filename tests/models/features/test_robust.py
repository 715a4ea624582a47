"""The robust scales: properties, and columns that are awkward, against pandas and NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.data import summary as summary_module
from models.data.columns import Column
from models.features.category import Category
from models.features.fitted import FittedFeatures
from models.features.number import Number
from models.features.scales import soft_clip
from nncore.arrays import Array
from nncore.hyperparameters import FieldError
from testing.features import CASES, FeatureCase, expected_of, table_of

DTYPE = np.dtype("float64")
BINNED = [name for name in CASES if name.startswith("robust_bins")]


def encoded(feature: Number, known: Any, every: Any) -> tuple[FittedFeatures, Array]:
    """The numbers of all values (second) by features fitted on the known ones (first)."""
    first, second = (table_of(x=(pd.Series(values, dtype=float), "number")) for values in (known, every))
    fitted = FittedFeatures.fit([feature], first)
    return fitted, fitted.encode(second, None, DTYPE).expanded()


@st.composite
def awkward(draw: st.DrawFn) -> Array:
    """Values of which a few may hold many rows each, others none or all; the shares are near those that count."""
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    rows = draw(st.sampled_from([18, 64, 160, 320, 1000]))
    heavy = draw(st.lists(st.floats(0.01, 0.4), max_size=17))
    values = random.normal(size=rows) * draw(st.sampled_from([1e-3, 1.0, 1e5]))
    if draw(st.booleans()):
        values = np.round(values, draw(st.integers(0, 2)))
    start = 0
    for share in heavy:
        stop = start + round(share * rows)
        values[start:stop] = random.choice([-50.0, -1.0, 0.0, 3.0, 1e6, random.normal()])
        start = stop
    if draw(st.booleans()):
        values[random.integers(0, rows, draw(st.integers(1, 5)))] = np.nan
    return random.permutation(values)


@pytest.mark.parametrize("name", ["robust_clip", *BINNED])
@given(values=awkward(), every=st.lists(st.floats(-1e7, 1e7) | st.none(), max_size=9))
@settings(max_examples=120, deadline=None)
def test_awkward_columns_are_what_pandas_makes_of_them(name: str, values: Array, every: list[float | None]) -> None:
    case = CASES[name]
    series = pd.Series([*values.tolist(), *every], dtype=float)
    expected = expected_of(case, series, np.arange(len(values)))
    assert isinstance(case.feature, Number)
    _, found = encoded(case.feature, values, series)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@example(values=[0.0, 0.0, 0.0, 1.0, 2.0, 3.0], every=[5.0], bins=2)
@given(
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=60),
    every=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20),
    bins=st.sampled_from([2, 3, 16, 128]),
)
@settings(max_examples=300, deadline=None)
def test_bins_are_shares_that_rise_with_the_value(values: list[float], every: list[float], bins: int) -> None:
    """Whatever the numbers, the largest and smallest there are included."""
    every = sorted([*every, *values])
    fitted, found = encoded(Number("x", scale="robust_bins", bins=bins), values, every)
    if not fitted.width:
        assert len(set(values)) == 1
        return
    assert np.isfinite(found).all()
    clipped, shares = found[:, 0], found[:, fitted.bin_columns]
    assert (np.abs(clipped) <= 3.0).all()
    assert (np.diff(clipped) >= 0).all()
    assert ((shares >= 0) & (shares <= 1)).all()
    assert (np.diff(shares, axis=0) >= 0).all(), "each bin rises, and so does their sum"
    assert (np.diff(shares, axis=1) <= 0).all(), "a bin begins where the one before it is full"
    assert ((shares[:, :-1] == 1) | (shares[:, 1:] == 0)).all()
    if shares.shape[1]:
        assert shares[0].sum() == 0
        assert shares[-1].sum() == shares.shape[1]
        assert 2 <= shares.shape[1] <= bins + 1
    FittedFeatures.of(fitted.features, fitted.arrays())


def test_a_constant_column_is_no_number() -> None:
    for scale in ("robust_clip", "robust_bins"):
        feature = Number("x", scale=scale)  # type: ignore[arg-type]
        for known in ([4.0] * 5, [np.nan] * 5):
            fitted, found = encoded(feature, known, [4.0, 9.0, np.nan])
            assert (fitted.width, fitted.names(), found.shape) == (0, [], (3, 0))
        fitted, found = encoded(feature, [4.0, 4.0, np.nan], [4.0, np.nan])
        assert fitted.names() == ["x", "x is missing"]
        assert found.tolist() == [[0, 0], [0, 1]]


def test_two_values_have_no_bins_and_three_have_two() -> None:
    feature = Number("x", scale="robust_bins")
    fitted, found = encoded(feature, [1, 2, 2, 2, 2], [1, 2])
    assert fitted.names() == ["x"]
    np.testing.assert_allclose(found, [[-1 / np.sqrt(1 + 1 / 9)], [0]])
    fitted, found = encoded(feature, [1, 2, 4], [1, 2, 3, 4])
    assert fitted.names() == ["x", "x[0]", "x[1]"]
    assert found[:, 1:].tolist() == [[0, 0], [1, 0], [1, 0.5], [1, 1]]


def test_a_gap_that_training_did_not_have_is_the_median() -> None:
    feature = Number("x", scale="robust_bins")
    fitted, found = encoded(feature, np.arange(101), [np.nan, 50.0])
    assert fitted.width == 17
    assert found[0].tolist() == found[1].tolist()
    fitted, found = encoded(feature, [*range(101), np.nan], [np.nan, 50.0])
    assert fitted.width == 18
    assert found[0].tolist() == [0.0] * 17 + [1.0]
    assert found[1, 1:17].sum() == pytest.approx(8)


def test_another_filler_moves_the_value_but_not_its_bins() -> None:
    known = [*range(101), np.nan]
    for missing, filler in (("mean", 50.0), ("zero", 0.0)):
        _, found = encoded(Number("x", scale="robust_bins", missing=missing), known, [np.nan, filler])  # type: ignore[arg-type]
        assert found[0, 0] == found[1, 0]
        assert found[0, 1:].tolist() == [0.0] * 16 + [1.0]


def test_fifteen_heavy_values_leave_two_intervals_for_the_rest() -> None:
    """The most heavy values there can be; the edges are one more than otherwise."""
    known = np.concatenate([np.repeat(np.arange(15.0), 64), [100.0, 101.0, 102.0, 103.0, 104.0]])
    fitted, _ = encoded(Number("x", scale="robust_bins"), known, known)
    assert fitted.learned[0]["edges"].tolist() == [*range(15), 100.0, 102.0, 104.0]
    FittedFeatures.of(fitted.features, fitted.arrays())


def test_whole_numbers_are_exact_however_large() -> None:
    """Numbers that count something differ by 1, far from 0."""
    ids = 2**53 - np.arange(1, 1701)[::-1]
    table = table_of(x=(pd.Series(ids), "number"))
    table = type(table)(table.rows, table.columns, {"x": Column("number", ids)})
    fitted = FittedFeatures.fit([Number("x", scale="robust_bins")], table)
    found = fitted.encode(table, None, DTYPE).expanded()
    np.testing.assert_allclose(found[:, 1:].sum(axis=1), np.arange(1700) / 1699 * 16, atol=2e-2)
    assert len(np.unique(found[:, 1:].sum(axis=1))) == len(np.unique(found[:, 0])) == 1700


class TestManyRows:
    """More values than are kept; the limits are lowered."""

    @pytest.fixture(autouse=True)
    def _few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(summary_module, "BLOCK", 512)
        monkeypatch.setattr(summary_module, "SKETCHED", 1024)

    def test_few_different_values_are_all_known(self) -> None:
        """Even those that a selection would leave out."""
        known = np.concatenate([np.repeat([0.0, 1.0], 4000), np.arange(2.0, 12.0), np.repeat(1.0, 3000)])
        fitted, _ = encoded(Number("x", scale="robust_bins"), known, known)
        assert fitted.learned[0]["edges"].tolist() == [*range(12)]

    def test_extremes_and_heavy_values_are_edges(self) -> None:
        random = np.random.default_rng(0)
        known = np.concatenate([random.normal(size=6000), np.repeat(0.25, 2000), [-40.0, 50.0]])
        fitted, _ = encoded(Number("x", scale="robust_bins"), random.permutation(known), known)
        edges = fitted.learned[0]["edges"]
        assert edges[0] == -40
        assert edges[-1] == 50
        assert 0.25 in edges
        shares = [np.mean(known[known != 0.25] <= edge) for edge in edges if edge != 0.25]
        # One edge of the rest is the smallest value kept, another the largest, besides the extremes.
        np.testing.assert_allclose(np.unique(np.round(np.array(shares) * 15)), np.arange(16), atol=0)
        np.testing.assert_allclose(np.array(shares) * 15, np.round(np.array(shares) * 15), atol=0.1)


@given(st.floats(-1e308, 1e308))
def test_the_bend_is_odd_and_never_beyond_three(number: float) -> None:
    found = soft_clip(np.array([number, -number]))
    assert found[0] == -found[1]
    assert abs(found[0]) <= min(abs(number), 3.0)
    if abs(number) < 1e100:
        assert found[0] == pytest.approx(3 * np.sin(np.arctan(number / 3)), rel=1e-12)


def test_bins_belong_to_the_scale_that_makes_them() -> None:
    assert Number("x", bins=16) == Number("x")
    with pytest.raises(FieldError, match="unless the scale is 'robust_bins'"):
        Number("x", bins=8)


@pytest.mark.parametrize("edges", [[0.0], [0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 2.0, 1.0], [*range(19)]])
def test_edges_that_no_fit_makes_are_refused(edges: list[float]) -> None:
    fitted, _ = encoded(Number("x", scale="robust_bins"), np.arange(40), [1.0])
    with pytest.raises(ValueError, match="/features/0_x: edges must be"):
        FittedFeatures.of(fitted.features, {**fitted.arrays(), "0_x/edges": np.array(edges, float)})


class TestCategory:
    @pytest.fixture
    def case(self) -> FeatureCase:
        return CASES["category, signed"]

    def test_two_levels_are_one_number(self, case: FeatureCase) -> None:
        table = table_of(x=(pd.Series(["b", "a", "b"]), "category"))
        fitted = FittedFeatures.fit([case.feature], table)
        other = table_of(x=(pd.Series(["a", None, "b", "c"], dtype=object), "category"))
        assert fitted.encode(other, None, DTYPE).expanded().tolist() == [[-1], [0], [1], [0]]
        assert fitted.names() == ["x = b"]

    @pytest.mark.parametrize("words", [["b", "a", None], ["a", "a"], ["a", "b", "c"]])
    def test_others_are_one_hot(self, case: FeatureCase, words: list[str | None]) -> None:
        table = table_of(x=(pd.Series(words, dtype=object), "category"))
        one_hot, signed = (FittedFeatures.fit([each], table) for each in (Category("x"), case.feature))
        assert signed.names() == one_hot.names()

    def test_a_rare_level_keeps_a_number(self) -> None:
        words = pd.Series(["a"] * 5 + ["b"] * 5 + ["c"])
        fitted = FittedFeatures.fit([Category("x", min_count=2, signed=True)], table_of(x=(words, "category")))
        assert fitted.names() == ["x = a", "x = b", "x is rare"]

    def test_the_most_frequent_levels_stay(self) -> None:
        words = pd.Series([*"aaabbbbccd"])
        fitted = FittedFeatures.fit([Category("x", max_levels=2)], table_of(x=(words, "category")))
        assert fitted.names() == ["x = a", "x = b", "x is rare"]
