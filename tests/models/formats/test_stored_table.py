"""The file of any dataset as a table, and a table of numbers as a matrix."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.data.dataset import from_rows
from models.data.labelling import labelled
from models.data.profile import Provenance, TableWarning, details_of
from models.data.records import from_records
from models.data.table import MemoryTable
from models.formats.dataset_file import DatasetLabel, dataset_image, load_label
from models.formats.durable import write_durably
from models.formats.stored_table import classes_in, is_table, open_table
from models.formats.table_file import table_image

ROWS = [[1, 2.5], [3, 4.25], [5, 6]]
SOURCE = Provenance({"type": "csv", "delimiter": ";"}, (TableWarning("rows_without_label", "1 row", "y"),))


@pytest.mark.parametrize(
    ("labels", "kind", "values"),
    [
        ([3, 1, 3], "number", [3, 1, 3]),
        (["b", "a", "b"], "category", ["b", "a", "b"]),
        ([True, False, True], "boolean", [1, 0, 1]),
        ([[0, 1], [1, 0], [0, 1]], "number", [1, 0, 1]),
    ],
)
def test_a_matrix_is_a_table(tmp_path: Path, labels: list[Any], kind: str, values: list[Any]) -> None:
    dataset = from_rows(ROWS, labels, weights=[1, 2, 0.5])
    path = tmp_path / "x.h5"
    write_durably(path, dataset_image(dataset, DatasetLabel("x", "", SOURCE)))
    assert not is_table(path)
    stored = load_label(path)
    assert stored is not None
    assert stored.source == SOURCE
    with open_table(path) as table:
        assert [column.name for column in table.columns] == ["feature_0", "feature_1", "label", "weight"]
        assert (table.rows, table.label, table.weight) == (3, "label", "weight")
        assert table.read("feature_1", 1, 3).values.tolist() == [4.25, 6]
        assert table.read("feature_0", 1, 3).values.tolist() == [3, 5]
        label = table.read("label")
        assert label.kind == kind
        shown = [label.levels[code] for code in label.values] if label.levels and kind == "category" else label.values
        assert list(shown) == values
        assert table.read("weight", 2).values.tolist() == [0.5]
        assert classes_in(table) == dataset.labels.classes
        with pytest.raises(KeyError):
            table.read("none")


def test_labels_do_not_take_the_name_of_a_feature(tmp_path: Path) -> None:
    dataset = replace(from_rows(ROWS, [1, 2, 1]), features=("label", "label_"))
    write_durably(tmp_path / "x.h5", dataset_image(dataset))
    with open_table(tmp_path / "x.h5") as table:
        assert [column.name for column in table.columns] == ["label", "label_", "label__"]


@pytest.mark.parametrize("content", [b"", b"no HDF5", None])
def test_what_is_no_dataset(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OSError) as error, open_table(path):
        pass
    assert error.value.filename == str(path)


def a_table(**columns: Any) -> MemoryTable:
    names = list(columns)
    table = from_records([dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)])
    return labelled(table, "y")[0]


def test_the_details_of_a_file_are_those_of_its_table(tmp_path: Path) -> None:
    table = a_table(
        x=[1, None, 3], w=["a", "b", None], t=["2024-01-01", None, "2024-01-03T10:00"], y=["no", "yes", "no"]
    )
    path = tmp_path / "x.h5"
    write_durably(path, table_image(table, DatasetLabel("x", "", SOURCE)))
    with open_table(path) as stored:
        assert details_of(stored, SOURCE) == details_of(table, SOURCE)
        assert classes_in(stored) == ("no", "yes")
