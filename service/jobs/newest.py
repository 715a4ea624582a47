"""The newest job of each of several models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from service.jobs.document import progress_document
from service.store.tables import JOBS

__all__ = ["newest_jobs"]


class _Members(FunctionElement[int]):
    """How many members the details of a job have, counted by the database: of a thousand trials, they are long."""

    type = sa.Integer()
    inherit_cache = True


@compiles(_Members, "sqlite")
def _in_sqlite(element: _Members, compiler: Any, **options: Any) -> str:
    return f"coalesce(json_array_length({compiler.process(element.clauses, **options)}, '$.members'), 0)"


@compiles(_Members, "postgresql")
def _in_postgresql(element: _Members, compiler: Any, **options: Any) -> str:
    return f"coalesce(json_array_length(({compiler.process(element.clauses, **options)})::json -> 'members'), 0)"


_SHOWN = ("id", "state", "created_at", "finished_at", "epoch", "epochs", "step", "fraction", "eta_seconds")


def newest_jobs(connection: sa.Connection, models: Sequence[int]) -> dict[int, dict[str, Any]]:
    """A short document of the newest job of each of these models, which the caller has found, by the model's number."""
    newest = sa.select(sa.func.max(JOBS.c.number)).where(JOBS.c.model_number.in_(models)).group_by(JOBS.c.model_number)
    columns = (JOBS.c.model_number, *(JOBS.c[name] for name in _SHOWN), _Members(JOBS.c.details).label("members"))
    found = connection.execute(sa.select(*columns).where(JOBS.c.number.in_(newest)))
    return {
        row.model_number: {
            "id": row.id,
            "state": row.state,
            "created_at": row.created_at,
            "finished_at": row.finished_at,
            "progress": progress_document(row),
            "members": row.members,
        }
        for row in found
    }
