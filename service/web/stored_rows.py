"""Stored datasets that a request reads: their memory is held before they are loaded."""

from __future__ import annotations

from typing import Any

from flask import request

from models.errors import MissingError
from models.formats.stored_table import is_table
from models.registry.datasets import find_dataset
from service.store.files import FileKind
from service.upkeep.inspection import local_path
from service.web.context import context
from service.web.memory import held_by

__all__ = ["hold_dataset", "hold_named"]

#: What a table takes besides its labels: it is read in pieces.
TABLE_BYTES = 64 * 2**20
#: What the label of a row takes as a class number, with the row's number and place.
LABEL_BYTES = 64


def hold_named(*parts: Any) -> None:
    """Hold the datasets that these parts of a body name, as objects or in short form; raises BusyError."""
    for part in parts:
        key = part.get("dataset") if isinstance(part, dict) else part
        if isinstance(key, str):
            hold_dataset(key)


def hold_dataset(key: str) -> None:
    """Hold a dataset, by id or name, until the current request is answered; raises BusyError.

    A matrix is mapped from its file, whose pages the kernel takes back if it needs them. So one that is larger than the
    budget is admitted, but alone. Whoever loads a dataset that does not exist refuses it.
    """
    parts, held = context(), held_by(request.environ)
    try:
        with parts.database.read() as connection:
            row = find_dataset(connection, key)
        table = is_table(local_path(parts.database, parts.files, FileKind.DATASET, row.id))
    except (MissingError, FileNotFoundError):
        return
    needed = row.file.bytes
    if table:
        needed = min(needed, TABLE_BYTES + LABEL_BYTES * row.rows)
    held.add(min(needed, max(held.memory.size - held.counted, 0)))
