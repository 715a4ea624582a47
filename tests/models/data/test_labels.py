"""Labels by value: what JSON and columns hold, and which class each label is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.columns import Column
from models.data.dataset import from_rows
from models.data.labels import MISSING_LABEL, UNKNOWN_LABEL, classes_of, match, parse_labels, same_labels
from models.definition.class_weights import weights_of_classes
from models.errors import InvalidError

#: Classes, a label, and the place of its class.
MATCHES: dict[str, tuple[tuple[Any, ...], Any, int]] = {
    "text for a number": ((1, 2), "1", 0),
    "a float for a number": ((1, 2), 2.0, 1),
    "text of a float for a number": ((1, 2), "2.0", 1),
    "a number for text": (("1", "2"), 2, 1),
    "a float for text": (("1", "2"), 2.0, 1),
    "a fraction for text": (("1.5", "2"), 1.5, 0),
    "exactness comes first": (("1", "1.0"), "1.0", 1),
    "two classes of one value": (("1", "1.0"), 1, UNKNOWN_LABEL),
    "zeros in front matter": ((7, 8), "007", UNKNOWN_LABEL),
    "spaces around": (("a", "b"), " b ", 1),
    "case matters": (("a", "b"), "B", UNKNOWN_LABEL),
    "text for a boolean": ((False, True), "TRUE", 1),
    "a boolean for text": (("false", "true"), True, 1),
    "a boolean for a word": (("no", "yes"), False, 0),
    "a boolean for the other order": (("yes", "no"), False, 1),
    "a word in another case": (("no", "yes"), "YES", 1),
    "a word for a boolean": ((False, True), "no", 0),
    "true is not 1": ((0, 1), True, UNKNOWN_LABEL),
    "1 is not true": ((False, True), 1, UNKNOWN_LABEL),
    "true among three words": (("maybe", "no", "yes"), True, UNKNOWN_LABEL),
    "null": (("a", "b"), None, MISSING_LABEL),
    "a missing word": (("a", "b"), "N/A", MISSING_LABEL),
    "a missing word that is a class": (("+", "-"), "-", 1),
    "not a number": ((1, 2), float("nan"), MISSING_LABEL),
    "large numbers stay apart": ((2**53, 2**53 + 1), 2**53 + 1, 1),
    "large numbers as text": ((2**53, 2**53 + 1), str(2**53 + 1), 1),
}


@pytest.mark.parametrize("case", MATCHES)
def test_labels_match_by_value(case: str) -> None:
    classes, label, place = MATCHES[case]
    assert match([label], classes).tolist() == [place]


CLASS = st.one_of(st.integers(-(2**52), 2**52), st.booleans(), st.text(max_size=5))


@given(st.lists(st.integers(-1000, 1000), min_size=2, unique=True), st.data())
def test_every_spelling_of_a_number_is_its_class(numbers: list[int], data: st.DataObject) -> None:
    spell = st.sampled_from([int, float, str, lambda x: str(float(x)), lambda x: f" {x} "])
    labels = [data.draw(spell)(number) for number in numbers]
    assert match(labels, numbers).tolist() == [*range(len(numbers))]
    assert match(labels, [*map(str, numbers)]).tolist() == [*range(len(numbers))]


@given(st.lists(CLASS, unique_by=lambda label: (type(label), label), min_size=2))
def test_a_class_is_itself(classes: list[Any]) -> None:
    assert match(classes, classes).tolist() == [*range(len(classes))]
    assert same_labels(classes, list(classes))


#: Labels in JSON, and the label that each row gets; None for no label.
PARSED: dict[str, tuple[list[Any], list[Any]]] = {
    "booleans": ([True, False, True], [True, False, True]),
    "whole floats": ([1.0, 2.0, 1.0], [1, 2, 1]),
    "whole floats among integers": ([1, 2.0, 1.0], [1, 2, 1]),
    "text that equals a number": ([0, 1, "1"], [0, 1, 1]),
    "a number that equals text": (["a", "1", 1], ["a", "1", "1"]),
    "text that equals a boolean": ([True, False, "FALSE"], [True, False, False]),
    "spellings of one number": (["1", "1.0", "2"], ["1", "1", "2"]),
    "null": ([1, None, 2], [1, None, 2]),
    "null first": ([None, "a", "b"], [None, "a", "b"]),
    "missing words": (["a", "NA", "b", "?", "-", "", "null"], ["a", None, "b", None, None, None, None]),
    "missing words among numbers": ([1, "nan", 2], [1, None, 2]),
    "none is a class": (["none", "mild", "severe"], ["none", "mild", "severe"]),
    "plus and minus": (["+", "-", "+"], ["+", "-", "+"]),
    "an empty one of two": (["a", "", "b"], ["a", None, "b"]),
}


@pytest.mark.parametrize("case", PARSED)
def test_labels_in_json(case: str) -> None:
    values, expected = PARSED[case]
    labels = parse_labels(values, "")
    found = [None if code < 0 else labels.classes[code] for code in labels.codes]
    assert [(type(label), label) for label in found] == [(type(label), label) for label in expected]
    assert list(labels.classes) == sorted(labels.classes)


def test_rows_without_a_label_are_left_out_and_counted() -> None:
    dataset = from_rows([[1], [2], [3], [4]], ["a", None, "NA", "b"], weights=[1, 2, 3, 4])
    assert dataset.inputs.ravel().tolist() == [1, 4]
    assert dataset.labels.codes.tolist() == [0, 1]
    assert dataset.weights is not None
    assert dataset.weights.tolist() == [1, 4]
    assert dataset.left_out == 2
    with pytest.raises(InvalidError) as refused:
        dataset.codes_for(("a", "c"), "/labels")
    assert refused.value.problems[0].pointer == "/labels/3"


def codes(column: Column) -> list[Any]:
    labels = classes_of(column)
    return [None if code < 0 else labels.classes[code] for code in labels.codes]


def test_labels_of_columns() -> None:
    numbers = Column("number", np.array([2.0, np.nan, 1.0, 2.0]))
    assert codes(numbers) == [2, None, 1, 2]
    assert classes_of(numbers).classes == (1, 2)
    assert codes(Column("number", np.array([0.5, 2.0]))) == ["0.5", "2"]
    assert codes(Column("number", np.array([3, 1], np.int64))) == [3, 1]
    assert codes(Column("boolean", np.array([1, 0, -1], np.int8), ("FALSE", "TRUE"))) == [True, False, None]
    assert codes(Column("boolean", np.array([1, 0, -1], np.int8), ("no", "yes"))) == ["yes", "no", None]
    words = Column("category", np.array([0, 1, 2, -1], np.int32), ("b", "a", "c"))
    assert codes(words) == ["b", "a", "c", None]
    assert classes_of(words).classes == ("a", "b", "c")
    forced = Column("category", np.array([0, 1, 2], np.int32), ("10", "9", "1"))
    assert classes_of(forced).classes == ("1", "9", "10")
    assert codes(Column("text", np.array(["x", "", "w"], object))) == ["x", None, "w"]


def test_many_numbers_are_no_classes() -> None:
    assert len(classes_of(Column("number", np.arange(50.0))).classes) == 50
    with pytest.raises(InvalidError, match="numbers to estimate, not classes"):
        classes_of(Column("number", np.arange(51.0)))
    with pytest.raises(InvalidError, match="times"):
        classes_of(Column("datetime", np.arange(3)))


@given(st.lists(st.one_of(st.none(), st.integers(0, 9)), min_size=1).filter(any))
def test_codes_of_a_column_are_those_of_pandas(values: list[int | None]) -> None:
    column = Column("number", np.array([np.nan if value is None else value for value in values], float))
    expected, classes = pd.factorize(pd.Series(values, dtype="Int64"), sort=True)
    labels = classes_of(column)
    assert labels.codes.tolist() == expected.tolist()
    assert list(labels.classes) == classes.tolist()


def test_weights_by_label_match_by_value() -> None:
    assert weights_of_classes({"true": 3.0}, (False, True)) == [1.0, 3.0]
    assert weights_of_classes({"1.0": 2.0}, (0, 1)) == [1.0, 2.0]
    assert weights_of_classes({"YES": 2.0}, ("no", "yes")) == [1.0, 2.0]
    with pytest.raises(InvalidError, match="the same"):
        weights_of_classes({"1": 1.0, "1.0": 2.0}, (0, 1))
    with pytest.raises(InvalidError, match="only classes"):
        weights_of_classes({"True": 1.0, "maybe": 2.0}, (False, True))


def test_booleans_are_not_the_numbers_0_and_1() -> None:
    assert not same_labels((False, True), (0, 1))
    assert not same_labels((0, 1), ("0", "1"))
