"""The file of a matrix with labels: what is saved is loaded, any tool reads it, damage is reported."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from models.data.dataset import Dataset, from_rows
from models.data.labels import Labels
from models.formats.dataset_file import load_dataset
from models.formats.durable import record_of
from testing.saving import save_dataset

IRIS = replace(from_rows([[0.5, 1.5], [2.0, 30.0]], ["setosa", "virginica"]), features=("width", "length"))


def same(one: Dataset, other: Dataset) -> bool:
    return (
        np.array_equal(one.inputs, other.inputs)
        and np.array_equal(one.labels.codes, other.labels.codes)
        and one.labels.classes == other.labels.classes
        and one.labels.kind == other.labels.kind
        and one.features == other.features
    )


class TestFile:
    """The HDF5 file of a dataset."""

    @pytest.mark.parametrize(
        "dataset",
        [
            IRIS,
            replace(from_rows([[1], [2]], [7, 8]), labels=Labels(np.array([0, 1]), (7, 8), "text")),
            from_rows([[0.1, 2], [3, 4]], ["", "ü\n"]),
            from_rows([[1e300], [2]], [[0, 1, 0], [1, 0, 0]]),
            from_rows([[1], [2]], [2**62, -5]),
        ],
        ids=["strings", "text integers", "odd strings", "one-hot", "large integers"],
    )
    def test_what_is_saved_is_loaded(self, tmp_path: Path, dataset: Dataset) -> None:
        record = save_dataset(tmp_path / "data.h5", dataset)
        assert same(load_dataset(tmp_path / "data.h5"), dataset)
        assert same(load_dataset(tmp_path / "data.h5", mapped=True), dataset)
        assert record == record_of(tmp_path / "data.h5")
        assert [path.name for path in tmp_path.iterdir()] == ["data.h5"]

    @pytest.mark.parametrize(
        ("cell", "dtype"),
        [(0.5, "float32"), (2.0**24, "float32"), (0.1, "float64"), (2.0**24 + 1, "float64"), (1e39, "float64")],
    )
    def test_single_precision_is_used_where_it_loses_nothing(self, tmp_path: Path, cell: float, dtype: str) -> None:
        save_dataset(tmp_path / "data.h5", from_rows([[cell], [0.0]], [0, 1]))
        with h5py.File(tmp_path / "data.h5") as file:
            assert file["inputs"].dtype == dtype
        assert load_dataset(tmp_path / "data.h5").inputs.tolist() == [[cell], [0.0]]

    def test_a_mapped_file_is_read_as_it_is_used(self, tmp_path: Path) -> None:
        """Also after it was deleted, and never written."""
        save_dataset(tmp_path / "data.h5", from_rows([[0.5, 1.5]] * 1000, [0, 1] * 500))
        inputs = load_dataset(tmp_path / "data.h5", mapped=True).inputs
        (tmp_path / "data.h5").unlink()
        assert not inputs.flags.owndata
        assert not inputs.flags.writeable
        assert inputs.sum() == 2000.0

    def test_numbers_in_several_pieces_are_read_instead(self, tmp_path: Path) -> None:
        save_dataset(tmp_path / "data.h5", IRIS)
        with h5py.File(tmp_path / "data.h5", "r+") as file:
            del file["inputs"]
            file.create_dataset("inputs", data=IRIS.inputs, chunks=(1, 1), compression="gzip")
        assert same(load_dataset(tmp_path / "data.h5", mapped=True), IRIS)

    def test_any_tool_can_read_it(self, tmp_path: Path) -> None:
        save_dataset(tmp_path / "data.h5", IRIS)
        with h5py.File(tmp_path / "data.h5") as file:
            assert (file.attrs["format"], file.attrs["format_version"]) == ("trainyard-dataset", 1)
            assert json.loads(file.attrs["features"]) == ["width", "length"]
            assert json.loads(file["classes"][()].tobytes()) == ["setosa", "virginica"]
            assert file["labels"][()].tolist() == [0, 1]
            assert file["inputs"][()].tolist() == [[0.5, 1.5], [2.0, 30.0]]

    @pytest.mark.parametrize(("name", "value"), [("format", "other"), ("format_version", 2)])
    def test_another_format_is_refused(self, tmp_path: Path, name: str, value: Any) -> None:
        save_dataset(tmp_path / "data.h5", IRIS)
        with h5py.File(tmp_path / "data.h5", "r+") as file:
            file.attrs[name] = value
        with pytest.raises(OSError, match="is not a trainyard-dataset"):
            load_dataset(tmp_path / "data.h5")

    @pytest.mark.parametrize("damage", ["missing", "cut", "emptied", "not JSON"])
    def test_a_damaged_file_is_reported_by_its_name(self, tmp_path: Path, damage: str) -> None:
        path = tmp_path / "data.h5"
        save_dataset(path, IRIS)
        if damage == "missing":
            path.unlink()
        elif damage == "cut":
            path.write_bytes(path.read_bytes()[:200])
        else:
            with h5py.File(path, "r+") as file:
                if damage == "emptied":
                    del file["labels"]
                else:
                    file.attrs["features"] = "["
        with pytest.raises(OSError) as refused:
            load_dataset(path)
        assert refused.value.filename == str(path)
        assert refused.value.strerror
        assert str(tmp_path) not in refused.value.strerror
