"""Tables in this process: files, frames, arrays and lists, and how they become datasets."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from testing.harness import Server
from testing.samples import fresh
from tests.trainyard.conftest import iris_like
from trainyard import Invalid, Job, NotFound, Trainyard
from trainyard.bodies import json_text
from trainyard.tables import as_file, plain, records
from trainyard.uploads import fitting


def frame() -> pd.DataFrame:
    """Columns of every type, with gaps."""
    return pd.DataFrame(
        {
            "age": [22.5, math.nan, 1 / 3, 41.0],
            "zip": ["007", "010", None, "010"],
            "grade": pd.Categorical([3, 1, 3, 1]),
            "when": pd.to_datetime(["2020-01-02", None, "2020-03-04T05:06:07", "2021-01-01"], format="ISO8601"),
            "paid": [True, False, True, False],
            "size": pd.array([1, None, 3, 4], dtype="Int64"),
            "kind": ["a", "b", "a", "b"],
        }
    )


def test_a_frame_keeps_its_types(ty: Trainyard) -> None:
    """Words that look like numbers stay words, categories and times stay what they are, gaps stay gaps."""
    dataset = ty.upload(frame(), fresh("types"), "kind", ignore=["size"])
    assert {column.name: column.type for column in dataset.columns} == {
        "age": "number",
        "zip": "category",
        "grade": "category",
        "when": "datetime",
        "paid": "boolean",
        "size": "number",
        "kind": "category",
    }
    rows = [row.values for row in dataset.list_rows()]
    assert [row["age"] for row in rows] == [22.5, None, 1 / 3, 41.0]  # to the last bit
    assert [row["zip"] for row in rows] == ["007", "010", None, "010"]
    assert [row["size"] for row in rows] == [1, None, 3, 4]
    assert rows[2]["when"].startswith("2020-03-04T05:06:07")
    assert dataset.to_pandas().shape == (4, 7)


def test_an_array_and_its_labels(ty: Trainyard) -> None:
    """Columns get names, whole numbers stay the classes, and NaN is a gap."""
    x = np.array([[0.0, 1.0], [1.0, math.nan], [0.0, 3.0], [1.0, 4.0]] * 10)
    y = np.array([0, 1, 0, 1] * 10)
    job = ty.train(
        (x, y), name=fresh("array"), hidden=[4], epochs=200, optimizer={"type": "adam", "learning_rate": 0.05}
    )
    model = job.wait().model
    assert model.classes == (0, 1)
    assert model.predict(x).labels == tuple(y.tolist())
    assert model.predict(x[0]).labels == (0,)
    assert model.evaluate((x, y)).accuracy == 1.0
    named = ty.upload((pd.DataFrame({"label": [1, 2], "b": [3, 4]}), pd.Series(["x", "y"])), fresh("pair"))
    assert named.label == "label_"


@pytest.mark.parametrize("form", [list, lambda rows: {name: [row[name] for row in rows] for name in rows[0]}])
def test_lists_of_rows_and_of_columns(ty: Trainyard, form: Callable[[Any], Any]) -> None:
    rows = [{"a": 1.5, "b": "x"}, {"a": None, "b": "y"}]
    dataset = ty.upload(form(rows), fresh("lists"), "b")
    assert [row.values for row in dataset.list_rows()] == rows


def test_a_file_that_is_not_there(ty: Trainyard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the file and the folder; a text that is no file is the name of a dataset."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"there is no file 'missing\.csv' in "):
        ty.train("missing.csv", label="x")
    with pytest.raises(FileNotFoundError):
        ty.upload(tmp_path / "missing")
    assert as_file("missing") is None
    with pytest.raises(Invalid, match="missing"):
        ty.train("missing", label="x")


@pytest.mark.parametrize("data", [7, [], [1, 2], "name", None, (1, 2, 3)])
def test_what_is_no_table(data: Any) -> None:
    with pytest.raises(TypeError, match="rows must be"):
        records(data)


def test_faults_of_tables() -> None:
    with pytest.raises(ValueError, match="a name of its own"):
        records(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(ValueError, match="as many rows"):
        records(([[1], [2]], [1]))
    with pytest.raises(ValueError, match="finite"):
        plain(math.inf)


def test_cells() -> None:
    """What NumPy and pandas have becomes what JSON has."""
    cells = [np.float32(0.5), np.int64(3), np.bool_(True), pd.NaT, pd.NA, np.nan, Decimal("1.5"), np.str_("x")]
    assert [plain(cell) for cell in cells] == [0.5, 3, True, None, None, None, "1.5", "x"]
    assert plain(pd.Timestamp("2020-01-02", tz="UTC")) == "2020-01-02T00:00:00+00:00"
    assert json_text({"x": np.arange(2), "at": datetime(2020, 1, 2, tzinfo=UTC), "d": Decimal("0.5")}) == (
        '{"x":[0,1],"at":"2020-01-02T00:00:00+00:00","d":0.5}'
    )
    with pytest.raises(ValueError):
        json_text(math.nan)
    with pytest.raises(TypeError, match="object cannot be sent"):
        json_text(object())


@pytest.mark.parametrize(
    ("name", "fits"),
    [("Größe (2)", "grosse-2"), ("iris", "iris"), ("..", "rows"), ("日本", "rows"), ("A" * 99, "a" * 63)],
)
def test_names_are_made_to_fit(name: str, fits: str) -> None:
    assert fitting(name) == fits


def test_the_same_file_is_one_dataset(ty: Trainyard, tmp_path: Path) -> None:
    """It is reused; another file of its name gets a name of its own, and the model keeps that of the file."""
    name = fresh("again")
    file = tmp_path / f"{name}.csv"
    file.write_text(iris_like())
    first = ty.upload(file, label="kind")
    assert first.name == name
    assert ty.upload(file, label="kind") == first
    file.write_text(iris_like() + "1,2,3,4,setosa\n")
    job = ty.train(file, label="kind", hidden=[4], epochs=1)
    other = job.request["data"]["dataset"]
    assert other.startswith(f"{name}-")
    assert job.model_name == name
    assert ty.train(file, label="kind", hidden=[4], epochs=1).request["data"]["dataset"] == other
    assert ty.dataset(other).rows == 91
    first.delete()
    file.write_text(iris_like())
    again = ty.upload(file, label="kind")  # it was deleted: it is uploaded anew
    assert (again.name, again.id != first.id) == (name, True)


def test_other_content_under_a_known_name_trains_the_known_model(ty: Trainyard, tmp_path: Path) -> None:
    """Without a definition, a file trains the model of its name as it is defined."""
    name = fresh("known")
    file = tmp_path / f"{name}.csv"
    file.write_text(iris_like())
    ty.train(file, label="kind", hidden=[5], epochs=1).wait()
    file.write_text(iris_like() + "1,2,3,4,setosa\n")
    job = ty.train(file, label="kind", epochs=1).wait()
    assert (job.model_name, job.version) == (name, 2)
    assert job.model.version(2).parameters == job.model.version(1).parameters


def test_a_large_upload_is_read_from_disk(make_server: Callable[..., Server], tmp_path: Path) -> None:
    """A file of 60 MB: the client never holds more than a few pieces of it."""
    import tracemalloc

    file = tmp_path / "large.csv"
    with file.open("w") as lines:
        lines.write("a,b\n")
        lines.writelines(f"{number}.25,{'xy'[number % 2] * 3}\n" for number in range(4_000_000))
    ty = Trainyard(make_server().start().base)
    tracemalloc.start()
    try:
        assert ty.upload(file, label="b").rows == 4_000_000
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_train_refuses_what_contradicts_itself(ty: Trainyard, trained_flowers: Job) -> None:
    model = trained_flowers.model_name
    with pytest.raises(ValueError, match="would make a new definition"):
        ty.train(model, model=model, hidden=[3])
    with pytest.raises(ValueError, match="give `model`"):
        ty.train(model, model=model, name="other")
    with pytest.raises(NotFound):
        ty.train(trained_flowers.request["data"]["dataset"], model="nobody")


def test_requests_are_what_the_arguments_say(ty: Trainyard, flowers: Path) -> None:
    """Patience holds rows out, columns are left out, and other rows are held out as they are given."""
    name = fresh("told")
    rows = ty.upload(flowers, name, "kind")
    job = ty.train(rows, patience=3, skip=["long"], hidden=[4], epochs=2, name=name)
    assert job.request["validation"] == {"fraction": 0.2}
    assert job.request["early_stopping"]["patience"] == 3
    assert [each["column"] for each in job.model.features if each["type"] == "ignore"] == ["long"]
    job = ty.train(rows, held_out=frame_of_flowers(), label="kind", epochs=2)
    assert job.request["validation"]["rows"] == 90
    dry = ty.dry_run(rows, name=name, hidden=[4], epochs=2, held_out=0.5)
    assert (dry.rows["training"], dry.parameters > 0, dry.dry_run) == (45, True, True)


def frame_of_flowers() -> pd.DataFrame:
    """The flowers as a frame."""
    import io

    return pd.read_csv(io.StringIO(iris_like()))
