"""Rebuilding the registry's rows from files: models, versions, aliases, checkpoints and datasets.

A model's file holds its versions and aliases, and the size and digest of each version's checkpoint. If that file is
lost, the definitions come from the checkpoints, and versions are numbered anew in the order in which jobs ended.
The result reports this, because a number may then mean another version than before.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from models.data.profile import Provenance, details_of
from models.data.table import Table
from models.definition.definition import ModelDefinition
from models.formats.checkpoint_file import CheckpointError, load_checkpoint
from models.formats.dataset_file import load_label
from models.formats.durable import record_of
from models.formats.model_file import ModelFile, ModelFileError, load_model_file
from models.formats.stored_table import classes_in, is_table, open_table
from models.identifiers import LOCAL, qualified, unqualified
from models.registry.datasets import details_text, feature_names
from models.registry.tables import ALIASES, CHECKPOINTS, DATASETS, MODELS, VERSIONS
from models.training.checkpoint import Checkpoint, CheckpointKind, Origin

__all__ = ["RebuiltRows", "find", "store"]

#: Kinds of checkpoints of which a job's newest becomes a version, as does every imported one.
_FINAL = (CheckpointKind.LAST, CheckpointKind.BEST, CheckpointKind.IMPORT)
#: The origin of a checkpoint if its file does not state it.
_UNKNOWN = Origin(None, CheckpointKind.UNKNOWN, "{}")


@dataclass
class RebuiltRows:
    """The rows to write; ``warnings`` has a sentence for each file that is left out or differs from its row.

    Models, also those of checkpoints, are named by their qualified names.
    """

    models: dict[str, ModelFile] = field(default_factory=dict)
    checkpoints: dict[str, dict[str, Any]] = field(default_factory=dict)
    datasets: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def find(models: Iterable[Path], checkpoints: Iterable[Path], datasets: Iterable[Path]) -> RebuiltRows:
    """Read all files, in the order in which they are given. Each is checked strictly, and unusable ones are reported.

    A file need not be there before it is its turn, or afterwards.
    """
    rebuilt = RebuiltRows()
    for path in models:
        try:
            model = load_model_file(path)
            rebuilt.models[qualified(model.owner, model.name)] = model
        except ModelFileError as error:
            rebuilt.warnings.append(f"{error}: the model is rebuilt from its checkpoints")
    for path in checkpoints:
        _add_checkpoint(rebuilt, path)
    for model in rebuilt.models.values():
        _add_published(rebuilt, model)
    _add_models_without_file(rebuilt)
    _drop_strangers(rebuilt)
    for path in datasets:
        _add_dataset(rebuilt, path)
    return rebuilt


def _add_checkpoint(rebuilt: RebuiltRows, path: Path) -> None:
    try:
        checkpoint = load_checkpoint(path)
    except CheckpointError as error:
        rebuilt.warnings.append(f"{error}: left out")
        return
    origin = checkpoint.origin or _UNKNOWN
    held = checkpoint.held if isinstance(checkpoint, Checkpoint) else checkpoint
    rebuilt.checkpoints[path.stem] = {
        "id": path.stem,
        "model": qualified(origin.owner, checkpoint.definition.name),
        "job": origin.job,
        "kind": origin.kind,
        "epoch": held.epoch,
        "step": held.step,
        "saved_at": checkpoint.step,
        "metrics": origin.metrics,
        "created_at": checkpoint.created_at,
        **_record(path),
        "fault": None,
        "definition": checkpoint.definition.canonical(),
    }


def _record(path: Path) -> dict[str, Any]:
    return record_of(path)._asdict()


def _add_published(rebuilt: RebuiltRows, model: ModelFile) -> None:
    """Compare the checkpoints of a model's versions with its file, which holds their sizes and digests."""
    name = qualified(model.owner, model.name)
    for version in model.versions:
        written = version["checkpoint"]
        there = rebuilt.checkpoints.get(written["id"])
        row = {**written, "model": name, "definition": version["definition"], "mtime_ns": None, "fault": None}
        if there is None:
            row["fault"] = "missing"
        elif there["bytes"] != written["bytes"]:
            row["fault"] = "wrong_size"
        elif there["sha256"] != written["sha256"]:
            row["fault"] = "wrong_digest"
        else:
            row["mtime_ns"] = there["mtime_ns"]
        if row["fault"] is not None:
            rebuilt.warnings.append(
                f"version {version['version']} of {name}: {written['id']}.h5 is not what was written"
            )
        rebuilt.checkpoints[written["id"]] = row


def _add_models_without_file(rebuilt: RebuiltRows) -> None:
    """Create a model for each name that occurs only in checkpoints; the one with the oldest checkpoint comes first."""
    number = max((model.number for model in rebuilt.models.values()), default=0)
    for name in dict.fromkeys(row["model"] for row in rebuilt.checkpoints.values()):
        if name not in rebuilt.models:
            number += 1
            rebuilt.models[name] = _from_checkpoints(rebuilt, name, number)


def _from_checkpoints(rebuilt: RebuiltRows, name: str, number: int) -> ModelFile:
    rows = [row for row in rebuilt.checkpoints.values() if row["model"] == name]
    ends: dict[str, dict[str, Any]] = {}
    for row in _in_order(rows):
        if row["kind"] in _FINAL:
            ends[row["job"] or row["id"]] = row
    published = sorted(ends.values(), key=lambda row: str(row["id"]))
    versions = [
        {
            "model": name,
            "version": place,
            "job": row["job"],
            "metrics": row["metrics"],
            "created_at": row["created_at"],
            "checkpoint": row,
            "definition": row["definition"],
        }
        for place, row in enumerate(published, start=1)
    ]
    rebuilt.warnings.append(
        f"the file of model {name} is missing or damaged: the model has {len(versions)} versions again, with new "
        "numbers in the order in which its jobs ended, and no alias"
    )
    owner, own_name = unqualified(name)
    newest = rows[-1]["definition"]
    return ModelFile(owner, own_name, number, rows[0]["created_at"], newest, len(versions), versions, {})


def _drop_strangers(rebuilt: RebuiltRows) -> None:
    """Leave out checkpoints of an earlier model of the same name: older than the model, and of no definition of it."""
    known = {
        name: {model.definition, *(version["definition"] for version in model.versions)}
        for name, model in rebuilt.models.items()
    }
    for row in list(rebuilt.checkpoints.values()):
        model = rebuilt.models[row["model"]]
        if row["created_at"] < model.created_at and not _among(row["definition"], known[row["model"]]):
            rebuilt.warnings.append(f"{row['id']}.h5 is of another definition than model {row['model']}: left out")
            del rebuilt.checkpoints[row["id"]]


def _among(definition: str, known: set[str]) -> bool:
    """Whether a text is one of these definitions; early releases may have left out defaults."""
    if definition in known:
        return True
    loaded = ModelDefinition.parse(definition)
    return any(ModelDefinition.parse(each) == loaded for each in known)


def _add_dataset(rebuilt: RebuiltRows, path: Path) -> None:
    try:
        label = load_label(path)
        with open_table(path) as table:
            content = _content(table, None if label is None else label.source, described=is_table(path))
    except OSError as error:
        rebuilt.warnings.append(f"{path.name}: {str(error).replace(str(path), path.name)}: left out")
        return
    if label is not None and label.name is None:
        return  # It belongs to a training request, whose job no longer exists.
    if label is None:
        rebuilt.warnings.append(f"{path.name} does not state the dataset's name: its id is the name now")
    name = path.stem if label is None or label.name is None else label.name
    owner = LOCAL if label is None else label.owner
    for other in [row for row in rebuilt.datasets if (row["owner"], row["name"]) == (owner, name)]:
        rebuilt.warnings.append(f"{other['id']}.h5 has the same name as a newer dataset, {name}: left out")
        rebuilt.datasets.remove(other)
    rebuilt.datasets.append(
        {
            "id": path.stem,
            "owner": owner,
            "name": name,
            **content,
            "created_at": _EARLY if label is None else label.created_at,
            **_record(path),
        }
    )


def _content(table: Table, source: Provenance | None, *, described: bool) -> dict[str, Any]:
    """The values of a row that say what its file holds; details if the file is ``described`` or states its source."""
    found = None
    if described or source is not None:
        found = details_of(table, source or Provenance({"type": "hdf5"}))
    features = feature_names(table.columns, table.label, table.weight)
    return {
        "rows": table.rows,
        "features": json.dumps(features),
        "classes": json.dumps(classes_in(table)),
        "details": details_text(found),
    }


#: The time of creation of a dataset if its file does not state it.
_EARLY = "1970-01-01T00:00:00.000Z"


def store(connection: sa.Connection, rebuilt: RebuiltRows) -> None:
    """Write the rows into empty tables, with the models in the order in which they were defined."""
    versions: list[dict[str, Any]] = []
    numbers: dict[str, int] = {}
    for model in sorted(rebuilt.models.values(), key=lambda model: model.number):
        name = qualified(model.owner, model.name)
        values = {"owner": model.owner, "name": model.name, "definition": model.definition, "newest": model.newest}
        connection.execute(sa.insert(MODELS).values(number=model.number, created_at=model.created_at, **values))
        numbers[name] = model.number
        versions += [{**each, "model": name, "checkpoint": each["checkpoint"]["id"]} for each in model.versions]
        for alias, number in model.aliases.items():
            values = {"alias": alias, "version": number, "traffic": model.traffic.get(alias)}
            connection.execute(sa.insert(ALIASES).values(model_number=model.number, **values))
    if connection.dialect.name == "postgresql":
        # Its sequence does not see numbers that come with the rows, as SQLite's does.
        newest = "SELECT setval(pg_get_serial_sequence('models', 'number'), max(number)) FROM models"
        connection.execute(sa.text(newest))
    checkpoints = _in_order(list(rebuilt.checkpoints.values()))
    for table, rows in ((CHECKPOINTS, checkpoints), (VERSIONS, versions), (DATASETS, rebuilt.datasets)):
        if rows:
            connection.execute(sa.insert(table), [_columns(table, row, numbers) for row in rows])


def _columns(table: sa.Table, row: dict[str, Any], numbers: dict[str, int]) -> dict[str, Any]:
    """The members of a row that are columns of its table, with the model's number instead of its name."""
    columns = {column.name: row[column.name] for column in table.columns if column.name in row}
    return {**columns, "model_number": numbers[row["model"]]} if "model" in row else columns


def _in_order(checkpoints: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Checkpoints in the order of their ids, but those of a job in the order of the steps at which they were saved.

    A job continues from its newest checkpoint, and the clock in the ids may have been set back while it ran. If steps
    are equal, the last state comes before the best one, as they were saved.
    """
    by_id = sorted(checkpoints, key=lambda row: str(row["id"]))
    by_step = sorted(by_id, key=lambda row: (row.get("saved_at", row["step"]), row["kind"] == "best"))
    of_job: dict[str | None, deque[dict[str, Any]]] = {row["job"]: deque() for row in by_id}
    for row in by_step:
        of_job[row["job"]].append(row)
    return [row if row["job"] is None else of_job[row["job"]].popleft() for row in by_id]
