"""Datasets: tables that the service stores."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.documents import read
from trainyard.paging import Pages
from trainyard.predictions import Label
from trainyard.requests import path_of

if TYPE_CHECKING:
    import pandas as pd

    from trainyard.client import Trainyard
    from trainyard.jobs import Job

__all__ = ["TABLE_TYPES", "Column", "Dataset", "Profile", "Row"]

#: Content types of tables by the ending of a file.
TABLE_TYPES = {
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".ndjson": "application/x-ndjson",
    ".jsonl": "application/x-ndjson",
    ".parquet": "application/vnd.apache.parquet",
    ".h5": "application/x-hdf5",
}


@dataclass(frozen=True)
class Column:
    """A column of a dataset: its type and what it holds; ``use`` is False if it is set aside, for the ``reason``.

    ``relation`` is its mutual information with the label, from 0 to 1. That and histograms, quantiles and counts are
    those of a profile.
    """

    name: str
    type: str
    missing: int = 0
    distinct: int | None = None
    min: float | str | None = None
    max: float | str | None = None
    levels: Sequence[Any] = ()
    use: bool = True
    reason: str | None = None
    relation: float | None = None
    mean: float | str | None = None
    std: float | None = None
    quantiles: Sequence[Any] = field(default=(), repr=False)
    histogram: Mapping[str, Any] | None = field(default=None, repr=False)
    values: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Profile:
    """What each column of a dataset holds."""

    id: str
    name: str | None
    rows: int
    label: str | None
    columns: Sequence[Column]
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def _repr_html_(self) -> str:
        from trainyard.html import table

        rows = [
            (
                each.name,
                each.type,
                each.missing,
                "" if each.relation is None else f"{each.relation:.2f}",
                each.reason or "",
            )
            for each in self.columns
        ]
        return table(("column", "type", "missing", "tells about the label", "left out because"), rows)


@dataclass(frozen=True)
class Row:
    """A row of a dataset: its number, from 1, and its values by column."""

    row: int
    values: Mapping[str, Any]
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Dataset:
    """A table at the service, of ``rows`` rows."""

    client: Trainyard = field(repr=False, compare=False)
    id: str
    name: str | None
    rows: int
    label: str | None = None
    features: Sequence[str] = ()
    classes: Sequence[Label] = ()
    columns: Sequence[Column] = field(default=(), repr=False)
    format: Mapping[str, Any] | None = field(default=None, repr=False)
    warnings: Sequence[Mapping[str, Any]] = ()
    bytes: int = 0
    sha256: str = field(default="", repr=False)
    created_at: datetime | None = None
    fault: str | None = None
    owner: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, document: Mapping[str, Any], client: Trainyard) -> Dataset:
        """A dataset of the API."""
        columns = [read(Column, column) for column in document.get("columns") or ()]
        return read(cls, {**document, "columns": columns}, client=client)

    def __len__(self) -> int:
        return self.rows

    @property
    def _path(self) -> str:
        return path_of("datasets", self.id)

    def refresh(self) -> Dataset:
        """The dataset as it is now."""
        return self.client.dataset(self.id)

    def profile(self, label: str | None = None) -> Profile:
        """What each column holds, and how much it tells about the dataset's ``label`` or another column."""
        document = self.client.request("GET", f"{self._path}/profile", query={"label": label}).json()
        return read(Profile, {**document, "columns": [read(Column, column) for column in document["columns"]]})

    def list_rows(self, where: str | None = None) -> Pages[Row]:
        """All rows in their order, or those with a value: ``where="sex:male"``."""

        def row(document: Mapping[str, Any]) -> Row:
            return read(Row, document)

        return Pages(self.client.transport, f"{self._path}/rows", row, "row", {"where": where})

    def download(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the table to ``path`` as its ending says: .csv (the default), .parquet or .h5. Returns the path."""
        place = Path(f"{self.name or self.id}.csv" if path is None else path)
        kind = TABLE_TYPES.get(place.suffix.lower())
        if kind is None:
            raise ValueError(f"the ending must be .csv, .parquet or .h5. Received: {place.name!r}")
        return self.client.save(f"{self._path}/file", place, accept=kind)

    def to_pandas(self) -> pd.DataFrame:
        """The table as a frame; pandas must be installed."""
        import io

        import pandas as pd

        return pd.read_csv(io.BytesIO(self.client.request("GET", f"{self._path}/file", accept="text/csv").content))

    def train(self, **options: Any) -> Job:
        """Train a model on this table; see ``Trainyard.train``."""
        return self.client.train(self, **options)

    def delete(self) -> None:
        """Delete the dataset."""
        self.client.delete(self._path)

    def _repr_html_(self) -> str:
        from trainyard.html import facts, table

        rows = [(each.name, each.type, each.missing, each.reason or "") for each in self.columns]
        head = facts(f"dataset {self.name or self.id}", {"rows": f"{self.rows:,}", "label": self.label})
        return head + table(("column", "type", "missing", "left out because"), rows)
