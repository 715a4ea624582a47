"""The rows of a run as one kind of its members reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.definition.definition import ModelDefinition
from models.definition.ensemble import NetworkKind
from models.features.rows import FeatureRows
from models.training.prepared import Part, Prepared
from nncore.arrays import Array
from nncore.stopping import Monitor

__all__ = ["PreparedKind"]


@dataclass(frozen=True, eq=False)
class PreparedKind:
    """All training rows, for one network of a kind and without validation."""

    definition: ModelDefinition
    rows: Array
    training: Part
    class_weights: Literal["balanced"] | list[float] | None
    fitted: None = None
    groups: None = None
    monitor: Monitor = "loss"
    min_delta: float = 0.0
    validation_rows: int = 0

    @classmethod
    def of(cls, prepared: Prepared, kind: NetworkKind) -> PreparedKind:
        """The rows of a run with several members."""
        part = prepared.training_part()
        if not kind.bins and isinstance(part.inputs, FeatureRows):
            part = part._replace(inputs=part.inputs.without_bins())
        return cls(prepared.definition.of_kind(kind), prepared.rows, part, prepared.class_weights)

    def training_part(self) -> Part:
        """The training rows."""
        return self.training

    def validation_part(self) -> None:
        """There are none."""
        return
