"""The shapes of what says how far an answer can be trusted, and why it is as it is."""

from __future__ import annotations

from typing import Any, get_args

from models.data.labels import CLASS_LIST
from models.serving.explanations import BaselineKind
from service.web.shape_parts import NUMBER, OPTIONAL_NUMBER, described

__all__ = ["ASKED", "BESIDE", "EVALUATED", "EXAMPLES", "ROW_DISTANCE"]

_VALUE = {"type": ["number", "string", "boolean", "null"]}
_LABEL = CLASS_LIST["items"]

#: What a request for predictions may ask for.
ASKED: dict[str, Any] = {
    "coverage": {
        "type": ["number", "null"],
        "exclusiveMinimum": 0,
        "exclusiveMaximum": 1,
        "description": "Also return `sets`: the classes that each row's true one is among with this probability.",
    },
    "by_class": {
        "type": "boolean",
        "description": "Whether the coverage holds within the rows of each class; sets are larger then.",
    },
    "uncertainty": {
        "type": "boolean",
        "description": "Also return how far the members of the version differ about each row, from 0 to 1.",
    },
    "explain": {
        "description": "Also return what each column has added to the log-probability of the predicted class, or of "
        "`class`. For at most 100 rows.",
        "oneOf": [
            {"type": "boolean"},
            {
                "type": "object",
                "properties": {"class": {"oneOf": [*_LABEL["oneOf"], {"type": "null"}]}},
                "additionalProperties": False,
            },
        ],
    },
}

EXAMPLES: list[dict[str, Any]] = [
    {
        "model": "sample",
        "rows": [{"petal_length": 4.9, "petal_width": 1.7, "site": "wood"}],
        "coverage": 0.9,
        "uncertainty": True,
        "report": True,
        "explain": {"class": "virginica"},
    }
]

#: What a row's report has beside the columns whose values are unusual.
ROW_DISTANCE: dict[str, Any] = {
    "distance": {
        "type": "number",
        "description": "How far the row lies from the training rows, if the version has members: 1 is the 99th "
        "percentile of rows that were held out.",
    },
    "unusual": {"type": "boolean", "description": "Whether the distance is more than 1."},
}

#: What an answer has beside probabilities.
BESIDE: dict[str, Any] = {
    "sets": {
        "type": "array",
        "items": CLASS_LIST,
        "description": "The classes in each row's conformal set, the likeliest first. A set may be empty.",
    },
    "uncertainty": {
        "type": "array",
        "items": {"type": "number", "minimum": 0, "maximum": 1},
        "description": "How far the members differ about each row: the mutual information of class and member, over "
        "the logarithm of the number of classes.",
    },
    "baseline": described(
        "The row at which explanations begin.",
        kind={
            "type": "string",
            "enum": list(get_args(BaselineKind)),
            "description": "`typical`: medians, or means, of numbers, the most frequent levels, the middle of times, "
            "empty texts; `mean`: the means of rows that were held out; `zeros`.",
        },
        values={
            "description": "Its values by column, or its numbers if the inputs have no names.",
            "oneOf": [
                {"type": "object", "additionalProperties": _VALUE},
                {"type": "array", "items": {"type": "number"}},
            ],
        },
    ),
    "explanations": {
        "type": "array",
        "items": described(
            "Why the row has its probability of a class, in nats: 0.7 doubles the probability.",
            **{"class": _LABEL},
            log_probability={**NUMBER, "description": "Of the class, at the row."},
            at_baseline={**NUMBER, "description": "Of the class, at the baseline."},
            contributions={
                "description": "What each column has added, by its name, or in the order of the inputs. Together they "
                "are the difference between row and baseline.",
                "oneOf": [
                    {"type": "object", "additionalProperties": {"type": "number"}},
                    {"type": "array", "items": {"type": "number"}},
                ],
            },
            corrected={**NUMBER, "description": "How much was put right so that they are."},
        ),
    },
}

_CHANGE = described("Mean over the shuffles.", mean=NUMBER, standard_error=NUMBER)

#: What an evaluation has beside its measures.
EVALUATED: dict[str, Any] = {
    "sets": described(
        "What the conformal sets of the coverage asked for cover.",
        coverage={**NUMBER, "description": "As asked for."},
        by_class={"type": "boolean"},
        covered={**NUMBER, "description": "Share of rows whose label is in their set."},
        mean_size={**NUMBER, "description": "Classes in a set."},
        empty={**NUMBER, "description": "Share of sets without a class."},
        per_class={
            "type": "array",
            "items": described(
                "The rows of a class.", **{"class": _LABEL}, support={"type": "integer"}, covered=OPTIONAL_NUMBER
            ),
        },
    ),
    "importance": described(
        "How much worse predictions become if the values of a column are shuffled among the rows.",
        rows={"type": "integer", "description": "Rows that were shuffled: all, or a sample that is always the same."},
        repeats={"type": "integer", "description": "Shuffles of each column."},
        columns={
            "type": "array",
            "items": described(
                "A column, in the order in which the model reads them.",
                column={"type": "string"},
                log_loss={**_CHANGE, "description": "What is added to the log loss."},
                accuracy={**_CHANGE, "description": "What is taken from the accuracy."},
            ),
        },
    ),
}
