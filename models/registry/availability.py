"""Which of the caller's models and versions can answer, as other protocols list them: by names and numbers alone."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from models.registry.callers import own
from models.registry.integrity import Fault
from models.registry.tables import CHECKPOINTS, MODELS, VERSIONS
from models.registry.versions import require_model

__all__ = ["MOST", "Availability", "availability", "own_names"]

#: Versions that are listed at most, the newest ones.
MOST = 1_000


class Availability(NamedTuple):
    """A version, and what is wrong with its file; it can answer if that is nothing."""

    version: int
    fault: Fault | None


def own_names(connection: sa.Connection) -> list[str]:
    """The names of the caller's own models in alphabetical order; there are as many as its limit of models allows."""
    return list(connection.scalars(own(connection, sa.select(MODELS.c.name), MODELS).order_by(MODELS.c.name)))


def availability(connection: sa.Connection, model: str, version: int | None = None) -> list[Availability]:
    """The newest versions of a model, newest first, or one version. Raises MissingError for an unknown model."""
    number = require_model(connection, model)
    query = (
        sa.select(VERSIONS.c.version, CHECKPOINTS.c.fault)
        .join(CHECKPOINTS, CHECKPOINTS.c.id == VERSIONS.c.checkpoint)
        .where(VERSIONS.c.model_number == number)
        .order_by(VERSIONS.c.version.desc())
        .limit(MOST)
    )
    if version is not None:
        query = query.where(VERSIONS.c.version == version)
    return [Availability(*row) for row in connection.execute(query)]
