"""Numbers and labels from parsed JSON: valid values, and the place of each error."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.dataset import from_rows
from models.data.labels import parse_labels
from models.data.rows import number_matrix
from models.errors import InvalidError, describe

FINITE = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64 - 1)


def place(call: Any, *arguments: Any, **options: Any) -> str:
    """The pointer of the single fault that a call raises."""
    with pytest.raises(InvalidError) as refusal:
        call(*arguments, **options)
    (problem,) = refusal.value.problems
    assert problem.detail
    return problem.pointer


@given(st.integers(1, 5).flatmap(lambda n: st.lists(st.lists(FINITE, min_size=n, max_size=n), min_size=1)))
def test_rows_of_numbers_become_the_same_numbers(rows: list[list[float]]) -> None:
    matrix = number_matrix(rows, "")
    assert matrix.shape == (len(rows), len(rows[0]))
    assert matrix.tolist() == [[float(cell) for cell in row] for row in rows]


def test_single_precision_rounds_like_numpy() -> None:
    matrix = number_matrix([[0.1, 1], [16777217, -3.4e38]], "", np.float32)
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[np.float32(0.1), 1.0], [16777216.0, np.float32(-3.4e38)]]


BAD_MATRICES: dict[str, tuple[Any, str]] = {
    "null": (None, "/inputs"),
    "a number": (3, "/inputs"),
    "a string": ("[[1]]", "/inputs"),
    "an object": ({"0": [1]}, "/inputs"),
    "no rows": ([], "/inputs"),
    "an empty row": ([[]], "/inputs/0"),
    "an empty row later": ([[1.0], []], "/inputs/1"),
    "a flat list": ([1, 2], "/inputs/0"),
    "a row that is null": ([[1], None], "/inputs/1"),
    "a row that is an object": ([[1], {}], "/inputs/1"),
    "a row that is a string": ([[1], "12"], "/inputs/1"),
    "a longer row": ([[1, 2], [1, 2], [1, 2, 3]], "/inputs/2"),
    "a shorter row": ([[1, 2], [1]], "/inputs/1"),
    "a numeric string": ([[1, 2], [3, "4"]], "/inputs/1/1"),
    "true": ([[1, True]], "/inputs/0/1"),
    "false among floats": ([[1.5], [False]], "/inputs/1/0"),
    "null within": ([[1, None]], "/inputs/0/1"),
    "a nested list": ([[1, [2]]], "/inputs/0/1"),
    "three levels": ([[[1]]], "/inputs/0/0"),
    "an object within": ([[1, {}]], "/inputs/0/1"),
}


@pytest.mark.parametrize("fault", BAD_MATRICES)
def test_what_is_no_matrix_is_refused_at_its_place(fault: str) -> None:
    value, pointer = BAD_MATRICES[fault]
    assert place(number_matrix, value, "/inputs") == pointer


def test_a_number_beyond_single_precision_is_refused() -> None:
    largest = float(np.finfo(np.float32).max)
    assert np.isfinite(number_matrix([[largest, -largest]], "", np.float32)).all()
    assert place(number_matrix, [[1, 2], [3, 1e39]], "/inputs", np.float32) == "/inputs/1/1"
    assert place(number_matrix, [[-1e39]], "/inputs", np.float32) == "/inputs/0/0"
    assert number_matrix([[1e39]], "/inputs").tolist() == [[1e39]]


def test_the_refusal_of_a_number_that_rounds_up_to_infinity_names_it() -> None:
    # Above the largest float32 by less than half a step, so it rounds down and is valid.
    assert number_matrix([[3.4028235e38]], "/inputs", np.float32).tolist() == [[float(np.finfo(np.float32).max)]]
    assert place(number_matrix, [[3.4028236e38]], "/inputs", np.float32) == "/inputs/0/0"


def test_another_width_names_expected_and_given() -> None:
    with pytest.raises(InvalidError, match=r"must hold 3 numbers.*Received: 2"):
        number_matrix([[1, 2]], "/inputs", width=3)
    assert place(number_matrix, [[1, 2, 3], [1, 2]], "/inputs", width=3) == "/inputs/1"
    assert number_matrix([[1, 2, 3]], "/inputs", width=3).shape == (1, 3)


def test_labels_are_sorted_and_numbered() -> None:
    colours = parse_labels(["red", "blue", "red", "green"], "")
    assert (colours.classes, colours.codes.tolist(), colours.kind) == (
        ("blue", "green", "red"),
        [2, 0, 2, 1],
        "values",
    )
    numbers = parse_labels([10, 9, -1, 10], "")
    assert (numbers.classes, numbers.codes.tolist()) == ((-1, 9, 10), [2, 1, 0, 2])


def test_one_hot_rows_stand_for_their_columns() -> None:
    labels = parse_labels([[0, 0, 1], [1, 0, 0], [0.0, 0.0, 1.0]], "")
    assert (labels.classes, labels.codes.tolist(), labels.kind) == ((0, 1, 2), [2, 0, 2], "one_hot")


@given(st.lists(st.text("abxyz", min_size=1, max_size=3), min_size=1) | st.lists(st.integers(), min_size=1))
def test_labels_stand_for_themselves(values: list[Any]) -> None:
    labels = parse_labels(values, "")
    assert [labels.classes[code] for code in labels.codes] == values
    assert list(labels.classes) == sorted(set(values))


BAD_LABELS: dict[str, tuple[Any, str]] = {
    "null": (None, "/labels"),
    "none": ([], "/labels"),
    "a string": ("red", "/labels"),
    "an object": ({}, "/labels"),
    "a fraction": ([0, 1.5], "/labels/1"),
    "a boolean": ([0, True], "/labels/1"),
    "nulls alone": ([None, None], "/labels"),
    "a huge float": ([0.0, 1e300], "/labels/1"),
    "a string among numbers": ([0, 1, "2"], "/labels/2"),
    "a number among strings": (["a", "b", 0], "/labels/2"),
    "a list among numbers": ([0, [0, 1]], "/labels/1"),
    "a number among one-hot rows": ([[0, 1], 0], "/labels/0"),
    "objects": ([{}, {}], "/labels/0"),
    "two ones": ([[0, 1], [1, 1]], "/labels/1"),
    "no one": ([[0, 1], [0, 0]], "/labels/1"),
    "shares": ([[0.5, 0.5]], "/labels/0"),
    "a two": ([[0, 1], [0, 1], [2, -1]], "/labels/2"),
    "ragged one-hot rows": ([[0, 1], [1]], "/labels/1"),
    "one-hot of strings": ([["0", "1"]], "/labels/0/0"),
    "one-hot of booleans": ([[False, True]], "/labels/0/0"),
    "one-hot of huge numbers": ([[0, 1], [1.7e308, 1.7e308]], "/labels/1"),
}


@pytest.mark.parametrize("fault", BAD_LABELS)
def test_what_is_no_label_is_refused_at_its_place(fault: str) -> None:
    value, pointer = BAD_LABELS[fault]
    assert place(parse_labels, value, "/labels") == pointer


def test_rows_and_labels_make_a_dataset() -> None:
    dataset = from_rows([[1, 2], [3, 4]], ["b", "a"])
    assert dataset.inputs.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert (dataset.labels.codes.tolist(), dataset.labels.classes) == ([1, 0], ("a", "b"))
    assert (dataset.rows, dataset.features) == (2, ("feature_0", "feature_1"))


@pytest.mark.parametrize("labels", [[0], [0, 1, 0]])
def test_as_many_labels_as_rows(labels: list[int]) -> None:
    assert place(from_rows, [[1], [2]], labels, "/data") == "/data/labels"


class TestCodes:
    """Labels of the data as numbers of the model's classes."""

    def test_the_order_is_the_models(self) -> None:
        data = from_rows([[1], [2], [3]], ["red", "blue", "red"])
        assert data.codes_for(("red", "green", "blue"), "").tolist() == [0, 2, 0]

    def test_a_label_outside_the_classes_is_refused_by_its_row(self) -> None:
        data = from_rows([[1], [2], [3]], ["red", "pink", "blue"])
        with pytest.raises(InvalidError) as refusal:
            data.codes_for(("red", "blue"), "/data/labels")
        (problem,) = refusal.value.problems
        assert problem.pointer == "/data/labels/1"
        assert "'pink'" in problem.detail
        assert "'red'" in problem.detail

    def test_numbers_and_strings_from_json_match_by_value(self) -> None:
        assert from_rows([[1], [2]], [0, 1]).codes_for(("1", "0"), "/labels").tolist() == [1, 0]
        assert from_rows([[1], [2]], ["0", "1"]).codes_for((1, 0), "/labels").tolist() == [1, 0]

    def test_one_hot_columns_are_places(self) -> None:
        data = from_rows([[1], [2]], [[0, 0, 1], [1, 0, 0]])
        assert data.codes_for(("x", "y", "z"), "").tolist() == [2, 0]
        assert place(data.codes_for, ("x", "y"), "/labels") == "/labels"

    def test_rows_of_one_class_are_refused(self) -> None:
        assert place(from_rows([[1], [2]], [4, 4]).require_two_classes, "/data/labels") == "/data/labels"
        assert place(from_rows([[1], [2]], [[0, 1], [0, 1]]).require_two_classes, "/labels") == "/labels"
        from_rows([[1], [2]], [4, 5]).require_two_classes("/labels")


@pytest.mark.parametrize(
    ("value", "picture"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        ({"a": 1}, "an object"),
        ([1, 2], "[1, 2]"),
        (["a"], "a list of 1"),
        (list(range(9)), "a list of 9"),
        ("a" * 100, repr("a" * 57 + "…")),
        (1.5, "1.5"),
        (math.inf, "inf"),
    ],
)
def test_received_values_are_pictured_shortly(value: Any, picture: str) -> None:
    assert describe(value) == picture
