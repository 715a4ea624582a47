"""Rows that come with a request: parsed, checked against the model, written as datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from models.clock import utc_now
from models.data.dataset import Dataset, from_rows
from models.data.rows import Array
from models.definition.definition import ModelDefinition
from models.errors import InvalidError, MissingError, Problem
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
        # Faults are told where the client wrote the rows, or the name of what holds them.
        named = f"{pointer}/dataset" if "dataset" in part else None
        self.inputs_pointer, self.labels_pointer = named or f"{pointer}/inputs", named or f"{pointer}/labels"
        if "dataset" in part:
            try:
                with context().database.read() as connection:
                    self.dataset_id = datasets.find_dataset(connection, part["dataset"])["id"]
            except MissingError as error:
                raise InvalidError.at(f"{pointer}/dataset", error.detail) from None
            self.dataset = load_dataset(context().storage.dataset(self.dataset_id))
            self.told: dict[str, Any] = {"dataset": part["dataset"], "rows": self.dataset.rows}
        else:
            self.dataset = from_rows(part["inputs"], part["labels"], pointer, part.get("weights"))
            self.told = {"rows": self.dataset.rows}

    def check(self, definition: ModelDefinition) -> Array:
        """Each row's class number; raises InvalidError where the rows do not fit the model."""
        width = self.dataset.inputs.shape[1]
        if width != definition.inputs:
            raise InvalidError.at(self.inputs_pointer, f"must have {definition.inputs} columns. Received: {width}")
        largest = np.finfo(definition.dtype).max
        too_large = np.abs(self.dataset.inputs) > largest
        if too_large.any():
            row, column = np.argwhere(too_large)[0].tolist()
            value = self.dataset.inputs[row, column]
            detail = f"is too large for {definition.dtype}. Received: {value:g}"
            raise self.fault(row, detail, column)
        return self.dataset.codes_for(definition.classes, self.labels_pointer)

    def fault(self, row: int, detail: str, column: int | None = None) -> InvalidError:
        """What is wrong with one row, or with one number of it, told where the client wrote it."""
        place = self.inputs_pointer
        if self.dataset_id is None:
            place += f"/{row}" if column is None else f"/{row}/{column}"
        return InvalidError.of([Problem(place, detail, row=row + 1)])
