"""The clock of the database, which is the same for all machines that use the database."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

__all__ = ["now", "seconds_now"]


class seconds_now(FunctionElement[float]):  # noqa: N801 - a function of SQL
    """The present time in seconds since 1970, as an expression for a statement."""

    type = sa.Float()
    inherit_cache = True


@compiles(seconds_now, "sqlite")
def _in_sqlite(_element: Any, _compiler: Any, **_options: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"  # A Julian day begins at noon, 1970 in the middle of one.


@compiles(seconds_now, "postgresql")
def _in_postgresql(_element: Any, _compiler: Any, **_options: Any) -> str:
    return "(extract(epoch FROM clock_timestamp())::float8)"


def now(connection: sa.Connection) -> float:
    """The present time in seconds since 1970."""
    return float(connection.execute(sa.select(seconds_now())).scalar_one())
