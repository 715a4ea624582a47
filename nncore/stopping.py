"""Early stopping: when to end a run that no longer improves (Prechelt 1998)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nncore.hyperparameters import check_hyperparameters, hyperparameter

__all__ = ["EarlyStopping", "Monitor", "improves"]

Monitor = Literal["loss", "accuracy", "validation_loss", "validation_log_loss", "validation_accuracy"]


@dataclass(frozen=True)
class EarlyStopping:
    """Ends a run if ``monitor`` did not improve by more than ``min_delta`` for long enough.

    Long enough are ``patience`` looks that took at least ``patience_steps`` steps. A run looks after each epoch that it
    validates, or after every epoch if it has no validation.
    """

    monitor: Monitor | None = hyperparameter(
        None, help="Metric to monitor; null: validation_loss if there is validation data, else loss."
    )
    patience: int = hyperparameter(
        10,
        minimum=1,
        maximum=10_000_000,
        help="Validated epochs without improvement before the run ends.",
    )
    patience_steps: int = hyperparameter(
        0, minimum=0, maximum=2**53 - 1, help="Steps without improvement that must have passed too before it ends."
    )
    min_delta: float = hyperparameter(
        0.0, minimum=0.0, maximum=1e9, help="Minimum change that counts as an improvement."
    )
    restore_best: bool = hyperparameter(True, help="Whether to end with the parameters of the best epoch.")

    def __post_init__(self) -> None:
        check_hyperparameters(self)

    def ends(self, looks: int, steps: int) -> bool:
        """Return whether a run ends after so many looks, and the steps up to the last one, without improvement."""
        return looks >= self.patience and steps >= self.patience_steps


def improves(monitor: Monitor, value: float, best: float | None, min_delta: float = 0.0) -> bool:
    """Return whether ``value`` is better than ``best`` by more than ``min_delta``.

    An accuracy is better if it is higher, a loss if it is lower. Any value is better if ``best`` is None.
    """
    if best is None:
        return True
    return value - best > min_delta if monitor.endswith("accuracy") else best - value > min_delta
