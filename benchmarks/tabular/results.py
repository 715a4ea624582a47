"""The results of the benchmark: one JSON file for each table, split, contestant and version, so that it can go on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["FOLDER", "Score", "newest", "path_of", "scored"]

FOLDER = Path(__file__).parents[1] / "results" / "tabular"
Array = npt.NDArray[Any]
#: Lower limit of a probability in a log loss, as in nncore.
FLOOR = 1e-7


@dataclass(frozen=True)
class Score:
    """Log loss (nats), accuracy and area under the ROC curve (mean of the classes, each against the rest).

    ``seconds`` are those of training, ``cpu_seconds`` what the processor spent on it.
    """

    log_loss: float
    accuracy: float
    auc: float
    seconds: float
    cpu_seconds: float


def scored(probabilities: Array, codes: Array, seconds: float, cpu_seconds: float) -> Score:
    """The score of predicted probabilities (n_rows, n_classes)."""
    from sklearn.metrics import roc_auc_score

    probabilities = np.asarray(probabilities, np.float64)
    probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)
    true = np.maximum(probabilities[np.arange(len(codes)), codes], FLOOR)
    if probabilities.shape[1] == 2:
        auc = roc_auc_score(codes, probabilities[:, 1])
    else:
        auc = roc_auc_score(codes, probabilities, multi_class="ovr")
    accuracy = float(np.mean(probabilities.argmax(axis=1) == codes))
    return Score(float(-np.log(true).mean()), accuracy, float(auc), seconds, cpu_seconds)


def path_of(table: str, split: int, contestant: str, version: str) -> Path:
    """The file of one result."""
    return FOLDER / table / f"{split}-{contestant}-{version}.json"


def save(score: Score, table: str, split: int, contestant: str, version: str) -> None:
    """Write one result."""
    path = path_of(table, split, contestant, version)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(score)) + "\n")
    partial.replace(path)


def newest(table: str) -> Iterator[tuple[str, int, Score]]:
    """The results of a table: contestant, split and score; of several versions the one written last."""
    found = sorted((FOLDER / table).glob("*.json"), key=lambda path: path.stat().st_mtime)
    scores = {}
    for path in found:
        split, contestant, _ = re.fullmatch(r"(\d+)-(\w+)-(.+)\.json", path.name).groups()  # type: ignore[union-attr]
        scores[contestant, int(split)] = Score(**json.loads(path.read_text()))
    for (contestant, number), score in scores.items():
        yield contestant, number, score
