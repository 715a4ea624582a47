"""Files of models: they hold what the database holds, and damage to them is detected."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import pytest

from models.formats.durable import write_durably
from models.formats.model_file import ModelFile, ModelFileError, load_model_file, model_file_image

CONTENT = ModelFile(
    "local",
    "small",
    7,
    "2026-01-01T00:00:00.000Z",
    '{"name": "small"}',
    2,
    [
        {"version": 1, "checkpoint": {"id": "ckpt_1"}, "definition": '{"old": 1}'},
        {"version": 2, "checkpoint": {"id": "ckpt_2"}, "definition": '{"name": "small"}'},
    ],
    {"a": 1},
)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    write_durably(tmp_path / "small.h5", model_file_image(CONTENT))
    assert load_model_file(tmp_path / "small.h5") == CONTENT


def test_the_owner_is_saved(tmp_path: Path) -> None:
    """That of what is made without keys is left out, as in files of earlier releases."""
    for owner, place in (("alice", "alice"), ("local", None)):
        theirs = replace(CONTENT, owner=owner)
        write_durably(tmp_path / "small.h5", model_file_image(theirs))
        assert load_model_file(tmp_path / "small.h5") == theirs
        with h5py.File(tmp_path / "small.h5") as file:
            assert file.attrs.get("owner") == place


def test_another_owner_is_reported(tmp_path: Path) -> None:
    write_durably(tmp_path / "small.h5", model_file_image(replace(CONTENT, owner="alice")))
    with h5py.File(tmp_path / "small.h5", "a") as file:
        file.attrs["owner"] = "bob"
    with pytest.raises(ModelFileError, match=r"^small.h5: its content does not match its digest$"):
        load_model_file(tmp_path / "small.h5")


def test_versions_of_the_newest_definition_take_no_place_for_it(tmp_path: Path) -> None:
    """So that the file is as an earlier release has written it, and such files are read."""
    same = replace(CONTENT, versions=[{**version, "definition": CONTENT.definition} for version in CONTENT.versions])
    write_durably(tmp_path / "small.h5", model_file_image(same))
    with h5py.File(tmp_path / "small.h5") as file:
        assert set(file) == {"versions", "aliases"}
        assert b"definition" not in file["versions"][()].tobytes()
    assert load_model_file(tmp_path / "small.h5") == same


@pytest.mark.parametrize("part", [b'"ckpt_1"', b'{"a"', b'{"name"', b"old"])
def test_a_changed_bit_is_reported(tmp_path: Path, part: bytes) -> None:
    path = tmp_path / "small.h5"
    write_durably(path, model_file_image(CONTENT))
    content = bytearray(path.read_bytes())
    assert content.count(part) == 1
    content[content.index(part) + 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"^small.h5: its content does not match its digest$"):
        load_model_file(path)


@pytest.mark.parametrize("content", [b"", b"no HDF5"])
def test_another_file_is_reported(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "small.h5").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"^small.h5: "):
        load_model_file(tmp_path / "small.h5")
