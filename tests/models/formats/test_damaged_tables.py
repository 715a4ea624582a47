"""Files of datasets that are damaged: whatever the damage, opening and reading them raises OSError with the path."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from models.data.dataset import from_rows
from models.formats.dataset_file import DatasetLabel, dataset_image, load_dataset, load_label
from models.formats.durable import write_durably
from models.formats.stored_table import open_table
from models.formats.table_file import table_image
from testing.tables import a_frame, a_table

COLUMNS = {name: place for place, name in enumerate(a_frame().columns)}
LABEL = DatasetLabel("x", "2020-01-01")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_durably(tmp_path / "x.h5", table_image(a_table(), LABEL))
    return tmp_path / "x.h5"


def read(path: Path) -> None:
    with open_table(path) as table:
        for column in table.columns:
            table.read(column.name)
            table.read(column.name, 5, 20)


def put(name: str, row: int, value: Any) -> Callable[[h5py.File], None]:
    column, _, part = name.partition("/")
    place = "/".join(filter(None, ("columns", str(COLUMNS[column]), part)))

    def change(file: h5py.File) -> None:
        file[place][row] = value

    return change


def without(place: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[place]

    return change


def specified(**members: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        columns = json.loads(file["specification"][()].tobytes())
        del file["specification"]
        document = [{**column, **members} for column in columns]
        file["specification"] = np.frombuffer(json.dumps(document).encode(), np.uint8)

    return change


DAMAGE: dict[str, Callable[[h5py.File], None]] = {
    "code too large": put("sex", 7, 9),
    "code below missing": put("sex", 7, -9),
    "truth of nine": put("member", 7, 9),
    "ends descend": put("notes/ends", 7, 0),
    "end below zero": put("notes/ends", 7, -5),
    "end beyond the bytes": put("notes/ends", 59, 2**40),
    "end far beyond the bytes": put("notes/ends", 7, 2**62),
    "no UTF-8": put("notes/bytes", 7, 0xFF),
    "no column": without(f"columns/{COLUMNS['age']}"),
    "no ends": without(f"columns/{COLUMNS['notes']}/ends"),
    "no bytes": without(f"columns/{COLUMNS['notes']}/bytes"),
    "no specification": without("specification"),
    "no columns": without("columns"),
    "fewer levels": specified(levels=[]),
    "levels a number": specified(levels=5),
    "all of them texts": specified(type="text"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damaged_values(path: Path, what: str) -> None:
    with h5py.File(path, "r+") as file:
        DAMAGE[what](file)
    with pytest.raises(OSError) as found:
        read(path)
    assert found.value.filename == str(path)


@pytest.mark.parametrize("place", range(0, 4096, 97))
@pytest.mark.parametrize("kind", ["matrix", "table"])
def test_a_byte_of_the_structure(path: Path, kind: str, place: int) -> None:
    """A changed byte is found, or lies among the values."""
    if kind == "matrix":
        write_durably(path, dataset_image(from_rows([[1, 2], [3, 4.5]] * 20, ["a", "b"] * 20), LABEL))
    content = bytearray(path.read_bytes())
    content[place] ^= 0x5A
    path.write_bytes(content)
    for reader in (read, load_dataset, load_label):
        with suppress(OSError):
            reader(path)
