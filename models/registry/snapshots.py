"""What the registry says of one model, as its file keeps it."""

from __future__ import annotations

import sqlalchemy as sa

from models.errors import MissingError
from models.formats.model_file import ModelFile
from models.registry.rows import plain
from models.registry.tables import CHECKPOINTS, MODELS, VERSIONS
from models.registry.versions import aliases

__all__ = ["model_file"]


def model_file(connection: sa.Connection, name: str) -> ModelFile:
    """What a model's file has to hold now; raises MissingError for an unknown model."""
    row = connection.execute(sa.select(MODELS).where(MODELS.c.name == name)).first()
    if row is None:
        raise MissingError("not_found", f"there is no model {name!r}")
    versions = connection.execute(sa.select(VERSIONS).where(VERSIONS.c.model == name).order_by(VERSIONS.c.version))
    published = sa.select(VERSIONS.c.checkpoint).where(VERSIONS.c.model == name)
    named = sa.select(CHECKPOINTS).where(CHECKPOINTS.c.id.in_(published))
    checkpoints = {found.id: plain(found) for found in connection.execute(named)}
    for checkpoint in checkpoints.values():
        del checkpoint["fault"], checkpoint["mtime_ns"]  # of the present, and of this disk
    return ModelFile(
        row.name,
        row.number,
        row.created_at,
        row.definition,
        row.newest,
        # A model that is being deleted loses its checkpoints between two selects.
        [
            {**plain(row), "checkpoint": checkpoints[row.checkpoint]}
            for row in versions
            if row.checkpoint in checkpoints
        ],
        aliases(connection, name),
    )
