"""Predictions of a published version."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.serving.served_model import ServedModel


def top_classes(served: ServedModel, probabilities: Any, top_k: int) -> list[list[dict[str, Any]]]:
    """The likeliest classes of each row, the likeliest first; equal ones in the order of ``classes``."""
    served.require_top_k(top_k)
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
    chosen = np.take_along_axis(probabilities, order, axis=1)
    return [
        [
            {"class": served.classes[place], "probability": probability}
            for place, probability in zip(row.tolist(), values, strict=True)
        ]
        for row, values in zip(order, chosen, strict=True)
    ]
