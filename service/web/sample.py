"""A few rows that the examples of the OpenAPI document upload, train on and ask about, one after the other."""

from __future__ import annotations

from typing import Any

__all__ = ["SAMPLE"]

#: Of Fisher's irises (1936), with a made-up column of words.
_ROWS = (
    (1.4, 0.2, "wood", "setosa"),
    (4.7, 1.4, "wood", "versicolor"),
    (6.0, 2.5, "meadow", "virginica"),
    (1.4, 0.3, "meadow", "setosa"),
    (4.7, 1.6, "meadow", "versicolor"),
    (4.5, 1.7, "wood", "virginica"),
    (1.4, 0.1, "meadow", "setosa"),
    (4.0, 1.0, "meadow", "versicolor"),
    (5.5, 2.1, "wood", "virginica"),
    (1.7, 0.3, "meadow", "setosa"),
    (4.5, 1.5, "meadow", "versicolor"),
    (6.9, 2.3, "wood", "virginica"),
    (1.9, 0.2, "wood", "setosa"),
    (4.3, 1.3, "wood", "versicolor"),
    (5.7, 2.1, "meadow", "virginica"),
    (1.6, 0.2, "meadow", "setosa"),
    (3.8, 1.1, "meadow", "versicolor"),
    (6.1, 1.9, "wood", "virginica"),
    (1.3, 0.2, "meadow", "setosa"),
    (4.7, 1.5, "meadow", "versicolor"),
    (5.6, 2.4, "wood", "virginica"),
    (1.3, 0.2, "meadow", "setosa"),
    (4.0, 1.2, "meadow", "versicolor"),
    (5.1, 1.9, "wood", "virginica"),
)
SAMPLE: list[dict[str, Any]] = [
    dict(zip(("petal_length", "petal_width", "site", "species"), row, strict=True)) for row in _ROWS
]
