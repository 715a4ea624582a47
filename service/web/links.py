"""OpenAPI links: to which operations the answer of another one leads, and which of its members they take."""

from __future__ import annotations

from typing import Any

__all__ = ["ALIAS", "CHECKPOINTS", "DATASET", "DATASETS", "JOB", "JOBS", "MODEL", "MODELS", "VERSION"]


def _links(parameters: dict[str, str], *operations: str) -> dict[str, Any]:
    """Links to operations that take members of an answer; ``parameters`` are JSON pointers by parameter."""
    taken = {name: f"$response.body#{pointer}" for name, pointer in parameters.items()}
    return {operation: {"operationId": operation, "parameters": taken} for operation in operations}


_OF_MODELS = (
    *("show_model", "list_versions", "list_aliases", "delete_model"),
    *("list_checkpoints", "import_checkpoint", "publish_checkpoint"),
)
_OF_DATASETS = ("show_dataset", "delete_dataset", "profile_dataset", "list_rows", "download_dataset")
_OF_JOBS = (
    *("show_job", "show_history", "list_job_checkpoints", "list_job_events", "download_held_out"),
    *("cancel_job", "pause_job", "resume_job", "delete_job"),
)
_OF_CHECKPOINTS = ("show_checkpoint", "download_checkpoint")
_OF_VERSIONS = ("show_version", "export_version")

#: Of the answer with one of them, and of a list with its first entry.
MODEL = {**_links({"name": "/name"}, *_OF_MODELS), **_links({"query.model": "/name"}, "predict")}
MODELS = _links({"name": "/data/0/name"}, *_OF_MODELS)
#: Of the answer with an alias.
ALIAS = _links(
    {"name": "/model", "alias": "/alias"}, "show_alias", "download_shadow_log", "clear_shadow_log", "delete_alias"
)
VERSION = {
    **_links({"name": "/model", "version": "/version"}, *_OF_VERSIONS),
    **_links({"checkpoint_id": "/checkpoint"}, *_OF_CHECKPOINTS),
}
DATASET = _links({"key": "/id"}, *_OF_DATASETS)
DATASETS = _links({"key": "/data/0/id"}, *_OF_DATASETS)
JOB = _links({"job_id": "/id"}, *_OF_JOBS)
JOBS = _links({"job_id": "/data/0/id"}, *_OF_JOBS)
CHECKPOINTS = _links({"checkpoint_id": "/data/0/id"}, *_OF_CHECKPOINTS)
