"""What the tests of the service define, train and upload."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np

__all__ = [
    "CLASSES",
    "CSV",
    "DATA",
    "LABELS",
    "PROBLEM",
    "ROWS",
    "a_model",
    "a_training",
    "fresh",
    "spiral",
    "without_jobs",
]


CLASSES = ["red", "green", "blue"]
#: Twelve points on a plane; the first number decides the class.
ROWS = [[float(number % 3) - 1.0, number / 12] for number in range(12)]
LABELS = [CLASSES[number % 3] for number in range(12)]
DATA = {"inputs": ROWS, "labels": LABELS}
CSV = "x,y,colour\n" + "".join(f"{x},{y},{label}\n" for (x, y), label in zip(ROWS, LABELS, strict=True))

_numbers = count()


def fresh(kind: str) -> str:
    """A name that no other test has."""
    return f"{kind}-{next(_numbers)}"


def a_model(name: str, **members: Any) -> dict[str, Any]:
    """Two inputs, eight hidden units, three colours."""
    return {
        "name": name,
        "inputs": 2,
        "classes": CLASSES,
        "layers": [{"type": "dense", "units": 8}, {"type": "relu"}, {"type": "dense", "units": 3}, {"type": "softmax"}],
        **members,
    }


def a_training(model: Any, **members: Any) -> dict[str, Any]:
    """Five epochs of two batches."""
    return {"model": model, "data": DATA, "epochs": 5, "batch_size": 8, "seed": 3, **members}


#: A problem document has exactly these members.
PROBLEM = {"type", "title", "status", "detail", "code", "instance", "request_id", "errors"}


def without_jobs(models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Documents of models, without what they say of their newest jobs: jobs change, end and are deleted."""
    return [{name: value for name, value in model.items() if name != "job"} for model in models]


def spiral(seed: int) -> tuple[list[list[float]], list[int]]:
    """Three arms of 100 points: radius 0…1, angle 4c…4(c+1) with N(0, 0.2²) noise, at (r sin 2.5t, r cos 2.5t)."""
    generator = np.random.default_rng(seed)
    points, labels = [], []
    for arm in range(3):
        radius = np.linspace(0.0, 1.0, 100)
        angle = np.linspace(4.0 * arm, 4.0 * (arm + 1), 100) + generator.normal(0.0, 0.2, 100)
        points += np.column_stack([radius * np.sin(2.5 * angle), radius * np.cos(2.5 * angle)]).tolist()
        labels += [arm] * 100
    return points, labels
