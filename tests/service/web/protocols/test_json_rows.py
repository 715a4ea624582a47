"""Rows in JSON and in CSV: whatever comes is read as the network's numbers, or refused at its place."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.data.rows import Array, NumberRows
from models.errors import InvalidError
from models.serving.served_model import ServedModel
from service.web.protocols import json_rows, mlflow
from service.web.protocols.csv_rows import CsvRows
from testing.harness import Server
from tests.service.conftest import Trained
from tests.service.web.protocols.conftest import Tabled

pytestmark = pytest.mark.processes

Read = Callable[[Any, ServedModel, str], Array]
READERS: list[Read] = [json_rows.by_row, json_rows.by_column, *mlflow.ROWS.values()]
COLUMNS = ("age", "sex", "member", "day", "notes", "length", "width", "inputs", "columns", "data", "b64", "")
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False), st.text()
)
DOCUMENTS = st.recursive(
    st.one_of(VALUES, st.lists(st.lists(st.floats(-9, 9), min_size=2, max_size=2), min_size=1)),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.sampled_from(COLUMNS), inner)),
    max_leaves=12,
)
MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="session")
def served(server: Server, trained: Trained, visits: Tabled, sizes: Tabled, single: str) -> list[ServedModel]:
    """Models of every form that the rows of a request depend on."""
    names = (trained.name, visits.name, sizes.name, single)
    versions = [server.client.get(f"/models/{name}/versions/default").json for name in names]
    return [ServedModel(server.data / "checkpoints" / f"{version['checkpoint']}.h5") for version in versions]


def outcome(read: Callable[..., Any], *arguments: Any) -> Any:
    """What is read, or the error."""
    try:
        return read(*arguments)
    except InvalidError as error:
        return error


def require_read_or_refused(read: Callable[[ServedModel], Array], models: list[ServedModel], pointer: str) -> None:
    for model in models:
        found = outcome(read, model)
        if isinstance(found, InvalidError):
            assert found.problems
            assert all(problem.pointer.startswith(pointer) for problem in found.problems), found
            continue
        assert found.shape == (len(found), model.definition.inputs)
        assert len(found) > 0
        assert np.isfinite(found).all() or model.plan is not None


@MANY
@given(document=DOCUMENTS, read=st.sampled_from(READERS))
def test_any_document_is_read_or_refused(served: list[ServedModel], document: Any, read: Read) -> None:
    require_read_or_refused(lambda model: read(document, model, "/place"), served, "/place")
    assert json_rows.count(document) >= 1


@MANY
@given(cells=st.lists(st.lists(st.one_of(st.sampled_from(COLUMNS), VALUES.map(str))), min_size=1), header=st.booleans())
def test_any_csv_is_read_or_refused(served: list[ServedModel], cells: list[list[str]], header: bool) -> None:
    text = io.StringIO()
    csv.writer(text).writerows(cells)
    for given_header in (None, header):
        rows = outcome(lambda known=given_header: CsvRows(text.getvalue(), header=known))
        if isinstance(rows, InvalidError):
            assert rows.detail.startswith("the file: must have at least one row")
        else:
            require_read_or_refused(rows.numbers, served, "")


@MANY
@given(text=st.text(st.sampled_from('a1,."\n\r \t;é'), max_size=40))
def test_any_text_is_read_or_refused(served: list[ServedModel], text: str) -> None:
    rows = outcome(CsvRows, text)
    if not isinstance(rows, InvalidError):
        require_read_or_refused(rows.numbers, served, "")


def test_rows_that_were_read_apart_are_read_alike(served: list[ServedModel]) -> None:
    numbers = np.random.default_rng(2).normal(size=(7, 2))
    apart = NumberRows(numbers, 7, 2)
    for model in (served[0], served[2]):
        for read in (json_rows.by_row, json_rows.by_column):
            np.testing.assert_array_equal(read(apart, model, ""), read(numbers.tolist(), model, ""))
    with pytest.raises(InvalidError, match="must hold 1 numbers"):
        json_rows.by_row(apart, served[3], "/instances")
    assert json_rows.count(apart) == 7


@pytest.mark.parametrize(
    ("document", "count"), [([1, 2, 3], 3), ({"a": [1], "b": [1, 2]}, 2), ({}, 1), ([], 1), (None, 1), ("abc", 1)]
)
def test_rows_are_counted_before_they_are_read(document: Any, count: int) -> None:
    assert json_rows.count(document) == count
