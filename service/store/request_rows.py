"""Rows that come with a request: parsed, checked against the model, written as datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from models.clock import utc_now
from models.data.dataset import Dataset, from_rows
from models.definition.given_rows import GivenRows
from models.errors import InvalidError, MissingError
from models.formats.dataset_file import DatasetLabel, load_dataset, save_dataset
from models.formats.durable import FileRecord
from models.registry import datasets
from models.registry.rows import named_ids
from service.web.context import context

__all__ = ["Source", "discard", "keep"]


def discard(*paths: Path) -> None:
    """Delete the files, each named by its id, that no row names after the transaction that was to do so failed.

    A commit that is said to have failed may have taken effect. Where that cannot be told the files stay.
    """
    try:
        with context().database.read() as connection:
            named = named_ids(connection, [path.stem for path in paths])
    except sa.exc.OperationalError:
        return
    for path in paths:
        if path.stem not in named:
            path.unlink(missing_ok=True)


def keep(dataset_id: str, name: str | None, dataset: Dataset) -> tuple[dict[str, Any], FileRecord]:
    """Write a dataset's file; the values of its row, which is to be added next."""
    path, created_at = context().storage.dataset(dataset_id), utc_now()
    record = save_dataset(path, dataset, DatasetLabel(name, created_at))
    values = {
        "id": dataset_id,
        "name": name,
        "rows": dataset.rows,
        "features": list(dataset.features),
        "classes": list(dataset.labels.classes),
        "created_at": created_at,
        "mtime_ns": path.stat().st_mtime_ns,
    }
    return values, record


class Source:
    """The rows of one part of a request: kept already under an id, or to be kept."""

    def __init__(self, part: dict[str, Any], pointer: str) -> None:
        self.dataset_id: str | None = None
        if "dataset" in part:
            try:
                with context().database.read() as connection:
                    self.dataset_id = datasets.find_dataset(connection, part["dataset"])["id"]
            except MissingError as error:
                raise InvalidError.at(f"{pointer}/dataset", error.detail) from None
            dataset = load_dataset(context().storage.dataset(self.dataset_id))
            self.told: dict[str, Any] = {"dataset": part["dataset"], "rows": dataset.rows}
        else:
            dataset = from_rows(part["inputs"], part["labels"], pointer, part.get("weights"))
            self.told = {"rows": dataset.rows}
        self.rows = GivenRows(dataset, pointer, stored=self.dataset_id is not None)
