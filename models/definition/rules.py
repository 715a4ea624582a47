"""Fields for the rules that a definition or a request names: layers, optimizers, losses, batches."""

from __future__ import annotations

from typing import Any

from models.schemas import Tagged, Whole
from nncore.layers import LAYERS
from nncore.losses import LOSSES
from nncore.optimizers import OPTIMIZERS

__all__ = ["MAXIMUM_BATCH", "MAXIMUM_EPOCHS", "BatchSize", "layer_field", "loss_field", "optimizer_field"]

MAXIMUM_EPOCHS, MAXIMUM_BATCH = 10_000_000, 1_000_000


def layer_field(**options: Any) -> Tagged:
    """The field of one layer."""
    return Tagged(LAYERS, **options)


def optimizer_field(**options: Any) -> Tagged:
    """The field of an optimizer."""
    return Tagged(OPTIMIZERS, **options)


def loss_field(**options: Any) -> Tagged:
    """The field of a loss."""
    return Tagged(LOSSES, **options)


class BatchSize(Whole):
    """A number of rows, or "full" for all rows."""

    def json_schema(self) -> dict[str, Any]:
        return {"oneOf": [super().json_schema(), {"const": "full"}]}

    def _validated(self, value: Any) -> Any:
        if value == "full":
            return value
        if type(value) is not int:
            raise self.refusal(value, 'must be a whole number or "full"')
        return super()._validated(value)
