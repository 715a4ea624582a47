"""Early stopping: when a run has ceased to get better (Prechelt 1998)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nncore.hyperparameters import check_hyperparameters, hyperparameter

__all__ = ["EarlyStopping", "Monitor", "improves"]

Monitor = Literal["loss", "accuracy", "validation_loss", "validation_accuracy"]


@dataclass(frozen=True)
class EarlyStopping:
    """End a run after ``patience`` epochs in which ``monitor`` did not get better by more than ``min_delta``."""

    monitor: Monitor | None = hyperparameter(
        None, help="What is watched; null: validation_loss where rows are held out, else loss."
    )
    patience: int = hyperparameter(10, minimum=1, maximum=10_000_000, help="Epochs to wait for something better.")
    min_delta: float = hyperparameter(0.0, minimum=0.0, maximum=1e9, help="What counts as better is more than this.")
    restore_best: bool = hyperparameter(True, help="End with the parameters of the best epoch.")

    def __post_init__(self) -> None:
        check_hyperparameters(self)


def improves(monitor: Monitor, value: float, best: float | None, min_delta: float = 0.0) -> bool:
    """Whether ``value`` is better than ``best`` by more than ``min_delta``: higher for accuracies, lower for losses."""
    if best is None:
        return True
    return value - best > min_delta if monitor.endswith("accuracy") else best - value > min_delta
