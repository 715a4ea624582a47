"""A model's rows in the registry, in the form of its file."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from models.errors import MissingError, describe
from models.formats.model_file import ModelFile
from models.identifiers import unqualified
from models.registry.tables import ALIASES, CHECKPOINTS, MODELS, VERSIONS

__all__ = ["model_file"]

#: Columns that stay out of the file: what another database would number anew, and what is of the present and this disk.
_LEFT_OUT = ("number", "model_number", "fault", "mtime_ns")


def _shown(table: sa.Table) -> list[sa.Column[Any]]:
    return [column for column in table.columns if column.name not in _LEFT_OUT]


def _plain(row: sa.Row[Any]) -> dict[str, Any]:
    return {str(name): value for name, value in row._mapping.items()}


def model_file(connection: sa.Connection, name: str) -> ModelFile:
    """The present content for the file of a model by its qualified name. Raises MissingError for an unknown model."""
    owner, own_name = unqualified(name)
    row = connection.execute(sa.select(MODELS).where(MODELS.c.owner == owner, MODELS.c.name == own_name)).first()
    if row is None:
        raise MissingError("not_found", f"there is no model {describe(name)}")
    versions = connection.execute(
        sa.select(*_shown(VERSIONS)).where(VERSIONS.c.model_number == row.number).order_by(VERSIONS.c.version)
    )
    published = sa.select(VERSIONS.c.checkpoint).where(VERSIONS.c.model_number == row.number)
    named = connection.execute(sa.select(*_shown(CHECKPOINTS)).where(CHECKPOINTS.c.id.in_(published)))
    checkpoints = {found.id: {"model": row.name, **_plain(found)} for found in named}
    aliases = connection.execute(
        sa.select(ALIASES).where(ALIASES.c.model_number == row.number).order_by(ALIASES.c.alias)
    ).all()
    return ModelFile(
        row.owner,
        row.name,
        row.number,
        row.created_at,
        row.definition,
        row.newest,
        # A model that is being deleted loses its checkpoints between two selects.
        [
            {"model": row.name, **_plain(version), "checkpoint": checkpoints[version.checkpoint]}
            for version in versions
            if version.checkpoint in checkpoints
        ],
        {row.alias: row.version for row in aliases},
        {row.alias: row.traffic for row in aliases if row.traffic is not None},
    )
