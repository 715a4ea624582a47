"""The shapes of requests and answers of MLflow's scoring protocol."""

from __future__ import annotations

from typing import Any

from models.data.rows import MATRIX
from service.web.shape_parts import described

__all__ = ["METHODS", "SHAPES"]

#: What may be asked for, by scikit-learn's names of methods: the likeliest classes, or probabilities.
METHODS = ("predict", "predict_proba")
_VALUE = {"type": ["number", "string", "boolean", "null"]}
_ROWS: dict[str, Any] = {"type": "array", "items": {}, "minItems": 1}
SHAPES: dict[str, dict[str, Any]] = {
    "InvocationRequest": {
        **described(
            "Rows to classify, in one of four forms.",
            ("instances", "inputs", "dataframe_split", "dataframe_records", "params"),
            instances={**_ROWS, "description": "Rows: lists of numbers, or objects by column."},
            inputs={
                "description": "Lists of values by column, or rows.",
                "type": ["object", "array"],
                "items": {},
                "additionalProperties": {"type": "array", "items": {}},
            },
            dataframe_split=described(
                "A data frame as pandas splits it. Columns that are numbers have no names, and are taken in order.",
                ("columns", "index"),
                columns={"type": "array", "items": {"type": ["string", "integer"]}},
                data={**_ROWS, "items": {"type": "array", "items": _VALUE}},
                index={"type": "array", "items": {}, "description": "Left out."},
            ),
            dataframe_records={
                **_ROWS,
                "description": "The rows of a data frame as objects by column.",
                "items": {"type": "object", "additionalProperties": {}},
            },
            params={
                "type": ["object", "null"],
                "properties": {"predict_method": {"type": "string", "enum": [*METHODS]}},
                "additionalProperties": False,
                "description": "`predict`, the default, answers classes, `predict_proba` the probabilities of all.",
            },
        ),
        "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in ("instances", "inputs", "dataframe_split", "dataframe_records")],
        "examples": [
            {
                "dataframe_split": {
                    "columns": ["petal_length", "petal_width", "site"],
                    "data": [[1.5, 0.2, "meadow"], [4.9, None, "wood"]],
                }
            },
            {
                "dataframe_records": [{"petal_length": 6.1, "petal_width": 2.3, "site": "wood"}],
                "params": {"predict_method": "predict_proba"},
            },
            {"inputs": {"petal_length": [1.5], "petal_width": [0.2], "site": ["meadow"]}},
        ],
    },
    "Invocation": described(
        "A class for each row, or its probabilities in the order of the model's classes.",
        predictions={"oneOf": [MATRIX, {"type": "array", "items": {"type": ["string", "integer", "boolean"]}}]},
    ),
}
