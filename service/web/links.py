"""OpenAPI links: to which operations the answer of another one leads, and which of its members they take."""

from __future__ import annotations

from typing import Any

__all__ = ["CHECKPOINTS", "DATASET", "DATASETS", "JOB", "JOBS", "MODEL", "MODELS", "VERSION", "operation_id"]


def operation_id(noun: str, view: str) -> str:
    """The id of an operation, which is unique among all of them: ``jobs_cancel``."""
    return f"{noun.replace(' ', '_').replace('-', '_')}_{view}"


def _links(parameters: dict[str, str], *operations: str) -> dict[str, Any]:
    """Links to operations that take members of an answer; ``parameters`` are JSON pointers by parameter."""
    taken = {name: f"$response.body#{pointer}" for name, pointer in parameters.items()}
    return {operation: {"operationId": operation, "parameters": taken} for operation in operations}


_OF_MODELS = (
    *("models_show", "models_list_versions", "models_list_aliases", "models_delete"),
    *("checkpoints_list_checkpoints", "checkpoints_import_file"),
)
_OF_DATASETS = (
    *("datasets_show", "datasets_delete"),
    *("dataset_contents_profile", "dataset_contents_rows", "dataset_contents_download"),
)
_OF_JOBS = (
    *("jobs_show", "jobs_history", "jobs_list_checkpoints", "jobs_events", "held_out_rows_held_out"),
    *("jobs_cancel", "jobs_pause", "jobs_resume", "jobs_delete"),
)
_OF_CHECKPOINTS = ("checkpoints_show", "checkpoints_download")
_OF_VERSIONS = ("models_show_version",)

#: Of the answer with one of them, and of a list with its first entry.
MODEL = {**_links({"name": "/name"}, *_OF_MODELS), **_links({"query.model": "/name"}, "predictions_predict")}
MODELS = _links({"name": "/data/0/name"}, *_OF_MODELS)
VERSION = {
    **_links({"name": "/model", "version": "/version"}, *_OF_VERSIONS),
    **_links({"checkpoint_id": "/checkpoint"}, *_OF_CHECKPOINTS),
}
DATASET = _links({"key": "/id"}, *_OF_DATASETS)
DATASETS = _links({"key": "/data/0/id"}, *_OF_DATASETS)
JOB = _links({"job_id": "/id"}, *_OF_JOBS)
JOBS = _links({"job_id": "/data/0/id"}, *_OF_JOBS)
CHECKPOINTS = _links({"checkpoint_id": "/data/0/id"}, *_OF_CHECKPOINTS)
