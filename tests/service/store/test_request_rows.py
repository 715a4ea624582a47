"""Rows of a request, with only a database and files, without a web application."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from models.data.dataset import from_rows
from models.errors import InvalidError
from models.formats.dataset_file import load_label
from models.identifiers import new_id
from models.registry import datasets
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.store.request_rows import Source, keep
from testing.databases import new_database
from testing.runs import a_definition

ROWS = [[1.0, 2.0], [3.0, 4.0], [5.0, 1e39]]
LABELS = ["a", "b", "z"]


class Store(NamedTuple):
    database: Database
    files: FileStore

    def keep(self, name: str | None) -> str:
        """Store rows as a dataset; its id."""
        dataset_id = new_id("ds")
        values, record = keep(self.files, dataset_id, "local", name, from_rows(ROWS, LABELS))
        with self.database.write() as connection:
            datasets.add_dataset(connection, values, record)
        return dataset_id

    def source(self, part: dict[str, Any]) -> Source:
        return Source(self.database, self.files, part, "/data")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(new_database(tmp_path), FileStore(tmp_path))


def test_inline_rows_have_no_dataset_yet(store: Store) -> None:
    source = store.source({"inputs": ROWS, "labels": LABELS})
    assert (source.dataset_id, source.document(3)) == (None, {"rows": 3})
    assert source.matrix is not None
    assert source.matrix.dataset.inputs.tolist() == ROWS


@pytest.mark.parametrize("by", ["name", "id"])
def test_a_dataset_is_found_by_name_and_by_id(store: Store, by: str) -> None:
    dataset_id = store.keep("points")
    named = "points" if by == "name" else dataset_id
    source = store.source({"dataset": named})
    assert (source.dataset_id, source.document(3)) == (dataset_id, {"dataset": named, "rows": 3})
    assert source.matrix is not None
    assert source.matrix.dataset.inputs.tolist() == ROWS


def test_an_unknown_dataset_is_refused_at_its_name(store: Store) -> None:
    with pytest.raises(InvalidError) as refusal:
        store.source({"dataset": "nothing"})
    assert refusal.value.problems[0].pointer == "/data/dataset"


@pytest.mark.parametrize(
    ("classes", "stored", "pointer", "row"),
    [
        (["a", "b", "z"], False, "/data/inputs/2/1", 3),
        (["a", "b", "z"], True, "/data/dataset", 3),
    ],
)
def test_a_bad_row_is_named_where_the_client_wrote_it(
    store: Store, classes: list[str], stored: bool, pointer: str, row: int
) -> None:
    store.keep("points")
    source = store.source({"dataset": "points"} if stored else {"inputs": ROWS, "labels": LABELS})
    assert source.matrix is not None
    with pytest.raises(InvalidError) as refusal:
        source.matrix.codes_for(a_definition(classes=classes))
    (problem,) = refusal.value.problems
    assert (problem.pointer, problem.row) == (pointer, row)


def test_a_kept_file_carries_its_name_and_its_row_the_time_of_the_file(store: Store) -> None:
    dataset_id = new_id("ds")
    values, record = keep(store.files, dataset_id, "local", "points", from_rows(ROWS, LABELS))
    path = store.files.path(FileKind.DATASET, dataset_id)
    label = load_label(path)
    assert label is not None
    assert (label.name, label.created_at) == ("points", values["created_at"])
    assert (record.mtime_ns, record.bytes) == (path.stat().st_mtime_ns, path.stat().st_size)
