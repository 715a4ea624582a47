"""Documents of models, with their newest jobs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from models.registry.models import UNDEFINED, ModelRow
from service.jobs.newest import newest_jobs
from service.web.context import shown
from service.web.fields import picked

__all__ = ["is_short", "model_document", "newest_jobs_if_asked"]

#: The newest jobs of models by their numbers; None if nobody asks for them.
JobsOfModels = dict[int, dict[str, Any]] | None


def newest_jobs_if_asked(connection: sa.Connection, numbers: list[int], fields: Collection[str] | None) -> JobsOfModels:
    """The newest jobs of models, in one query, if ``fields`` names them."""
    return newest_jobs(connection, numbers) if fields is None or "job" in fields else None


def is_short(fields: Collection[str] | None) -> bool:
    """Whether ``fields`` names no part of a definition, which may be long."""
    return fields is not None and {*UNDEFINED, "job", "owner"}.issuperset(fields)


def model_document(row: ModelRow, jobs: JobsOfModels, fields: Collection[str] | None = None) -> dict[str, Any]:
    """The document of a model as the caller of the current request sees it.

    The definition, which may be long, is read only if ``fields`` names a part of it.
    """
    job = None if jobs is None else jobs.get(row.number)
    return picked(shown({**row.document(whole=not is_short(fields)), "job": job}, row.owner), fields)
