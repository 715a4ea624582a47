"""Evaluation of a published version on labelled rows: the request, and the document of the measures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import marshmallow as ma
import numpy as np

from models.data.labels import Label, is_label
from models.data.schemas import Rows, RowsSchema
from models.errors import InvalidError
from models.identifiers import NAME_PATTERN
from models.registry.versions import require_version_form
from models.schemas import DescribedField, Flag, Number, StrictSchema, Text, Whole
from nncore.arrays import Array
from nncore.hyperparameters import Bounds
from nncore.metrics import MAXIMUM_CONFUSION_CLASSES, ClassScores, evaluate

__all__ = ["VERSION", "EvaluateSchema", "evaluation_bytes", "evaluation_document", "sets_document"]

#: At their peak, prediction and measures take 16 bytes for each probability in float64; the rest is a reserve.
BYTES_PER_PROBABILITY = 20
#: What the measures of a class take as Python objects and as JSON, and what a cell of the confusion matrix takes.
BYTES_PER_CLASS, BYTES_PER_CELL = 1500, 48

#: The most rows that an answer shows.
MAXIMUM_SHOWN = 1000

#: What answers a request, as a JSON schema.
VERSION: dict[str, Any] = {
    "oneOf": [
        {"type": "integer", "minimum": 1, "description": "A version's number."},
        {"type": "string", "minLength": 1, "description": "An alias, or a checkpoint's id."},
        {
            "type": "object",
            "description": "A checkpoint of a job, which may be running.",
            "properties": {
                "job": {"type": "string"},
                "checkpoint": {"type": "string", "description": "`best`, `last`, or a checkpoint's id."},
            },
            "required": ["job", "checkpoint"],
            "additionalProperties": False,
        },
    ]
}


class VersionReference(DescribedField):
    """A version's number, an alias, a checkpoint's id, or a checkpoint of a job."""

    def json_schema(self) -> dict[str, Any]:
        return VERSION

    def _validated(self, value: Any) -> Any:
        try:
            return require_version_form(value)
        except InvalidError as error:
            if isinstance(value, dict):
                places = {problem.pointer.rpartition("/")[2]: [problem.detail] for problem in error.problems}
                raise ma.ValidationError(places) from None
            raise self.refusal(value, error.problems[0].detail) from None


class LabelValue(DescribedField):
    """A label: a string, a whole number or a boolean."""

    wanted = "a label: a string, a whole number or a boolean"

    def json_schema(self) -> dict[str, Any]:
        return {"type": ["string", "integer", "boolean"]}

    def _validated(self, value: Any) -> Any:
        if not is_label(value):
            raise self.refusal(value)
        return value


class CellSchema(StrictSchema):
    """A cell, a line or all of the confusion matrix, and how many of its rows to return."""

    label = LabelValue(
        load_default=None,
        allow_none=True,
        metadata={"description": "The label of the rows, matched by value; any if left out."},
    )
    predicted = LabelValue(
        load_default=None, allow_none=True, metadata={"description": "Their prediction; any if left out."}
    )
    limit = Whole(
        Bounds(minimum=1, maximum=MAXIMUM_SHOWN),
        load_default=20,
        metadata={
            "description": "At most so many of them: the first ones of a cell, or rows spread evenly over all that "
            "there are if label or prediction is left out."
        },
    )


class EvaluatedSchema(RowsSchema):
    """Rows to evaluate: given, stored, or those that a job trained on or held out."""

    wanted: ClassVar[str] = "an object, or the name of a dataset"

    job = Text(maximum=63, metadata={"description": "A job, whose rows are meant."})
    part = Text(
        choices=("validation", "training"),
        metadata={
            "description": "The rows that it held out, or trained on. In folds it held out each row once; "
            "the members that did not train on a row predict it then."
        },
    )

    choices = "must hold dataset (with an optional label), rows and label, inputs and labels, or job and part"
    allowed = (*RowsSchema.allowed, ({"job", "part"}, set()))


class EvaluateSchema(StrictSchema):
    """The body of ``POST /evaluate``."""

    examples: ClassVar[Sequence[Any]] = (
        {"model": "sample", "data": "sample"},
        {
            "model": "sample",
            "data": {"job": "job_06f3n9w0s5vkqk2d3a4b5", "part": "validation"},
            "rows": {"limit": 5},
        },
    )

    model = Text(required=True, pattern=NAME_PATTERN, maximum=63, metadata={"description": "The model's name."})
    version = VersionReference(
        load_default=None,
        allow_none=True,
        metadata={"description": "What answers; the alias `default` if left out."},
    )
    data = Rows(EvaluatedSchema, required=True, metadata={"description": "The labelled rows."})
    rows = ma.fields.Nested(
        CellSchema,
        load_default=None,
        allow_none=True,
        metadata={"description": "Also return rows: those with this label and this prediction, or any."},
    )
    top_k = Whole(
        Bounds(minimum=1),
        load_default=None,
        allow_none=True,
        metadata={"description": "Also compute the share of rows whose label is among this many likeliest classes."},
    )
    coverage = Number(
        Bounds(above=0, below=1),
        load_default=None,
        allow_none=True,
        metadata={"description": "Also say how many rows the conformal sets of this coverage cover, and their size."},
    )
    by_class = Flag(load_default=False, metadata={"description": "Whether the coverage is asked for in each class."})
    importance = Flag(
        load_default=False,
        metadata={"description": "Also say how much worse the predictions become if a column's values are shuffled."},
    )

    @ma.validates_schema
    def _check_by_class(self, body: dict[str, Any], **_: Any) -> None:
        if body["by_class"] and body["coverage"] is None:
            raise ma.ValidationError("goes with coverage, which the request lacks", "by_class")


def evaluation_bytes(rows: int, classes: int) -> int:
    """Memory that an evaluation takes in addition to the rows themselves, its answer included."""
    cells = classes**2 if classes <= MAXIMUM_CONFUSION_CLASSES else 0
    return rows * classes * BYTES_PER_PROBABILITY + classes * BYTES_PER_CLASS + cells * BYTES_PER_CELL


def evaluation_document(
    probabilities: Array, codes: Array, classes: Sequence[Label], top_k: int | None
) -> dict[str, object]:
    """All measures of probabilities (n_rows, n_classes) against class numbers (n_rows,), as the API shows them.

    Undefined measures, such as the ROC AUC of a class without rows, are None.
    """
    result = evaluate(probabilities, codes, top_k)
    return {
        "rows": result.samples,
        "classes": list(classes),
        "accuracy": result.accuracy,
        "balanced_accuracy": result.balanced_accuracy,
        "top_k": result.top_k,
        "top_k_accuracy": result.top_k_accuracy,
        "log_loss": result.log_loss,
        "brier_score": result.brier_score,
        "matthews_correlation": result.matthews_correlation,
        "roc_auc": _defined(result.roc_auc),
        "calibration_error": result.calibration_error,
        "macro": asdict(result.macro),
        "micro": asdict(result.micro),
        "weighted": asdict(result.weighted),
        "per_class": _per_class(result.per_class, classes),
        "confusion_matrix": None if result.confusion_matrix is None else result.confusion_matrix.tolist(),
    }


def sets_document(
    sets: Array, codes: Array, classes: Sequence[Label], coverage: float, *, by_class: bool
) -> dict[str, object]:
    """What sets (n_rows, n_classes) of a coverage cover of class numbers (n_rows,), as the API shows it."""
    covered, sizes = sets[np.arange(len(codes)), codes], sets.sum(axis=1)
    support = np.bincount(codes, minlength=len(classes))
    hits = np.bincount(codes, covered, minlength=len(classes))
    return {
        "coverage": coverage,
        "by_class": by_class,
        "covered": float(covered.mean()),
        "mean_size": float(sizes.mean()),
        "empty": float((sizes == 0).mean()),
        "per_class": [
            {"class": label, "support": count, "covered": hit / count if count else None}
            for label, count, hit in zip(classes, support.tolist(), hits.tolist(), strict=True)
        ],
    }


def _per_class(scores: ClassScores, classes: Sequence[Label]) -> list[dict[str, object]]:
    columns = {name: values.tolist() for name, values in vars(scores).items()}
    columns["roc_auc"] = [_defined(area) for area in columns["roc_auc"]]
    return [
        {"class": label, **dict(zip(columns, values, strict=True))}
        for label, values in zip(classes, zip(*columns.values(), strict=True), strict=True)
    ]


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value
