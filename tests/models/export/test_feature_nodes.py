"""Every feature and every scale as operators against what rows become at the service."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import onnx
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from models.data.columns import MISSING_TIME, Column, ColumnSpec
from models.data.table import MemoryTable
from models.data.words import MISSING_WORDS
from models.errors import ConflictError
from models.export.feature_nodes import FEATURE_NODES, INPUT_FORMS, PART_NODES
from models.export.graph import Graph
from models.export.inputs import columns_of, read
from models.export.scale_nodes import SCALE_NODES
from models.features.category import Boolean, Category
from models.features.features import FEATURES, Ignored
from models.features.fitted import FittedFeatures
from models.features.moment import PARTS, Datetime
from models.features.number import Number
from models.features.plan import ServingPlan
from models.features.scales import SCALES, ScaleName
from models.features.text import Text
from nncore.arrays import Array
from testing.features import CASES, column_of, table_of
from testing.onnx import answer_of, feeds_of

#: Values of each kind of column; None is a gap. Some lie far beyond those that a feature is fitted on.
NUMBERS = st.one_of(st.none(), st.integers(-50, 50).map(float), st.floats(-1e6, 1e6), st.sampled_from([1e15, -1e-9]))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "number": NUMBERS,
    "category": st.one_of(st.none(), st.sampled_from(["a", "b", "c", "d", "ä b", "1", "new"])),
    "boolean": st.one_of(st.none(), st.booleans()),
    "datetime": st.one_of(st.none(), st.datetimes(pd.Timestamp("0001-01-01"), pd.Timestamp("9999-12-31"))),
}
DTYPES = {"float32": 1e-6, "float64": 1e-12}
#: Features that no operators express.
TEXTS = {name for name, case in CASES.items() if isinstance(case.feature, Text)}
#: Features that become numbers.
EXPORTED = [name for name, case in CASES.items() if not isinstance(case.feature, (Text, Ignored))]


def test_every_feature_scale_and_part_can_be_exported() -> None:
    """Texts are in the table too: they are refused."""
    assert set(FEATURE_NODES) == set(FEATURES.values()) - {Ignored}
    assert set(SCALE_NODES) == {type(scale) for scale in SCALES.values()}
    assert set(PART_NODES) == set(PARTS)
    assert set(INPUT_FORMS) == {kind.reads for kind in FEATURE_NODES} - {Text.reads}
    scales = {case.feature.scale for case in CASES.values() if isinstance(case.feature, Number)}
    assert scales == set(get_args(ScaleName))
    assert {type(CASES[name].feature) for name in EXPORTED} == set(FEATURE_NODES) - {Text}


def exported(fitted: FittedFeatures, table: MemoryTable, dtype: str) -> Array:
    """What a network reads of a table, by ONNX Runtime; rows that are refused are NaN."""
    columns = columns_of(fitted, ("x of networks",))
    graph = Graph(np.dtype(dtype), ["x of networks", *(column.input for column in columns)])
    inputs = read(graph, columns)
    x = inputs.x
    if inputs.refused is not None:
        x = graph.call("Where", inputs.refused, graph.number(np.nan), x)
    graph.output("x of networks", x, graph.dtype, fitted.width)
    graph.model.graph.name = "features"
    onnx.checker.check_model(graph.model, full_check=True)
    feeds = feeds_of([column.feature for column in columns], table)
    return answer_of(graph.model.SerializeToString(), feeds)["x of networks"]


@st.composite
def columns(draw: st.DrawFn, kind: str) -> tuple[pd.Series, Array]:
    """A column, and the rows that features are fitted on."""
    values = draw(st.lists(VALUES[kind], min_size=3, max_size=40))
    dtype = {"number": float, "datetime": "datetime64[us]"}.get(kind, object)
    chosen = draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    assume(sum(chosen) >= 2)
    return pd.Series(values, dtype=dtype), np.flatnonzero(chosen)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXPORTED)
@given(data=st.data())
@settings(max_examples=8)
def test_a_feature_is_what_the_service_makes_of_it(name: str, dtype: str, data: st.DataObject) -> None:
    feature = CASES[name].feature
    series, rows = data.draw(columns(feature.reads))
    table = table_of(x=(series, feature.reads))
    fitted = FittedFeatures.fit([feature], table, rows)
    assume(fitted.width)
    with np.errstate(over="ignore"):
        expected = fitted.encode(table, None, np.dtype(dtype)).expanded()
    found = exported(fitted, table, dtype)
    assert found.dtype == expected.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=DTYPES[dtype], atol=DTYPES[dtype])


@pytest.mark.parametrize("name", [name for name in EXPORTED if isinstance(CASES[name].feature, Number)])
def test_numbers_at_and_beyond_what_was_learned(name: str) -> None:
    """At each value that the scale has learned, right beside it, and as far away as a number can be."""
    known = np.array([-3.0, -3.0, -1.0, 0.0, 0.0, 0.0, 2.0, 2.5, 2.5, 7.0, 1000.0])
    beside = np.concatenate([np.nextafter(known, -np.inf), known, np.nextafter(known, np.inf)])
    values = np.concatenate(
        [beside, [1e-300, -1e-300, 1e150, -1e150, np.finfo(float).max, -np.finfo(float).max, np.nan]]
    )
    series = pd.Series(np.concatenate([known, [np.nan]]))
    if CASES[name].feature.missing == "refuse":  # type: ignore[attr-defined]
        series, values = series.dropna(), values[:-1]
    fitted = FittedFeatures.fit([CASES[name].feature], table_of(x=(series, "number")))
    table = table_of(x=(pd.Series(values), "number"))
    expected = fitted.encode(table, None, np.dtype("float64")).expanded()
    found = exported(fitted, table, "float64")
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scale", ["standardize", "robust", "robust_clip", "log", "piecewise_linear"])
@pytest.mark.parametrize("size", [1.0, 1e-9, 1e-50, 1e-200, 1e200])
def test_what_is_0_or_1_as_float32_alone_counts(scale: ScaleName, size: float) -> None:
    """The runtime leaves out a subtrahend that is 0 as float32, and a divisor that is 1."""
    known = _numbers({"x": [0.0, 1e-9 * size, size, size, 1.7 * size]})
    fitted = FittedFeatures.fit([Number("x", scale=scale)], known)
    expected = fitted.encode(known, None, np.dtype("float64")).expanded()
    np.testing.assert_allclose(exported(fitted, known, "float64"), expected, rtol=1e-12, atol=1e-14)
    if (scale, size) == ("robust", 1.0):
        nearly = fitted.learned[0]["scale"].item()
        assert np.float32(nearly) == 1.0 != nearly


def test_a_category_has_the_words_for_missing_values_that_rows_have() -> None:
    words = [*MISSING_WORDS, "NA", "N/A", "NaN", "Null", "NULL", "None", "nOnE", "#N/A", "a", "other", "A"]
    for known in (["a", "a", "b", None], ["a", "a", "b"]):
        for feature in (Category("x"), Category("x", min_count=2), Category("x", levels=("none", "a"))):
            fitted = FittedFeatures.fit([feature], table_of(x=(pd.Series(known, dtype=object), "category")))
            plan = ServingPlan(fitted, None, np.dtype("float32"))
            expected = plan.records([{"x": word} for word in words])
            column = Column("category", np.arange(len(words), dtype=np.int32), tuple(words))
            table = MemoryTable(len(words), (ColumnSpec("x", "category", column.levels),), {"x": column})
            assert np.array_equal(exported(fitted, table, "float32"), expected), feature


def test_a_row_without_a_value_that_it_must_have_is_marked() -> None:
    known = {"x": [1.0, 2.0, 4.0], "y": [1.0, np.nan, 4.0], "z": [5.0, 6.0, 7.0]}
    features = [Number("x", missing="refuse"), Number("y"), Number("z", scale="none", missing="refuse")]
    fitted = FittedFeatures.fit(features, _numbers(known))
    rows = {"x": [1.0, np.nan, 1.0, np.nan], "y": [np.nan, 1.0, 1.0, 1.0], "z": [3.0, 3.0, np.nan, np.nan]}
    found = exported(fitted, _numbers(rows), "float32")
    assert np.isnan(found).all(axis=1).tolist() == [False, True, True, True]
    assert not np.isnan(found[0]).any()


def _numbers(columns: dict[str, list[float]]) -> MemoryTable:
    return table_of(**{name: (pd.Series(values), "number") for name, values in columns.items()})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_refused_by_its_column(name: str) -> None:
    fitted = FittedFeatures.fit([CASES[name].feature], table_of(x=(pd.Series(["some words"], dtype=object), "text")))
    with pytest.raises(ConflictError, match=r"column 'x' is a text.*\"x\": \"ignore\"") as refusal:
        exported(fitted, table_of(x=(pd.Series(["some words"], dtype=object), "text")), "float32")
    assert refusal.value.code == "not_exportable"


def test_the_first_and_the_last_moment() -> None:
    """Leap days, ends of centuries, and times before 1970 to the microsecond."""
    moments = ["1600-02-29", "1899-12-31T23:59:59.999999", "1900-02-28", "1900-03-01", "1969-12-31T23:59:59.999999"]
    moments += ["1970-01-01", "2000-02-29T12:00", "2100-02-28T23:59:59", "2100-03-01", "2400-02-29", "2023-12-31"]
    series = pd.Series([*moments, None]).astype("datetime64[us]")
    table = table_of(x=(series, "datetime"))
    for part in PARTS:
        fitted = FittedFeatures.fit([Datetime("x", parts=(part,))], table)
        expected = fitted.encode(table, None, np.dtype("float64")).expanded()
        np.testing.assert_allclose(exported(fitted, table, "float64"), expected, rtol=1e-12, atol=1e-12)


def test_what_stands_for_a_missing_value() -> None:
    """The columns' own marks; the document of a file says the same."""
    missing = {kind: form.missing for kind, form in INPUT_FORMS.items()}
    assert missing == {"number": "NaN", "category": "", "boolean": -1, "datetime": MISSING_TIME}
    series = pd.Series([True, False, None], dtype=object)
    table = table_of(x=(series, "boolean"))
    fitted = FittedFeatures.fit([Boolean("x")], table)
    assert feeds_of([Boolean("x")], table)["x"].tolist() == [[1], [0], [-1]]
    assert exported(fitted, table, "float32").tolist() == [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]
    assert column_of(series, "boolean").values.tolist() == [1, 0, -1]


def test_an_input_is_not_called_as_an_output() -> None:
    names = ("predictions", "predictions_column", "probabilities", "constant", "isnan", "ä b/c")
    values = {name: (pd.Series([1.0, 2.0, 4.0 + place]), "number") for place, name in enumerate(names)}
    table = table_of(**values)  # type: ignore[arg-type]
    fitted = FittedFeatures.fit([Number(name) for name in names], table)
    inputs = [column.input for column in columns_of(fitted, ("predictions", "probabilities"))]
    assert inputs == [
        *("predictions_column_column", "predictions_column", "probabilities_column"),
        *("constant", "isnan", "ä b/c"),
    ]
    plain = [column.input for column in columns_of(fitted, ())]
    assert plain == [*names]
    expected = fitted.encode(table, None, np.dtype("float32")).expanded()
    assert np.array_equal(exported(fitted, table, "float32"), expected)
