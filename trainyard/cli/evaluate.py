"""The command that measures a model on labelled rows."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from trainyard.cli import text
from trainyard.cli.command import command
from trainyard.cli.output import Column
from trainyard.cli.session import Session
from trainyard.cli.types import NAME_OF_JOB, NAME_OF_MODEL
from trainyard.cli.versions import VERSION, version_member

__all__ = ["evaluate"]

EXAMPLE = """\
trainyard evaluate iris test.csv
trainyard evaluate iris iris-2 --version 3
trainyard evaluate iris --held-out job_1htz3m43bnmnve1q9w78a"""
PLACES = {
    "/data/label": "--label",
    "/data/job": "--held-out",
    "/data": "DATA",
    "/model": "MODEL",
    "/version": "--version",
}
MEASURES = (
    *("accuracy", "balanced_accuracy", "log_loss", "roc_auc", "brier_score", "calibration_error"),
    *("matthews_correlation", "trained_on"),
)


@command(name="evaluate", example=EXAMPLE, places=PLACES)
@click.argument("model", type=NAME_OF_MODEL)
@click.argument("source", metavar="[FILE|DATASET]", required=False)
@click.option("--held-out", "job", metavar="JOB", type=NAME_OF_JOB, help="The rows that this job held out.")
@click.option("--label", metavar="COLUMN", help="The column that holds the classes; else that of the model.")
@click.option("--version", metavar="VERSION", help=VERSION)
def evaluate(
    session: Session, model: str, source: str | None, job: str | None, label: str | None, version: str | None
) -> None:
    """Measure a model on labelled rows.

    They are those of a file or a dataset, or those that a job held out. A file becomes a dataset for as long as that
    takes. "-" is standard input.
    """
    from trainyard.cli.upload import local_file

    if (source is None) == (job is None):
        raise click.UsageError("give a file, a dataset, or --held-out JOB")
    body: dict[str, Any] = {"model": model, **version_member(version)}
    if source is None:
        _print(session, session.ask("POST", "/evaluate", {**body, "data": {"job": job, "part": "validation"}}))
        return
    with local_file(source, kept_back=session.choices.curl) as file:
        if file is None:
            _print(session, session.ask("POST", "/evaluate", {**body, "data": _data(source, label)}))
        else:
            _print(session, _with_file(session, body, file, label))


def _data(dataset: str, label: str | None) -> dict[str, Any]:
    return {"dataset": dataset, **({} if label is None else {"label": label})}


def _with_file(session: Session, body: Mapping[str, Any], file: Path, label: str | None) -> Any:
    """Evaluate on a dataset that is made of a file and deleted again."""
    from trainyard.cli.upload import stored, upload_request
    from trainyard.requests import path_of

    name = f"evaluated-{secrets.token_hex(6)}"
    options = {"label": label}
    evaluation = session.request("POST", "/evaluate", {**body, "data": _data(name, label)})
    deletion = session.request("DELETE", path_of("datasets", name))
    if session.choices.curl:
        session.show(upload_request(session, file, name, options), evaluation, deletion)
    if label is None:
        options["label"] = session.ask("GET", path_of("models", body["model"])).get("label")
        evaluation = session.request("POST", "/evaluate", {**body, "data": _data(name, options["label"])})
    stored(session, file, name, options, exact=True)
    try:
        return session.send(evaluation).json()
    finally:
        session.send(deletion)


def _print(session: Session, document: Mapping[str, Any]) -> None:
    session.result(document, lambda: _tables(session, document))


def _tables(session: Session, document: Mapping[str, Any]) -> None:
    """The measures; at a terminal also the classes and what was taken for what."""
    output = session.output
    version = document.get("version") or document.get("checkpoint")
    values = {"model": document["model"], "version": version, "rows": document["rows"]}
    output.pairs(values | {name: document.get(name) for name in MEASURES})
    if not output.at_terminal:
        return
    output.line("")
    output.table(
        (
            Column("CLASS", lambda row: row["class"]),
            Column("ROWS", lambda row: row["support"], right=True),
            Column("PRECISION", lambda row: row["precision"], _share, right=True),
            Column("RECALL", lambda row: row["recall"], _share, right=True),
            Column("F1", lambda row: row["f1"], _share, right=True),
        ),
        document["per_class"],
    )
    output.line("")
    classes = [text.harmless(name) for name in document["classes"]]
    cells = [
        [name, *("·" if count == 0 else f"{count:,}" for count in row)]
        for name, row in zip(classes, document["confusion_matrix"], strict=True)
    ]
    output.aligned(["IS \\ TAKEN FOR", *classes], cells, [False, *(True for _ in classes)])


def _share(value: float) -> str:
    return f"{value:.3f}"
