"""What the trials of a sweep train, as it is stored with its job."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from service.store.tables import SWEEPS

__all__ = ["add_plan", "find_plan"]


def add_plan(connection: sa.Connection, job_id: str, plan: dict[str, Any]) -> None:
    """Store a plan, which ``models.training.sweep.Sweep`` reads."""
    connection.execute(sa.insert(SWEEPS).values(job=job_id, plan=json.dumps(plan, ensure_ascii=False)))


def find_plan(connection: sa.Connection, job_id: str) -> dict[str, Any]:
    """The plan of a job that is a sweep."""
    text = connection.execute(sa.select(SWEEPS.c.plan).where(SWEEPS.c.job == job_id)).scalar_one()
    plan: dict[str, Any] = json.loads(text)
    return plan
