"""Rows as clients give them: the short way and the long way agree, and every fault has its place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InvalidError
from models.features.fitted import FittedFeatures
from models.features.plan import ServingPlan
from nncore.arrays import Array
from testing.tables import a_frame, a_table, of_table

DTYPE = np.dtype("float32")


def plan_of(features: Any = None, frame: pd.DataFrame | None = None) -> ServingPlan:
    table = a_table(frame)
    definition = of_table(table) if features is None else of_table(table, features=features)
    assert isinstance(definition.features, tuple)
    return ServingPlan(FittedFeatures.fit(definition.features, table), "label", DTYPE)


#: All columns; those that the short way takes; numbers alone.
PLANS = {
    "all": plan_of(),
    "short": plan_of({"notes": "ignore", "day": "ignore"}),
    "numbers": plan_of(frame=a_frame()[["age", "label"]].assign(size=np.arange(60.0) % 7, height=1.5)),
    "robust": plan_of(
        {
            "notes": "ignore",
            "day": "ignore",
            "age": {"scale": "robust_bins"},
            "sex": {"signed": True, "min_count": 2},
            "size": {"scale": "robust_bins", "bins": 4},
            "height": {"scale": "robust_clip"},
            "weight": {"scale": "robust_bins"},
        },
        a_frame().assign(
            sex=np.array(["male", "female"], object)[np.arange(60) % 2],
            size=np.arange(60.0) % 7,
            height=np.arange(60.0) ** 3,
            weight=2.5,
        ),
    ),
    "robust numbers": plan_of(
        {name: {"scale": "robust_bins"} for name in ("size", "height")},
        a_frame()[["label"]].assign(size=np.arange(60.0) % 7, height=np.arange(60.0) ** 3),
    ),
    "complete numbers": plan_of(frame=a_frame()[["label"]].assign(size=np.arange(60.0) % 7, height=np.arange(60.0))),
}

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "age": st.floats(-1e3, 1e3) | st.integers(-5, 200),
    "size": st.floats(-1e3, 1e3) | st.integers(-5, 200),
    "height": st.floats(-1e3, 1e3),
    "weight": st.floats(-1e3, 1e3),
    "sex": st.sampled_from(["female", "male", "other"]),
    "member": st.booleans(),
    "day": st.dates().map(str),
    "notes": st.text("abc rain sun", min_size=1),
}


@st.composite
def rows_for(draw: st.DrawFn, plan: ServingPlan) -> list[dict[str, Any]]:
    """Rows of good values, some of them missing, in any order of the columns."""
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        row = {}
        for name in draw(st.permutations(plan.columns)):
            how = draw(st.integers(0, 9))
            if how > 1:
                row[name] = draw(VALUES[name])
            elif how == 1:
                row[name] = None
        rows.append(row)
    return rows


def by_frame(plan: ServingPlan, rows: list[dict[str, Any]]) -> Array:
    """The long way by pandas: a frame with all columns, as the rows of a training table."""
    frame = pd.DataFrame(rows, columns=plan.columns, dtype=object)
    for name in frame.columns:
        if name in ("age", "size", "height", "weight"):
            frame[name] = frame[name].astype(float)
        elif name == "day":
            frame[name] = pd.Series(
                np.array([day if isinstance(day, str) else "NaT" for day in frame[name]], "datetime64[us]")
            )
        elif name == "notes":
            frame[name] = frame[name].map(lambda text: text.strip() if isinstance(text, str) else text)
    return plan.fitted.encode(a_table(frame), None, DTYPE).expanded()


@pytest.mark.parametrize("name", PLANS)
@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_objects_and_lists_become_what_a_table_becomes(name: str, data: st.DataObject) -> None:
    plan = PLANS[name]
    rows = data.draw(rows_for(plan))
    for row in rows:
        # A text of spaces, or a word for a missing value, is none.
        if row.get("notes") is not None and row["notes"].strip().lower() in ("", "na", "nan"):
            row["notes"] = None
    expected = by_frame(plan, rows)
    np.testing.assert_allclose(plan.records(rows), expected, rtol=1e-6, atol=1e-6)
    columns = data.draw(st.permutations(plan.columns))
    lists = [[row.get(name) for name in columns] for row in rows]
    np.testing.assert_allclose(plan.lists(columns, lists), expected, rtol=1e-6, atol=1e-6)
    for place, row in enumerate(rows):
        np.testing.assert_allclose(plan.records([row])[0], expected[place], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["numbers", "complete numbers", "robust numbers"])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_matrix_is_the_same_rows_without_names(name: str, data: st.DataObject) -> None:
    plan = PLANS[name]
    assert plan.takes_matrix
    numbers = data.draw(
        st.lists(
            st.lists(st.floats(-1e3, 1e3), min_size=len(plan.columns), max_size=len(plan.columns)),
            min_size=1,
            max_size=5,
        )
    )
    rows = [dict(zip(plan.columns, row, strict=True)) for row in numbers]
    assert np.array_equal(plan.matrix(np.array(numbers)), plan.records(rows))


@pytest.mark.parametrize("name", PLANS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_reports_say_the_same_on_every_way(name: str, data: st.DataObject) -> None:
    """Complete rows, which may take the short way, and rows with gaps; objects, lists and a matrix."""
    plan = PLANS[name]
    complete = st.fixed_dictionaries({each: VALUES[each] for each in plan.columns})
    rows = data.draw(st.lists(complete, min_size=1, max_size=4) | rows_for(plan))
    expected = plan.report(plan.table_of_records(rows))
    found, reports = plan.reported_records(rows)
    assert reports == expected
    assert np.array_equal(found, plan.records(rows))
    lists = [[row.get(name) for name in plan.columns] for row in rows]
    found, reports = plan.reported_lists(plan.columns, lists)
    assert reports == expected
    assert np.array_equal(found, plan.lists(plan.columns, lists))
    if plan.takes_matrix and all(value is not None for row in lists for value in row):
        assert plan.report_matrix(np.array(lists, np.float64)) == expected


@pytest.mark.parametrize("name", ["robust", "robust numbers"])
@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_the_short_way_makes_the_same_bits(name: str, data: st.DataObject) -> None:
    """Numbers on the edges of bins, close to them and far away."""
    plan = PLANS[name]
    edges = [learned["edges"] for _, learned in plan.fitted.pairs() if "edges" in learned]
    near = st.sampled_from(np.concatenate(edges).tolist())
    numbers = near | near.map(lambda edge: float(np.nextafter(edge, np.inf))) | st.floats(-1e308, 1e308)
    values = {**dict.fromkeys(("age", "size", "height", "weight"), numbers), "member": st.booleans()}
    values["sex"] = st.sampled_from(["female", "male"])
    rows = data.draw(st.lists(st.fixed_dictionaries({each: values[each] for each in plan.columns}), min_size=1))
    quick = plan._quick
    assert quick is not None
    found = quick.records(rows)
    assert found is not None
    assert np.array_equal(found, plan.table(plan.table_of_records(rows)))


def test_complete_rows_of_the_short_way_take_it() -> None:
    """Otherwise the test of agreement would compare the long way with itself."""
    good = {"age": 3, "sex": "male", "member": True}
    quick = PLANS["short"]._quick
    assert quick is not None
    assert quick.records([good]) is not None
    for bad in ({**good, "sex": "other"}, {**good, "member": 1}, {**good, "age": None}, {"age": 3, "sex": "male"}, []):
        assert quick.records([bad]) is None
    assert PLANS["all"]._quick is None


def problems(rows: Any, name: str = "all") -> list[tuple[str, str]]:
    with pytest.raises(InvalidError) as refusal:
        PLANS[name].records(rows)
    return [(problem.pointer, problem.detail) for problem in refusal.value.problems]


def test_faults_have_their_places() -> None:
    found = problems([{"age": 1}, {"agee": 2, "sexx": "male"}])
    assert [pointer for pointer, _ in found] == ["/rows/1/agee", "/rows/1/sexx"]
    assert "did you mean 'age'?" in found[0][1]
    found = problems([{"age": "old"}, {"age": 3, "day": "someday"}])
    assert [pointer for pointer, _ in found] == ["/rows/0/age", "/rows/1/day"] or found[0][0] == "/rows/1/age"
    assert problems([])[0][0] == "/rows"
    assert problems({"age": 3})[0][0] == "/rows"
    assert problems([3])[0][0] == "/rows/0"
    assert problems([{"notes": {"a": 1}}])[0][0] == "/rows/0/notes"
    assert len(problems([{f"x{place}": 1 for place in range(50)}])) == 20


def test_the_label_and_columns_that_are_set_aside_may_be_there() -> None:
    plan, row = PLANS["short"], {"age": 3.0, "sex": "male", "member": True}
    with_more = {**row, "label": "yes", "notes": "what", "day": None}
    assert np.array_equal(plan.records([row]), plan.records([with_more]))


def test_a_refused_gap_is_named() -> None:
    frame = a_frame()[["age", "sex", "label"]].dropna().reset_index(drop=True)
    plan = plan_of({"age": {"missing": "refuse"}}, frame)
    with pytest.raises(InvalidError) as refusal:
        plan.records([{"age": 1, "sex": "male"}, {"sex": "male"}])
    assert refusal.value.problems[0].pointer == "/rows/1/age"


def test_the_report_says_what_is_unusual() -> None:
    plan, frame = PLANS["all"], a_frame()
    rows = [
        {"age": float(frame["age"].max()) + 1, "sex": "other", "member": True, "day": "1815-06-18", "notes": "fine"},
        {"age": float(frame["age"].max()), "sex": "male", "member": None, "day": "2020-01-20"},
        {},
    ]
    report = plan.report(plan.table_of_records(rows))
    assert report[0]._asdict() == {"unseen": ["sex"], "missing": [], "out_of_range": ["age", "day"]}
    assert report[1]._asdict() == {"unseen": [], "missing": ["member", "notes"], "out_of_range": []}
    assert report[2]._asdict() == {"unseen": [], "missing": plan.columns, "out_of_range": []}
