"""The registry of models by name.

Functions take an open SQLAlchemy connection and leave the transaction to the caller.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from models.clock import utc_now
from models.definition.definition import ModelDefinition
from models.errors import ConflictError, ForbiddenError, describe, listed
from models.identifiers import unqualified
from models.registry.callers import caller_of, own, visible
from models.registry.names import missing
from models.registry.rows import insert_if_free
from models.registry.tables import CHECKPOINTS, DATASETS, MODELS, VERSIONS
from models.registry.versions import DEFAULT_VERSION, require_model

__all__ = [
    "ModelRow",
    "as_json",
    "define_model",
    "delete_model",
    "exists",
    "find_model",
    "list_models",
    "totals",
]


@dataclass(frozen=True)
class ModelRow:
    """A model in the registry, with its newest definition.

    ``default`` is the version for requests that name no version. The numbers that a table becomes, and with them the
    parameters, are those of a version.
    """

    number: int
    owner: str
    definition: ModelDefinition
    default: int | None
    created_at: str

    def document(self) -> dict[str, Any]:
        """The model as the API shows it."""
        definition = self.definition
        return {
            **definition.document(),
            "inputs": definition.inputs or None,
            "parameters": definition.parameter_count if definition.inputs else None,
            "default": self.default,
            "created_at": self.created_at,
        }


def define_model(
    connection: sa.Connection, definition: ModelDefinition, *, exact: bool = False
) -> tuple[ModelRow, bool]:
    """Make a definition the newest one of its model, which may be new. Returns the model and whether it is.

    With ``exact``, raises ConflictError if the model has another definition. Raises ForbiddenError if the caller may
    not use a model of this name.
    """
    allowed = caller_of(connection).models
    if allowed is not None and definition.name not in allowed:
        names = listed(map(describe, sorted(allowed)))
        detail = f"this key may use the models {names} alone. Received: {describe(definition.name)}"
        raise ForbiddenError("scope_missing", detail)
    values = {"name": definition.name, "definition": definition.canonical(), "newest": 0, "created_at": utc_now()}
    if not exists(connection, definition.name) and insert_if_free(connection, MODELS, values):
        return find_model(connection, definition.name), True
    number = require_model(connection, definition.name, to_change=True)
    known = find_model(connection, definition.name)
    if known.definition == definition:
        return known, False
    if exact:
        raise ConflictError(
            "name_taken",
            f"the name {describe(definition.name)} belongs to another definition; choose a new name, delete that "
            "model, or leave out exact, so that the next version has this definition",
        )
    changed = {"definition": definition.canonical(), "definitions": MODELS.c.definitions + 1}
    connection.execute(sa.update(MODELS).where(MODELS.c.number == number).values(**changed))
    return find_model(connection, definition.name), False


def exists(connection: sa.Connection, name: str) -> bool:
    """Whether there is a model of this name."""
    found = own(connection, sa.select(MODELS.c.number), MODELS).where(MODELS.c.name == name)
    return connection.scalar(found) is not None


def find_model(connection: sa.Connection, name: str) -> ModelRow:
    """A model by name. Raises MissingError."""
    row = connection.execute(own(connection, _SELECT, MODELS).where(MODELS.c.name == name)).first()
    if row is None:
        raise missing(connection, "model", name)
    return _model_row(row)


def list_models(connection: sa.Connection, limit: int, after: str | None) -> Iterator[ModelRow]:
    """Models, newest first, beginning below the one named ``after``; raises MissingError if there is none.

    ``after`` is a qualified name if the model is another owner's. Each row is read when it is asked for, because it may
    be large.
    """
    query = visible(connection, _SELECT, MODELS).order_by(MODELS.c.number.desc()).limit(limit)
    if after is not None:
        query = query.where(MODELS.c.number < _place_of(connection, after))
    return map(_model_row, connection.execute(query))


def _place_of(connection: sa.Connection, name: str) -> int:
    """The number of the caller's model of this name, or of the one with this qualified name."""
    if "~" not in name:
        return require_model(connection, name)
    owner, model = unqualified(name)
    query = visible(connection, sa.select(MODELS.c.number), MODELS)
    number: int | None = connection.scalar(query.where(MODELS.c.owner == owner, MODELS.c.name == model))
    if number is None:
        raise missing(connection, "model", name)
    return number


_SELECT = sa.select(MODELS, DEFAULT_VERSION.label("default"))


def _model_row(row: sa.Row[Any]) -> ModelRow:
    definition = ModelDefinition.stored(json.loads(row.definition))
    return ModelRow(row.number, row.owner, definition, row.default, row.created_at)


def delete_model(connection: sa.Connection, name: str) -> list[str]:
    """Delete a model with its versions, aliases and checkpoints. Returns the ids of checkpoints to delete as files."""
    number = require_model(connection, name, to_change=True)
    gone = list(connection.scalars(sa.select(CHECKPOINTS.c.id).where(CHECKPOINTS.c.model_number == number)))
    connection.execute(sa.delete(MODELS).where(MODELS.c.number == number))
    return gone


def totals(connection: sa.Connection) -> dict[str, tuple[int, str]]:
    """Metrics for monitoring, of all owners: value and description by name."""

    def count(table: sa.Table) -> int:
        return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0

    def stored(table: sa.Table) -> int:
        return connection.scalar(sa.select(sa.func.coalesce(sa.func.sum(table.c.bytes), 0))) or 0

    return {
        "models": (count(MODELS), "Defined models."),
        "versions": (count(VERSIONS), "Published versions."),
        "checkpoints": (count(CHECKPOINTS), "Checkpoints."),
        "checkpoint_bytes": (stored(CHECKPOINTS), "Bytes of all checkpoints."),
        "datasets": (count(DATASETS), "Datasets, those within training requests included."),
        "dataset_bytes": (stored(DATASETS), "Bytes of all datasets."),
    }


def as_json(document: dict[str, Any]) -> str:
    """A document as the database keeps it."""
    return json.dumps(document, ensure_ascii=False)
