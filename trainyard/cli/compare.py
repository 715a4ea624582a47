"""The command that shows how versions of models differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from trainyard.cli import text
from trainyard.cli.command import command
from trainyard.cli.descriptions import describe_network
from trainyard.cli.expectation import metrics_of
from trainyard.cli.output import raw
from trainyard.cli.session import Session
from trainyard.cli.types import NAME_OF_MODEL

__all__ = ["compare"]

EXAMPLE = """\
trainyard compare iris@1 iris@3
trainyard compare titanic titanic-wide"""
#: Members of a request and a definition that say nothing about how good a network becomes.
_UNTOLD = {"name", "classes", "metadata", "inputs"}
#: Places of a cell at a terminal.
WIDEST = 48
#: Metrics in the order in which they are shown; others follow.
_FIRST = ("validation_accuracy", "validation_loss", "accuracy", "loss")


@command(name="compare", example=EXAMPLE)
@click.argument("models", metavar="MODEL[@VERSION]...", nargs=-1, required=True, type=NAME_OF_MODEL)
def compare(session: Session, models: tuple[str, ...]) -> None:
    """Show how versions of models differ.

    That is their metrics, and in what their definitions and training differ. Without @VERSION it is the default
    version; a version is a number or an alias. With --json it is a list of the documents of the versions, each with
    its job.
    """
    from trainyard.requests import path_of

    asked = []
    for model in models:
        name, _, version = model.partition("@")
        asked.append(session.request("GET", path_of("models", name, "versions", version or "default")))
    session.show(*asked)
    documents = [session.send(request).json() for request in asked]
    for document in documents:
        document["job"] = _job(session, document.get("job"))
    session.result(documents, lambda: _print(session, documents))


def _job(session: Session, job_id: str | None) -> Any:
    """The job that made a version; None if it was imported, or the job is deleted."""
    from trainyard.errors import NotFound
    from trainyard.requests import path_of

    if job_id is None:
        return None
    try:
        return session.ask("GET", path_of("jobs", job_id))
    except NotFound:
        return None


def _print(session: Session, documents: list[dict[str, Any]]) -> None:
    heads = [f"{document['model']}@{document['version']}" for document in documents]
    metrics = [metrics_of(document["job"] or {}, document) for document in documents]
    alike = len({"network" in document["definition"] for document in documents}) == 1
    settings = [dict(_flat(each)) for each in _in_short([_settings(each, alike=alike) for each in documents])]
    rows = []
    for name in [*_FIRST, *sorted({name for each in metrics for name in each} - set(_FIRST))]:
        values = [each.get(name) for each in metrics]
        if "to_beat" in name and not name.endswith(".accuracy"):
            continue
        if any(value != values[0] for value in values) or (name in _FIRST and values[0] is not None):
            rows.append([name, *_cells(session, values)])
    for name in dict.fromkeys(name for each in settings for name in each):
        values = [each.get(name) for each in settings]
        if any(value != values[0] for value in values):
            rows.append([name, *_cells(session, values)])
    if session.output.at_terminal:
        session.output.aligned(["", *heads], rows, [False, *(False for _ in heads)])
        return
    for row in [["", *heads], *rows]:
        session.output.line("\t".join(row))


def _cells(session: Session, values: list[Any]) -> list[str]:
    if not session.output.at_terminal:
        return [raw(value) for value in values]
    return ["" if value is None else text.cut(text.harmless(text.number(value)), WIDEST) for value in values]


def _settings(document: Mapping[str, Any], *, alike: bool) -> dict[str, Any]:
    """What a version was trained with: its definition, and the request where that says more.

    ``alike``: all have one network, or all have several; otherwise a sentence stands for them.
    """
    definition = {name: value for name, value in document["definition"].items() if name not in _UNTOLD}
    if not alike:
        definition["network"] = describe_network(definition)
        definition.pop("layers", None)
    features = {each["column"]: _words(each, "column") for each in definition.pop("features", None) or []}
    request = {
        name: value for name, value in ((document["job"] or {}).get("request") or {}).items() if value is not None
    }
    for name in ("model", "metadata"):
        request.pop(name, None)
    own = {name: request[name] for name in ("optimizer", "loss", "class_weights") if name in request}
    return {**request, "parameters": document["parameters"], **definition, "features": features, **own}


def _in_short(settings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What only some of the versions have takes one line, not one for each of its members."""
    everywhere = set.intersection(*(set(each) for each in settings))
    return [
        {
            name: _words(value) if isinstance(value, dict) and name not in everywhere else value
            for name, value in each.items()
        }
        for each in settings
    ]


def _words(members: Mapping[str, Any], *left_out: str) -> str:
    """The values of an object in a cell: ``dense units=16 he_normal use_bias``."""
    told = []
    for name, value in members.items():
        if value in (None, False) or isinstance(value, dict) or name in left_out:
            continue
        told.append(name if value is True else value if isinstance(value, str) else f"{name}={value}")
    return " ".join(told)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a document with their paths; each layer of a network is one."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _flat(each, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        for number, each in enumerate(value, 1):
            place = each.get("name") or number
            yield from [(f"{path}.{place}", _words(each))] if "type" in each else _flat(each, f"{path}.{place}")
    elif value is not None:
        yield path, value
