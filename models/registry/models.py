"""The registry of models by name.

Functions take an open SQLAlchemy connection and leave the transaction to the caller.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from models.clock import utc_now
from models.definition.definition import ModelDefinition
from models.errors import ConflictError, ForbiddenError, describe, listed
from models.identifiers import unqualified
from models.registry.callers import caller_of, own, visible
from models.registry.names import missing
from models.registry.rows import Metrics, insert_if_free, starts_with
from models.registry.tables import CHECKPOINTS, DATASETS, MODELS, VERSIONS
from models.registry.versions import DEFAULT_METRICS, DEFAULT_VERSION, require_model

__all__ = [
    "UNDEFINED",
    "ModelRow",
    "as_json",
    "define_model",
    "delete_model",
    "exists",
    "find_model",
    "list_models",
    "numbers_of",
    "totals",
]

#: The members of a model's document for which its definition need not be read.
UNDEFINED = ("name", "default", "metrics", "created_at")


@dataclass(frozen=True)
class ModelRow:
    """A model in the registry, with its newest definition as stored text.

    ``default`` is the version for requests that name no version, and ``metrics`` are those of that version. The numbers
    that a table becomes, and with them the parameters, are those of a version.
    """

    number: int
    owner: str
    name: str
    text: str
    default: int | None
    metrics: Metrics | None
    created_at: str

    @classmethod
    def of(cls, row: sa.Row[Any]) -> ModelRow:
        """The model of a row of ``_SELECT``."""
        metrics = None if row.metrics is None else json.loads(row.metrics)
        return cls(row.number, row.owner, row.name, row.definition, row.default, metrics, row.created_at)

    @cached_property
    def definition(self) -> ModelDefinition:
        """The newest definition."""
        return ModelDefinition.stored(json.loads(self.text))

    def document(self, *, whole: bool = True) -> dict[str, Any]:
        """The model as the API shows it; if it is not ``whole``, the members ``UNDEFINED``."""
        found = {name: getattr(self, name) for name in UNDEFINED}
        if not whole:
            return found
        definition = self.definition
        return {
            **definition.document(),
            "inputs": definition.inputs or None,
            "parameters": definition.parameter_count if definition.inputs else None,
            **found,
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
    number = require_model(connection, definition.name)
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
    return ModelRow.of(row)


def numbers_of(connection: sa.Connection, limit: int, after: str | None, prefix: str | None = None) -> list[int]:
    """The numbers of models, newest first, beginning below the one named ``after``, whose names start with ``prefix``.

    ``after`` is a qualified name if the model is another owner's. Raises MissingError if there is none.
    """
    query = visible(connection, sa.select(MODELS.c.number), MODELS).order_by(MODELS.c.number.desc()).limit(limit)
    if after is not None:
        query = query.where(MODELS.c.number < _place_of(connection, after))
    if prefix is not None:
        query = query.where(starts_with(MODELS.c.name, prefix))
    return list(connection.scalars(query))


def list_models(connection: sa.Connection, numbers: Sequence[int]) -> Iterator[ModelRow]:
    """The models with these numbers, newest first. Each row is read when it is asked for, because it may be large."""
    query = visible(connection, _SELECT, MODELS).where(MODELS.c.number.in_(numbers))
    return map(ModelRow.of, connection.execute(query.order_by(MODELS.c.number.desc())))


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


_SELECT = sa.select(MODELS, DEFAULT_VERSION.label("default"), DEFAULT_METRICS.label("metrics"))


def delete_model(connection: sa.Connection, name: str) -> list[str]:
    """Delete a model with its versions, aliases and checkpoints. Returns the ids of checkpoints to delete as files."""
    number = require_model(connection, name)
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
