"""A model's rows in the registry, in the form of its file."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from models.errors import MissingError, describe
from models.formats.model_file import ModelFile
from models.registry.tables import CHECKPOINTS, MODELS, VERSIONS
from models.registry.versions import aliases

__all__ = ["model_file"]

#: Columns that stay out of the file: what another database would number anew, and what is of the present and this disk.
_LEFT_OUT = ("number", "model_number", "fault", "mtime_ns")


def _shown(table: sa.Table) -> list[sa.Column[Any]]:
    return [column for column in table.columns if column.name not in _LEFT_OUT]


def _plain(row: sa.Row[Any]) -> dict[str, Any]:
    return {str(name): value for name, value in row._mapping.items()}


def model_file(connection: sa.Connection, name: str) -> ModelFile:
    """The present content for a model's file. Raises MissingError for an unknown model."""
    row = connection.execute(sa.select(MODELS).where(MODELS.c.name == name)).first()
    if row is None:
        raise MissingError("not_found", f"there is no model {describe(name)}")
    versions = connection.execute(
        sa.select(*_shown(VERSIONS)).where(VERSIONS.c.model_number == row.number).order_by(VERSIONS.c.version)
    )
    published = sa.select(VERSIONS.c.checkpoint).where(VERSIONS.c.model_number == row.number)
    named = connection.execute(sa.select(*_shown(CHECKPOINTS)).where(CHECKPOINTS.c.id.in_(published)))
    checkpoints = {found.id: {"model": name, **_plain(found)} for found in named}
    return ModelFile(
        row.name,
        row.number,
        row.created_at,
        row.definition,
        row.newest,
        # A model that is being deleted loses its checkpoints between two selects.
        [
            {"model": name, **_plain(version), "checkpoint": checkpoints[version.checkpoint]}
            for version in versions
            if version.checkpoint in checkpoints
        ],
        aliases(connection, name),
    )
