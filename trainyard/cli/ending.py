"""How a job has ended: a sentence, the address of the model's page, and a curl line that asks the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainyard.cli.command import Failure
from trainyard.cli.descriptions import describe_held_out
from trainyard.cli.session import Session

__all__ = ["console_address", "end", "example_row", "version_of"]

#: Columns that fit into a line of a shell.
WIDEST = 100


def console_address(session: Session, *path: str) -> str:
    """The address of a page of the console."""
    from trainyard.requests import path_of

    return f"{session.address.url}/console{path_of(*path) if path else '/'}"


def end(
    session: Session,
    job: Mapping[str, Any],
    counts: Mapping[str, int] | None = None,
    dataset: Mapping[str, Any] | None = None,
) -> dict[str, Any] | None:
    """Print how a job has ended, and return its version; raises Failure if it did not succeed."""
    output = session.output
    if job["state"] != "succeeded":
        if output.as_json:
            output.document(job)
        error = job.get("error") or {}
        why = f": {error['detail']} ({error['code']})" if error else ""
        raise Failure(f"{job['id']} {'was cancelled' if job['state'] == 'cancelled' else 'has failed'}{why}")
    version = version_of(session, job)
    output.say(_sentence(job, version, counts or {}), mark="✓", colour="green")
    session.result(job, lambda: _print_places(session, job, version, dataset))
    return version


def version_of(session: Session, job: Mapping[str, Any]) -> dict[str, Any] | None:
    """The version that a job has published; None if it has not, or the version is deleted."""
    from trainyard.errors import NotFound
    from trainyard.requests import path_of

    if job.get("version") is None:
        return None
    try:
        document: dict[str, Any] = session.ask("GET", path_of("models", job["model"], "versions", job["version"]))
    except NotFound:
        return None
    return document


def _sentence(job: Mapping[str, Any], version: Mapping[str, Any] | None, counts: Mapping[str, int]) -> str:
    best, held_out = job.get("best"), describe_held_out(job, version or job, counts)
    if version is None:
        return f"{job['id']} has ended without a version{'' if held_out is None else f': {held_out}'}"
    epoch = f", epoch {best['epoch']}" if best else ""
    told = held_out or f"trained on {job['request']['data']['rows']:,} rows, none held out"
    return f"version {job['version']} of {job['model']}{epoch}: {told}"


def _print_places(
    session: Session,
    job: Mapping[str, Any],
    version: Mapping[str, Any] | None,
    dataset: Mapping[str, Any] | None,
) -> None:
    """The page and the curl line; a job without a version has neither."""
    if version is None:
        return
    session.output.line(console_address(session, "models", job["model"]))
    rows = example_row(session, job, version, dataset or {})
    if rows is not None:
        request = session.request("POST", "/predict", {"model": job["model"], **rows})
        session.output.line(session.curl(request))


def example_row(
    session: Session, job: Mapping[str, Any], version: Mapping[str, Any], dataset: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The first row of the dataset as a request has it; None if it cannot be had, or would be too long."""
    from trainyard.errors import Refused
    from trainyard.requests import path_of

    name = dataset.get("id") or (job["request"].get("data") or {}).get("dataset")
    if name is None:
        return None
    try:
        page = session.ask("GET", path_of("datasets", name, "rows"), query={"limit": 1})
    except Refused:  # it is deleted, or its rows are not kept under names
        return None
    if not page["data"]:
        return None
    values = page["data"][0]["values"]
    features = [feature["column"] for feature in version.get("features") or [] if feature["type"] != "ignore"]
    if len(features or values) > WIDEST:
        return None
    if not features:
        label = dataset.get("label")
        numbers = [value for column, value in values.items() if column != label]
        return {"inputs": [numbers]}
    return {"rows": [{column: values[column] for column in features if values.get(column) is not None}]}
