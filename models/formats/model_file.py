"""The file of a model: a copy of its rows in the database, in addition to the files of its checkpoints.

/          attrs: format "trainyard-model", format_version 1, owner (absent: local), name, number, created_at,
           definition (JSON), newest, sha256 of the bytes of versions, aliases, the definition, definitions,
           traffic and the owner if it has one, one after the other
/versions  UTF-8 JSON list, as bytes: each version with the row of its checkpoint; definition is an index into
           definitions, and absent if the version has the model's definition
/aliases   UTF-8 JSON object, as bytes: the version by alias
/traffic   UTF-8 JSON object, as bytes: the JSON text of ``models.registry.traffic`` by alias, for those that name
           several versions or have a shadow; absent if there are none
/definitions  UTF-8 JSON list of JSON texts, as bytes: the other definitions of versions; absent if there are none

A lost database is rebuilt from these files and the checkpoints (``models.registry.rebuild``). If both exist, the
database decides: the file is updated to match it, and is replaced as a whole.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from models.formats.hdf5_image import Image, Put, hdf5_image
from models.identifiers import LOCAL

__all__ = ["ModelFile", "ModelFileError", "load_model_file", "model_file_image"]


FORMAT, FORMAT_VERSION = "trainyard-model", 1


class ModelFileError(Exception):
    """A file is not the file of a model, or is damaged."""


@dataclass(frozen=True)
class ModelFile:
    """A model's row, its versions, each with its checkpoint's row under ``checkpoint``, and its aliases.

    Each version has its own ``definition``; that of the model is its newest one. ``traffic`` is by alias, for those
    that name more than a version.
    """

    owner: str
    name: str
    number: int
    created_at: str
    definition: str
    newest: int
    versions: list[dict[str, Any]]
    aliases: dict[str, int]
    traffic: dict[str, str] = field(default_factory=dict)


def model_file_image(content: ModelFile) -> Image:
    """The file of a model, for ``write_durably``."""
    known = {version["definition"] for version in content.versions} - {content.definition}
    others = {definition: index for index, definition in enumerate(sorted(known))}
    rows = []
    for version in content.versions:
        rest = {name: value for name, value in version.items() if name != "definition"}
        own = version["definition"]
        rows.append(rest if own == content.definition else {**rest, "definition": others[own]})
    versions, names = json.dumps(rows).encode(), json.dumps(content.aliases).encode()
    definitions = json.dumps([*others]).encode() if others else b""
    traffic = json.dumps(content.traffic).encode() if content.traffic else b""

    def build(file: h5py.File, put: Put) -> None:
        file.attrs["format"], file.attrs["format_version"] = FORMAT, FORMAT_VERSION
        if content.owner != LOCAL:
            file.attrs["owner"] = content.owner
        file.attrs["name"], file.attrs["number"] = content.name, content.number
        file.attrs["created_at"], file.attrs["newest"] = content.created_at, content.newest
        file.attrs["definition"] = content.definition
        file.attrs["sha256"] = _digest(versions, names, content.definition, definitions + traffic, content.owner)
        put("versions", np.frombuffer(versions, np.uint8))
        put("aliases", np.frombuffer(names, np.uint8))
        if others:
            put("definitions", np.frombuffer(definitions, np.uint8))
        if traffic:
            put("traffic", np.frombuffer(traffic, np.uint8))

    return hdf5_image(build)


def load_model_file(path: Path) -> ModelFile:
    """Read a model's file. Raises ModelFileError."""
    try:
        with h5py.File(path, "r") as file:
            found = file.attrs["format"], file.attrs["format_version"]
            if found != (FORMAT, FORMAT_VERSION):
                raise ValueError(f"its format and version are {found}")  # noqa: TRY301 - handled like errors of HDF5
            versions, names = (file[name][()].tobytes() for name in ("versions", "aliases"))
            definitions, traffic = (
                file[name][()].tobytes() if name in file else b"" for name in ("definitions", "traffic")
            )
            attributes = {name: file.attrs[name] for name in ("name", "created_at", "definition", "sha256")}
            owner = str(file.attrs.get("owner", LOCAL))
            number, newest = int(file.attrs["number"]), int(file.attrs["newest"])
        if _digest(versions, names, attributes["definition"], definitions + traffic, owner) != attributes.pop("sha256"):
            raise ValueError("its content does not match its digest")  # noqa: TRY301
        others = json.loads(definitions or b"[]")
        rows = json.loads(versions)
        for row in rows:
            row["definition"] = others[row["definition"]] if "definition" in row else attributes["definition"]
        return ModelFile(
            owner=owner,
            number=number,
            newest=newest,
            versions=rows,
            aliases=json.loads(names),
            traffic=json.loads(traffic or b"{}"),
            **attributes,
        )
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path.name}: {str(error).replace(str(path), path.name)}") from error


def _digest(versions: bytes, names: bytes, definition: str, more: bytes, owner: str) -> str:
    end = b"" if owner == LOCAL else owner.encode()
    return hashlib.sha256(versions + names + definition.encode() + more + end).hexdigest()
