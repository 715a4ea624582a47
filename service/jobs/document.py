"""A job as the API shows it."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

__all__ = ["job_document"]


def job_document(row: sa.Row[Any]) -> dict[str, Any]:
    """A job as the API shows it."""
    return {
        "id": row.id,
        "model": row.model,
        "state": row.state,
        "created_at": row.created_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "attempt": row.attempt,
        "progress": {
            "epoch": row.epoch,
            "epochs": row.epochs,
            "step": row.step,
            "fraction": row.fraction,
            "eta_seconds": row.eta_seconds,
        },
        "metrics": json.loads(row.metrics),
        "best": None,
        "stopped_by": None,
        **json.loads(row.details),
        "checkpoint": row.checkpoint,
        "version": row.version,
        "error": json.loads(row.error) if row.error else None,
        "request": json.loads(row.request),
    }
