"""Who asks: whose rows a connection sees, and under which owner it adds rows.

Models, datasets and jobs have an owner. What belongs to a model or a job (versions, aliases, checkpoints, events) is
reached through it. Only ``Caller`` adds an owner to a statement.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import sqlalchemy as sa

from models.identifiers import LOCAL
from models.registry.tables import CHECKPOINTS, MODELS

__all__ = ["SERVICE", "Caller", "asking_as", "caller_of", "own", "visible"]

#: The columns that name a model, by table.
_MODEL_NAMES = {"models": "name", "jobs": "model"}
#: A select, an update or a delete.
Statement = TypeVar("Statement", bound=Any)


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Rows are added for ``owner``, and names are those of this owner. With ``sees_all``, lists and ids are those of all
    owners. ``models`` are the only models that may be used, if not None. ``key`` is the id of the caller's key, if it
    has one, and ``request`` the id of its request, if it makes one.
    """

    owner: str
    sees_all: bool = False
    models: frozenset[str] | None = None
    key: str | None = None
    request: str | None = None

    def visible(self, statement: Statement, table: sa.Table) -> Statement:
        """A statement about ``table`` with those rows alone that this caller may see."""
        return statement if self.sees_all else self.own(statement, table)

    def own(self, statement: Statement, table: sa.Table) -> Statement:
        """A statement about ``table`` with the rows of this owner alone, as for what is found by its name."""
        if table is CHECKPOINTS:
            mine = CHECKPOINTS.c.model_number.in_(self.own(sa.select(MODELS.c.number), MODELS))
            return cast("Statement", statement.where(mine))
        conditions = [table.c.owner == self.owner]
        name = _MODEL_NAMES.get(table.name)
        if self.models is not None and name is not None:
            conditions.append(table.c[name].in_(sorted(self.models)))
        return cast("Statement", statement.where(*conditions))


#: The service itself, which sees everything; also whoever asks a service without keys.
SERVICE = Caller(LOCAL, sees_all=True)


def caller_of(connection: sa.Connection) -> Caller:
    """Who asks by this connection. Raises LookupError if that was never said."""
    caller: Caller = connection.get_execution_options()["caller"]
    return caller


def visible(connection: sa.Connection, statement: Statement, table: sa.Table) -> Statement:
    """A statement about ``table`` with those rows alone that the connection's caller may see."""
    return caller_of(connection).visible(statement, table)


def own(connection: sa.Connection, statement: Statement, table: sa.Table) -> Statement:
    """A statement about ``table`` with the rows of the connection's owner alone, for what is found by its name."""
    return caller_of(connection).own(statement, table)


@contextmanager
def asking_as(connection: sa.Connection, caller: Caller) -> Iterator[None]:
    """A block in which the service acts for a caller."""
    before = caller_of(connection)
    connection.execution_options(caller=caller)
    try:
        yield
    finally:
        connection.execution_options(caller=before)
