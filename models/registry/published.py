"""What is published: the default version of each of the caller's models, and the checkpoints of all versions of one.

Functions take an open SQLAlchemy connection and leave the transaction to the caller.
"""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from models.registry.callers import own
from models.registry.integrity import Fault
from models.registry.tables import CHECKPOINTS, MODELS, VERSIONS
from models.registry.versions import DEFAULT_VERSION, require_model

__all__ = ["MOST", "Default", "default_versions", "published_checkpoints"]

#: Models that are listed at most, the newest ones.
MOST = 10_000


class Default(NamedTuple):
    """A model's default version, and what is wrong with its file; both are None if there is no version yet."""

    model: str
    version: int | None
    fault: Fault | None


def default_versions(connection: sa.Connection) -> list[Default]:
    """The default version of each of the caller's own models, the newest model first."""
    models = own(connection, sa.select(MODELS.c.number, MODELS.c.name, DEFAULT_VERSION.label("version")), MODELS)
    found = models.order_by(MODELS.c.number.desc()).limit(MOST).subquery()
    query = (
        sa.select(found.c.name, found.c.version, CHECKPOINTS.c.fault)
        .select_from(found)
        .outerjoin(
            VERSIONS,
            sa.and_(VERSIONS.c.model_number == found.c.number, VERSIONS.c.version == found.c.version),
        )
        .outerjoin(CHECKPOINTS, CHECKPOINTS.c.id == VERSIONS.c.checkpoint)
        .order_by(found.c.number.desc())
    )
    return [Default(*row) for row in connection.execute(query)]


def published_checkpoints(connection: sa.Connection, model: str) -> set[str]:
    """The ids of the checkpoints of a model's versions. Raises MissingError."""
    number = require_model(connection, model)
    return set(connection.scalars(sa.select(VERSIONS.c.checkpoint).where(VERSIONS.c.model_number == number)))
