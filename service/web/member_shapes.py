"""The shapes of what a job shows of several members, and of how good they are on the rows that they held out."""

from __future__ import annotations

from typing import Any

from service.web.shape_parts import NUMBER, OPTIONAL_NUMBER, described

__all__ = ["HELD_OUT", "MEMBERS", "NETWORK"]

_MEASURES: dict[str, Any] = {
    "rows": {"type": "integer"},
    "accuracy": NUMBER,
    "log_loss": NUMBER,
    "roc_auc": OPTIONAL_NUMBER,
    "calibration_error": NUMBER,
}
_MEASURED = described("Measures on some rows.", (), **_MEASURES)

NETWORK: dict[str, Any] = {
    "type": "object",
    "description": "The members of a model of several networks: the recipe that chose them, or all kinds in full.",
    "properties": {
        "recipe": {"type": ["integer", "null"]},
        "effort": {"enum": ["quick", "default", "thorough", None]},
        "folds": {"type": "integer"},
        "group": {"type": ["string", "null"]},
        "kinds": {"type": "array", "items": {"type": "object"}},
    },
}
MEMBERS: dict[str, Any] = {
    "type": "array",
    "description": "The members of a job that trains several networks: each of a kind, with a fold that it holds out; "
    "or the trials of a sweep, each with its values.",
    "items": described(
        "A member or a trial.",
        ("kind", "fold", "values", "error"),
        member={"type": "integer", "description": "Its number, from 1."},
        kind={"type": "string"},
        fold={"type": "integer", "description": "The fold that it holds out, from 1."},
        values={
            "type": "object",
            "description": "The values of a trial by their pointers into the request.",
            "additionalProperties": True,
        },
        state={
            "enum": ["waiting", "running", "paused", "ended", "stopped", "failed"],
            "description": "`paused`: a trial may go on; `stopped`: the sweep ended without training it to its end.",
        },
        epoch={"type": "integer"},
        epochs={"type": "integer", "description": "The most that it trains."},
        stopped_by={"enum": ["early_stopping", "max_seconds", None]},
        best={"type": ["object", "null"], "description": "Its best epoch so far."},
        error={
            "type": ["object", "null"],
            "description": "Why a trial failed; the sweep goes on without it.",
            "properties": {"code": {"type": "string"}, "detail": {"type": "string"}},
        },
    ),
}
HELD_OUT: dict[str, Any] = {
    "type": ["object", "null"],
    "description": "How good the members of a job are on the training rows, each judged by members that did not train "
    "on it; null before the end, and for a single network.",
    "properties": {
        **_MEASURES,
        "standard_error": described(
            "Standard error of the mean over the folds.", (), accuracy=OPTIONAL_NUMBER, log_loss=OPTIONAL_NUMBER
        ),
        "folds": {
            "type": "array",
            "items": described("Measures on the rows of a fold.", (), fold={"type": "integer"}, **_MEASURES),
        },
        "temperature": {**NUMBER, "description": "Below 1 it sharpened the probabilities, above 1 it flattened them."},
        "before_temperature": _MEASURED,
        "kinds": {
            "type": "array",
            "items": described(
                "A kind of network, alone.", tuple(_MEASURES), kind={"type": "string"}, weight=NUMBER, **_MEASURES
            ),
        },
        "to_beat": {
            "type": "object",
            "description": "The same measures of simpler answers: `majority`, the shares of the classes, and `linear`, "
            "logistic regression on the same features.",
            "additionalProperties": _MEASURED,
        },
        "validation": {
            "anyOf": [_MEASURED, {"type": "null"}],
            "description": "Measures on the validation rows of the request.",
        },
    },
}
