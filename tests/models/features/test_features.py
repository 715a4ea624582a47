"""Every feature against pandas and scikit-learn, whatever its values, gaps and pieces."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from models.data.columns import Column, ColumnSpec
from models.data.table import MemoryTable
from models.features import fitted as fitted_module
from models.features.feature import GapError
from models.features.features import FEATURES, feature_type
from models.features.fitted import FittedFeatures, group_name
from models.features.normal import normal_quantiles
from models.features.number import Number
from models.features.scales import SCALES, ScaleName
from nncore.arrays import Array
from testing.features import CASES, FeatureCase, column_of, expected_of, table_of

#: Values of each kind of column; None is a gap.
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "number": st.one_of(st.none(), st.integers(-50, 50).map(float), st.floats(-1e6, 1e6, width=32)),
    "category": st.one_of(st.none(), st.sampled_from(["a", "b", "c", "d", "ä b", "1"])),
    "boolean": st.one_of(st.none(), st.booleans()),
    "datetime": st.one_of(st.none(), st.datetimes(pd.Timestamp("1950-01-01"), pd.Timestamp("2090-01-01"))),
    "text": st.one_of(st.none(), st.text("ab cä,.", max_size=12).filter(bool)),
}


@st.composite
def columns(draw: st.DrawFn, kind: str) -> tuple[pd.Series, Array]:
    """A column, and the rows that features are fitted on."""
    values = draw(st.lists(VALUES[kind], min_size=3, max_size=40))
    dtype = {"number": float, "datetime": "datetime64[us]"}.get(kind, object)
    chosen = draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    assume(sum(chosen) >= 2)
    return pd.Series(values, dtype=dtype), np.flatnonzero(chosen)


def fit(case: FeatureCase, series: pd.Series, rows: Array | None) -> tuple[FittedFeatures, MemoryTable]:
    table = table_of(x=(series, case.feature.reads))
    return FittedFeatures.fit([case.feature], table, rows), table


def test_every_member_has_a_case() -> None:
    assert {feature_type(case.feature) for case in CASES.values()} == {*FEATURES}
    scales = {case.feature.scale for case in CASES.values() if isinstance(case.feature, Number)}
    assert scales == {*SCALES} == {*get_args(ScaleName)}


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_it_is_what_pandas_and_scikit_learn_make_of_it(name: str, data: st.DataObject) -> None:
    case = CASES[name]
    series, rows = data.draw(columns(case.feature.reads))
    if isinstance(case.feature, Number) and case.feature.scale in ("quantile", "piecewise_linear"):
        # Equal quantiles that differ in their last bit are one edge here and two there.
        known = series.iloc[rows].dropna()
        assume(len(known) < 2 or np.diff(np.sort(known)).min() > 1e-3)
        # Of a constant, scikit-learn makes the lowest quantile there is, and so of what is within 1e-7 of an end.
        assume(case.feature.scale != "quantile" or len(known) > 1)
        ends = np.abs(series.dropna().to_numpy()[:, None] - [known.min(), known.max()])
        assume(((ends == 0) | (ends > 1e-6)).all())
    fitted, table = fit(case, series, rows)
    expected = expected_of(case, series, rows)
    found = fitted.encode(table, None, np.dtype("float64")).expanded()
    assert found.shape == expected.shape == (len(series), fitted.width)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert len(fitted.names()) == fitted.width


@pytest.mark.parametrize("name", CASES)
@given(data=st.data(), piece=st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_pieces_and_a_way_through_arrays_change_no_bit(name: str, data: st.DataObject, piece: int) -> None:
    case = CASES[name]
    series, rows = data.draw(columns(case.feature.reads))
    fitted, table = fit(case, series, rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitted_module, "CHUNK", piece)
        again, _ = fit(case, series, rows)
        restored = FittedFeatures.of([case.feature], again.arrays())
        pieces = restored.encode(table, None, np.dtype("float32")).expanded()
    for name_of, array in fitted.arrays().items():
        assert np.array_equal(array, again.arrays()[name_of]), name_of
    assert np.array_equal(fitted.encode(table, None, np.dtype("float32")).expanded(), pieces)


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_row_alone_is_what_it_is_among_others(name: str, data: st.DataObject) -> None:
    case = CASES[name]
    series, rows = data.draw(columns(case.feature.reads))
    fitted, table = fit(case, series, rows)
    together = fitted.encode(table, None, np.dtype("float64")).expanded()
    for row in range(len(series)):
        alone = fitted.encode(table, np.array([row]), np.dtype("float64")).expanded()
        assert np.array_equal(alone[0], together[row])


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_typical_value_is_one_of_the_range_and_can_be_encoded(name: str, data: st.DataObject) -> None:
    case = CASES[name]
    series, rows = data.draw(columns(case.feature.reads))
    known = series.iloc[rows].dropna()
    assume(len(known) or getattr(case.feature, "missing", "median") != "refuse")
    fitted, _ = fit(case, series, rows)
    typical = case.feature.typical(fitted.learned[0])
    assert (typical.kind, len(typical.values)) == (case.feature.reads, 1)
    encoded = fitted.encode(table_with(typical), None, np.dtype("float64")).expanded()
    assert encoded.shape == (1, fitted.width)
    assert np.isfinite(encoded).all()
    if not len(known):
        return
    match typical.kind:
        case "number":
            assert known.min() <= typical.values[0] <= known.max()
            if getattr(case.feature, "missing", "") == "median":
                assert typical.values[0] == pytest.approx(known.median(), rel=1e-9, abs=1e-9)
        case "category" | "boolean" if not getattr(case.feature, "levels", None):
            counts = known.astype(str).str.lower().value_counts()
            if typical.values[0] >= 0:
                assert counts[typical.levels[typical.values[0]]] == counts.max()
            else:
                assert counts.max() < getattr(case.feature, "min_count", 1)
        case "datetime":
            assert known.min().floor("s") <= pd.Timestamp(int(typical.values[0]), unit="us") <= known.max()


def table_with(column: Column) -> MemoryTable:
    """A table of this column, x."""
    return MemoryTable(len(column.values), (ColumnSpec("x", column.kind, column.levels),), {"x": column})


@pytest.mark.parametrize("name", CASES)
def test_what_it_learned_is_checked(name: str) -> None:
    """Each array missing, of another type, of another length, not finite, and one too many."""
    case = CASES[name]
    samples: dict[str, list[Any]] = {
        "number": [1.0, 2.0, None, 5.0, 2.5],
        "category": ["a", "b", None, "a", "c"],
        "boolean": [True, False, None, True, True],
        "datetime": [
            pd.Timestamp("2020-01-05"),
            None,
            pd.Timestamp("2021-07-09 12:30"),
            pd.Timestamp("2019-01-01"),
            None,
        ],
        "text": ["a b", None, "c", "d", "e"],
    }
    dtype = {"number": float, "datetime": "datetime64[us]"}.get(case.feature.reads, object)
    fitted, _ = fit(case, pd.Series(samples[case.feature.reads], dtype=dtype), None)
    good = fitted.arrays()
    FittedFeatures.of([case.feature], good)
    with pytest.raises(ValueError, match=r"/features/0_x/more: expected nothing"):
        FittedFeatures.of([case.feature], {**good, "0_x/more": np.zeros(1)})
    for place, array in good.items():
        bad = [None, array.astype(np.float32), array[:, None]]
        bad += [np.append(array, array[-1:])] if case.feature.forms()[place[4:]].length is not None else []
        bad += [np.full_like(array, np.nan)] if array.dtype.kind == "f" else []
        for each in bad:
            arrays = {**good, place: each} if each is not None else {key: good[key] for key in good if key != place}
            with pytest.raises(ValueError, match=f"/features/{place}: expected"):
                FittedFeatures.of([case.feature], arrays)


def test_a_refused_gap_is_named_by_its_row() -> None:
    feature = Number("x", missing="refuse")
    with pytest.raises(GapError) as error:
        feature.learn([Column("number", np.array([1.0, 2.0])), Column("number", np.array([3.0, np.nan]))])
    assert error.value.row == 3
    learned = feature.learn([Column("number", np.array([1.0, 2.0]))])
    with pytest.raises(GapError) as error:
        feature.encode(Column("number", np.array([0.0, np.nan])), learned)
    assert error.value.row == 1


def test_categories_of_one_spelling_are_one_level_whatever_their_codes() -> None:
    case = CASES["category"]
    fitted, _ = fit(case, pd.Series(["b", "a", "b"]), None)
    one, other = (column_of(pd.Series(words), "category") for words in (["a", "b"], ["b", "a"]))
    (learned,) = fitted.learned
    first, second = (case.feature.encode(column, learned)[0].tolist() for column in (one, other))
    assert first == second[::-1]


def test_the_rarest_of_too_many_levels_share_one_number() -> None:
    words = [f"w{place:05}" for place in range(1500)]
    series = pd.Series(words + words[:700])
    fitted, table = fit(CASES["category"], series, None)
    numbers = fitted.encode(table, None, np.dtype("float32")).expanded()
    assert fitted.width == 1001
    assert (numbers.sum(axis=1) == 1).all()
    frequent = numbers[:700]
    assert frequent[:, :1000].sum() == 700, "levels of two rows have a number each"
    assert numbers[1400, 1000] == 1, "one of the rarest"


def test_normal_quantiles() -> None:
    """Against the distribution function of the standard library, by a way there and back."""
    from statistics import NormalDist

    shares = np.concatenate([np.linspace(1e-7, 1 - 1e-7, 997), 10.0 ** -np.arange(1, 300, 7)])
    found = normal_quantiles(shares)
    expected = [NormalDist().inv_cdf(share) for share in shares.tolist()]
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("age", "3_age"),
        ("a/b", "3_a_b"),
        ("größe der Straße", "3_gr_e_der_Stra_e"),
        ("x" * 90, "3_" + "x" * 40),
        ("/", "3__"),
    ],
)
def test_the_group_of_a_column_is_a_plain_name(column: str, name: str) -> None:
    assert group_name(3, column) == name
