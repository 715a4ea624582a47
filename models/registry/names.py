"""Names that nothing has: the error, with the name that was probably meant."""

from __future__ import annotations

from typing import Literal

import sqlalchemy as sa

from models.errors import MissingError, describe, near
from models.registry.callers import own
from models.registry.tables import DATASETS, MODELS

__all__ = ["missing"]

_TABLES = {"model": MODELS, "dataset": DATASETS}
#: The newest names, among which a misspelled one is looked for; it takes about a millisecond.
_COMPARED = 100


def missing(connection: sa.Connection, kind: Literal["model", "dataset"], name: str) -> MissingError:
    """The error for the name of a model or dataset that does not exist, with the caller's name that is most like it."""
    table = _TABLES[kind]
    named = own(connection, sa.select(table.c.name), table).where(table.c.name.is_not(None))
    known: list[str] = list(connection.scalars(named.where(table.c.name == name.lower())))
    if not known:
        known = list(connection.scalars(named.order_by(table.c.number.desc()).limit(_COMPARED)))
    return MissingError("not_found", f"there is no {kind} {describe(name)}{near(name, known)}")
