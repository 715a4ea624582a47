"""The answer of routes that queue a job."""

from __future__ import annotations

from flask import Response, url_for

from service.jobs.document import job_document
from service.jobs.record import Job
from service.web.json_bodies import json_response

__all__ = ["queued"]


def queued(job: Job) -> Response:
    """The job's document, with its place."""
    return json_response(job_document(job), 202, {"Location": url_for("jobs.show_job", job_id=job.id)})
