"""Prepared rows: split, numbered by class, weighted, and refused with the place of what is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.dataset import Dataset, from_rows
from models.definition.definition import ModelDefinition
from models.definition.given_rows import GivenRows
from models.errors import InvalidError
from models.training.prepared import Part, PreparedData
from models.training.request import TrainingRequest
from nncore.batches import stratified_split
from nncore.stopping import EarlyStopping
from testing.runs import a_definition, a_request, prepare

#: Labels of a model, by the kind of the label.
CLASSES: list[list[Any]] = [["a", "b", "c"], [7, 1, 4], ["10", "9", "8"]]


class Asked(NamedTuple):
    """A request with its rows, as the client has them."""

    definition: ModelDefinition
    request: TrainingRequest
    inputs: list[list[float]]
    labels: list[Any]
    weights: list[float] | None

    def dataset(self) -> Dataset:
        return from_rows(self.inputs, self.labels, "/data", self.weights)

    def prepared(self) -> PreparedData:
        return prepare(self.definition, self.request, self.dataset())


@st.composite
def requests(draw: st.DrawFn, fractions: st.SearchStrategy[float | None] | None = None) -> Asked:
    """Valid requests; of 12 rows or more, a fraction from 0.2 to 0.5 leaves rows on both sides."""
    classes = draw(st.sampled_from(CLASSES))
    rows = draw(st.integers(12, 60))
    labels = draw(st.lists(st.sampled_from(classes), min_size=rows - 2, max_size=rows - 2))
    labels += classes[:2]
    weights = draw(st.none() | st.lists(st.floats(0.5, 4.0), min_size=rows, max_size=rows))
    numbers = np.random.default_rng(draw(st.integers(0, 99))).normal(size=(rows, 2))
    request = a_request(
        validation_fraction=draw(st.none() | st.floats(0.2, 0.5) if fractions is None else fractions),
        seed=draw(st.integers(0, 1000)),
        class_weights=draw(st.sampled_from([None, "balanced", [1.0, 2.0, 3.0], {str(classes[1]): 5.0}])),
    )
    return Asked(a_definition(classes=classes), request, numbers.tolist(), labels, weights)


class TestSplit:
    """Training rows and rows that are held out."""

    @given(asked=requests())
    def test_every_row_is_in_exactly_one_part(self, asked: Asked) -> None:
        prepared = asked.prepared()
        held_out = [] if prepared.held_out is None else prepared.held_out.tolist()
        assert sorted([*prepared.rows.tolist(), *held_out]) == list(range(len(asked.inputs)))
        assert prepared.validation_rows == len(held_out)

    @given(asked=requests(st.floats(0.2, 0.5)))
    def test_every_class_gives_its_share(self, asked: Asked) -> None:
        prepared, fraction = asked.prepared(), asked.request.validation_fraction
        assert prepared.held_out is not None
        assert fraction is not None
        for code in range(3):
            total = int((prepared.codes == code).sum())
            given = int((prepared.codes[prepared.held_out] == code).sum())
            assert abs(given - fraction * total) <= 1
            assert given < max(total, 1)

    @given(asked=requests(st.floats(0.2, 0.5)))
    def test_the_seed_alone_decides(self, asked: Asked) -> None:
        one = asked.prepared()
        other = asked._replace(request=replace(asked.request, epochs=99, batch_size="full")).prepared()
        assert one.rows.tolist() == other.rows.tolist()

    def test_another_seed_gives_another_split(self) -> None:
        rows = from_rows([[number, 1] for number in range(100)], ["a", "b"] * 50)
        first, second = (
            prepare(a_definition(), a_request(validation_fraction=0.2, seed=seed), rows).rows for seed in (1, 2)
        )
        assert first.tolist() != second.tolist()

    @pytest.mark.parametrize(("rows", "fraction"), [(2, 0.1), (2, 0.9), (3, 0.01)])
    def test_a_fraction_that_leaves_a_side_empty_is_refused(self, rows: int, fraction: float) -> None:
        data = from_rows([[1, 2]] * rows, ["ab"[row % 2] for row in range(rows)])
        assert _place(a_request(validation_fraction=fraction), data) == "/validation/fraction"


class TestValues:
    """The arrays, against the same mathematics written out here."""

    @given(asked=requests())
    def test_codes_decode_to_the_labels(self, asked: Asked) -> None:
        prepared = asked.prepared()
        assert [asked.definition.classes[code] for code in prepared.codes.tolist()] == asked.labels

    @given(asked=requests())
    def test_the_parts_are_the_rows_that_the_equations_give(self, asked: Asked) -> None:
        prepared, fraction = asked.prepared(), asked.request.validation_fraction
        codes = np.array([asked.definition.classes.index(label) for label in asked.labels])
        inputs = np.array(asked.inputs)
        training, held_out = np.arange(len(codes)), None
        if fraction is not None:
            training, held_out = stratified_split(codes, fraction, asked.request.seed)
        weights = None if asked.weights is None else np.array(asked.weights)[training]
        _assert_equal(prepared.training_part(), Part(inputs[training], codes[training], weights))
        assert (prepared.validation_part() is None) == (held_out is None)
        if held_out is not None:
            found = prepared.validation_part()
            assert found is not None
            _assert_equal(found, Part(inputs[held_out], codes[held_out]))

    @given(asked=requests())
    def test_class_weights_stand_in_the_order_of_the_classes(self, asked: Asked) -> None:
        found = asked.prepared().class_weights
        match asked.request.class_weights:
            case None | "balanced":
                assert found == asked.request.class_weights
            case dict() as named:
                assert found == [named.get(str(label), 1.0) for label in asked.definition.classes]
            case listed:
                assert found == listed

    def test_the_definitions_class_weights_count_unless_the_request_has_some(self) -> None:
        data = from_rows([[1, 2], [3, 4], [5, 6]], ["a", "b", "c"])
        definition = a_definition(class_weights=[1.0, 2.0, 3.0])
        assert prepare(definition, a_request(), data).class_weights == [1.0, 2.0, 3.0]
        assert prepare(definition, a_request(class_weights="balanced"), data).class_weights == "balanced"

    @given(asked=requests(), count=st.integers(1, 80))
    def test_the_first_rows_are_all_for_training(self, asked: Asked, count: int) -> None:
        whole = asked.prepared()
        few = whole.first(count)
        expected = Part(
            *(None if array is None else array[:count] for array in (whole.inputs, whole.codes, whole.weights))
        )  # type: ignore[arg-type]
        _assert_equal(few.training_part(), expected)
        assert few.validation_part() is None
        assert few.rows.tolist() == list(range(min(count, len(asked.inputs))))


class TestMemory:
    """Rows are copied only if a run needs them apart."""

    def test_rows_that_are_not_split_are_never_copied(self) -> None:
        data = from_rows([[1, 2], [3, 4]], ["a", "b"])
        given = from_rows([[5, 6]], ["a"])
        prepared = prepare(a_definition(), a_request(), data, given)
        assert prepared.training_part().inputs is data.inputs
        validation = prepared.validation_part()
        assert validation is not None
        assert validation.inputs is given.inputs

    def test_a_split_keeps_row_numbers_and_no_rows(self) -> None:
        data = from_rows([[number, 1] for number in range(20)], ["a", "b"] * 10)
        prepared = prepare(a_definition(), a_request(validation_fraction=0.3), data)
        assert prepared.inputs is data.inputs
        assert prepared.training_part().inputs is not prepared.training_part().inputs


class TestMonitor:
    """What decides which epoch is the best."""

    @pytest.mark.parametrize(
        ("stopping", "fraction", "monitor"),
        [
            (None, None, "loss"),
            (None, 0.3, "validation_loss"),
            (EarlyStopping(), 0.3, "validation_loss"),
            (EarlyStopping(monitor="accuracy"), 0.3, "accuracy"),
            (EarlyStopping(monitor="validation_accuracy"), 0.3, "validation_accuracy"),
        ],
    )
    def test_it_follows_the_validation_unless_it_is_named(
        self, stopping: EarlyStopping | None, fraction: float | None, monitor: str
    ) -> None:
        data = from_rows([[number, 1] for number in range(20)], ["a", "b"] * 10)
        request = a_request(early_stopping=stopping, validation_fraction=fraction)
        assert prepare(a_definition(), request, data).monitor == monitor

    def test_rows_that_are_given_apart_are_validation_too(self) -> None:
        data = from_rows([[1, 2], [3, 4]], ["a", "b"])
        assert prepare(a_definition(), a_request(), data, data).monitor == "validation_loss"

    def test_the_minimum_change_is_that_of_early_stopping(self) -> None:
        data = from_rows([[1, 2], [3, 4]], ["a", "b"])
        assert prepare(a_definition(), a_request(early_stopping=EarlyStopping(min_delta=0.25)), data).min_delta == 0.25
        assert prepare(a_definition(), a_request(), data).min_delta == 0.0


GOOD = from_rows([[1, 2], [3, 4]], ["a", "b"])


@pytest.mark.parametrize(
    ("request_members", "data", "validation", "pointer"),
    [
        ({}, from_rows([[1, 2, 3], [3, 4, 5]], ["a", "b"]), None, "/data/inputs"),
        ({}, from_rows([[1, 2], [3, -1e39]], ["a", "b"]), None, "/data/inputs/1/1"),
        ({}, from_rows([[1, 2], [1e39, 4]], ["a", "b"]), None, "/data/inputs/1/0"),
        ({}, from_rows([[1, 2], [3, 4]], ["a", "z"]), None, "/data/labels/1"),
        ({}, from_rows([[1, 2], [3, 4]], ["a", "a"]), None, "/data/labels"),
        ({}, GOOD, from_rows([[1]], ["a"]), "/validation/inputs"),
        ({}, GOOD, from_rows([[1, 1e39]], ["a"]), "/validation/inputs/0/1"),
        ({}, GOOD, from_rows([[1, 2]], ["z"]), "/validation/labels/0"),
        ({"class_weights": [1.0]}, GOOD, None, "/class_weights"),
        ({"class_weights": {"z": 1.0}}, GOOD, None, "/class_weights"),
        ({"early_stopping": EarlyStopping(monitor="validation_loss")}, GOOD, None, "/early_stopping/monitor"),
    ],
)
def test_what_is_refused_is_named_by_its_place(
    request_members: dict[str, Any], data: Dataset, validation: Dataset | None, pointer: str
) -> None:
    assert _place(a_request(**request_members), data, validation) == pointer


def test_rows_of_a_stored_dataset_are_named_by_the_dataset() -> None:
    for rows in ([[1, 2], [3, 1e39]], [[1], [2]]):
        with pytest.raises(InvalidError) as refusal:
            GivenRows(from_rows(rows, ["a", "b"]), "/data", stored=True).codes_for(a_definition())
        assert [problem.pointer for problem in refusal.value.problems] == ["/data/dataset"]


def test_the_largest_number_of_each_sign_fits() -> None:
    largest = float(np.finfo(np.float32).max)
    rows = from_rows([[largest, 0.0], [-largest, 0.0]], ["a", "b"])
    assert prepare(a_definition(), a_request(), rows).codes.tolist() == [0, 1]


def _place(request: TrainingRequest, data: Dataset, validation: Dataset | None = None) -> str:
    with pytest.raises(InvalidError) as refusal:
        prepare(a_definition(), request, data, validation)
    (problem,) = refusal.value.problems
    return problem.pointer


def _assert_equal(found: Part, expected: Part) -> None:
    assert np.array_equal(found.inputs, expected.inputs)
    assert found.codes.tolist() == expected.codes.tolist()
    assert (found.weights is None) == (expected.weights is None)
    if found.weights is not None and expected.weights is not None:
        assert np.array_equal(found.weights, expected.weights)
