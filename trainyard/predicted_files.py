"""Predictions for the rows of a file, which is never in memory as a whole."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.bodies import FileBody
from trainyard.datasets import TABLE_TYPES
from trainyard.errors import TrainyardError
from trainyard.predictions import Label, Prediction

if TYPE_CHECKING:
    from trainyard.client import Trainyard

__all__ = ["COMPUTING", "of_file", "predict_file"]

#: Seconds for which the service may compute before the first byte of an answer to a file.
COMPUTING = 600.0


def of_file(client: Trainyard, model: str, path: Path, version: Any, options: Mapping[str, Any]) -> Prediction:
    """The predictions of a file's rows, without its columns."""
    query = {**_query(model, version, options), "probabilities": True}
    columns = _Columns(bool(options.get("coverage")), bool(options.get("uncertainty")))
    body, accept = _body(path), TABLE_TYPES[".ndjson"]
    with client.request("POST", "/predict", body, query=query, accept=accept, stream=True, timeout=COMPUTING) as answer:
        number = answer.headers.get("x-model-version", "")
        classes = _classes(client, model, number)
        for line in answer.lines():
            columns.add(json.loads(line), classes)
    known = (
        {"version": int(number), "checkpoint": None} if number.isdecimal() else {"version": None, "checkpoint": number}
    )
    return Prediction(
        model,
        classes=classes,
        labels=tuple(columns.labels),
        probabilities=tuple(columns.probabilities),
        sets=None if columns.sets is None else tuple(columns.sets),
        uncertainty=None if columns.uncertainty is None else tuple(columns.uncertainty),
        **known,
    )


def predict_file(
    client: Trainyard, model: str, source: Path, target: Path, version: Any, options: Mapping[str, Any]
) -> Path:
    """A file with the columns of another one and the predictions beside them."""
    query, accept = _query(model, version, options), TABLE_TYPES.get(target.suffix.lower(), "text/csv")
    body = _body(source)
    return client.save("/predict", target, accept=accept, method="POST", body=body, query=query, timeout=COMPUTING)


def _body(path: Path) -> FileBody:
    return FileBody(path, TABLE_TYPES.get(path.suffix.lower(), "application/octet-stream"))


def _query(model: str, version: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(version, Mapping):
        raise ValueError("for a file, `version` is a number, an alias or a checkpoint's id")  # noqa: TRY004
    return {"model": model, "version": version, **options}


def _classes(client: Trainyard, model: str, answering: str) -> Sequence[Label]:
    """The classes of the version that has answered; those of the model for a checkpoint."""
    if answering.isdecimal():
        definition = client.model(model).version(int(answering)).definition or {}
        return tuple(definition["classes"])
    return client.model(model).classes


class _Columns:
    """What the lines of an answer hold behind the columns that came."""

    def __init__(self, has_sets: bool, has_uncertainty: bool) -> None:
        self.labels: list[Label] = []
        self.probabilities: list[list[float]] = []
        self.sets: list[list[Label]] | None = [] if has_sets else None
        self.uncertainty: list[float] | None = [] if has_uncertainty else None

    def add(self, row: Mapping[str, Any], classes: Sequence[Label]) -> None:
        """Take a line; raises TrainyardError if it does not hold these classes."""
        names, values = list(row), list(row.values())
        if self.uncertainty is not None:
            self.uncertainty.append(values.pop())
        if self.sets is not None:
            self.sets.append(_set(values.pop(), classes))
        first = len(values) - len(classes)
        if first < 2 or not names[first - 2].startswith("prediction"):
            raise TrainyardError(f"the answer does not have the {len(classes)} classes of the model. Columns: {names}")
        probabilities = [float(value) for value in values[first:]]
        self.probabilities.append(probabilities)
        self.labels.append(classes[probabilities.index(max(probabilities))])


def _set(text: str | None, classes: Sequence[Label]) -> list[Label]:
    r"""The labels in a set, which have ``|`` between them and ``\|`` for one within."""
    by_text = {(str(label).lower() if isinstance(label, bool) else str(label)): label for label in classes}
    return [by_text[re.sub(r"\\(.)", r"\1", part)] for part in re.findall(r"(?:\\.|[^|\\])+", text or "")]
