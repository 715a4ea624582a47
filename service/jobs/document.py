"""The document of a job in the API."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from service.jobs.record import Job

__all__ = ["job_document", "progress_document"]


def progress_document(job: Job | sa.Row[Any]) -> dict[str, Any]:
    """How far a job, or the job of a row, is."""
    return {
        "epoch": job.epoch,
        "epochs": job.epochs,
        "step": job.step,
        "fraction": job.fraction,
        "eta_seconds": job.eta_seconds,
    }


def job_document(job: Job) -> dict[str, Any]:
    """The document of a job."""
    return {
        "id": job.id,
        "model": job.model,
        "state": job.state,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "attempt": job.attempt,
        "progress": progress_document(job),
        "metrics": job.metrics,
        "best": job.details.get("best"),
        "stopped_by": job.details.get("stopped_by"),
        "kernels": job.details.get("kernels"),
        "members": job.details.get("members", []),
        "held_out": job.details.get("held_out"),
        "checkpoint": job.checkpoint,
        "version": job.version,
        "error": None if job.error is None else job.error._asdict(),
        "warnings": job.warnings,
        "request": job.request,
    }
