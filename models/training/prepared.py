"""The rows of one training run, ready for use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from models.definition.class_weights import weights_of_classes
from models.definition.definition import ModelDefinition
from models.definition.given_rows import GivenRows
from models.errors import InvalidError
from models.training.request import TrainingRequest
from nncore.arrays import Array
from nncore.batches import stratified_split
from nncore.stopping import EarlyStopping, Monitor

__all__ = ["Part", "PreparedData"]


class Part(NamedTuple):
    """Inputs (n_rows, n_features), class numbers (n_rows,) and, if rows count differently, weights (n_rows,)."""

    inputs: Array
    codes: Array
    weights: Array | None = None


@dataclass(frozen=True, eq=False)
class PreparedData:
    """Rows that are checked against a model and a request, split, and numbered by class.

    ``data`` is every row as given, not a copy, in the columns ``features``. ``rows`` are the row numbers of the
    training rows. ``held_out`` are the row numbers of the validation rows if a fraction of ``data`` is held out, and
    ``validation`` the validation rows if the request gives them apart; at most one of the two is not None.
    ``class_weights`` has a weight for each class. ``monitor`` is the value that decides which epoch is the best, and
    ``min_delta`` the minimum change of it that counts as an improvement.
    """

    features: tuple[str, ...]
    data: Part
    rows: Array
    held_out: Array | None
    validation: Part | None
    class_weights: Literal["balanced"] | list[float] | None
    monitor: Monitor
    min_delta: float

    @classmethod
    def of(
        cls,
        definition: ModelDefinition,
        request: TrainingRequest,
        data: GivenRows,
        validation: GivenRows | None = None,
    ) -> PreparedData:
        """Check and prepare the rows of a request.

        Raises InvalidError if the rows do not fit the model, if all have the same label, if the split leaves no rows
        on one side, or if class weights or early stopping do not fit the rows.
        """
        dataset = data.dataset
        codes = data.codes_for(definition)
        dataset.require_two_classes(data.labels_pointer)
        rows, held_out = _split(codes, request)
        given = None if validation is None else Part(validation.dataset.inputs, validation.codes_for(definition))
        class_weights = definition.class_weights if request.class_weights is None else request.class_weights
        return cls(
            features=dataset.features,
            data=Part(dataset.inputs, codes, dataset.weights),
            rows=rows,
            held_out=held_out,
            validation=given,
            class_weights=weights_of_classes(class_weights, definition.classes),
            monitor=_monitor(request, validated=held_out is not None or given is not None),
            min_delta=(request.early_stopping or EarlyStopping()).min_delta,
        )

    def training_part(self) -> Part:
        """The training rows: ``data`` if they are all of it, otherwise copied at each call."""
        if self.held_out is None:
            return self.data
        inputs, codes, weights = self.data
        return Part(inputs[self.rows], codes[self.rows], None if weights is None else weights[self.rows])

    def validation_part(self) -> Part | None:
        """The validation rows, None if there are none; rows that are held out of ``data`` are copied at each call."""
        if self.held_out is None:
            return self.validation
        return Part(self.data.inputs[self.held_out], self.data.codes[self.held_out])

    @property
    def validation_rows(self) -> int:
        """Number of validation rows."""
        if self.held_out is not None:
            return len(self.held_out)
        return 0 if self.validation is None else len(self.validation.inputs)

    def first(self, count: int) -> PreparedData:
        """The first ``count`` rows of ``data``, not copied, all for training and without validation."""
        inputs, codes, weights = self.data
        few = Part(inputs[:count], codes[:count], None if weights is None else weights[:count])
        return replace(self, data=few, rows=np.arange(len(few.inputs)), held_out=None, validation=None)


def _split(codes: Array, request: TrainingRequest) -> tuple[Array, Array | None]:
    """Row numbers for training and, if a fraction is held out, for validation."""
    if request.validation_fraction is None:
        return np.arange(len(codes)), None
    try:
        return stratified_split(codes, request.validation_fraction, request.seed)
    except ValueError as error:
        raise InvalidError.at("/validation/fraction", str(error)) from None


def _monitor(request: TrainingRequest, *, validated: bool) -> Monitor:
    """The value that decides which epoch is the best."""
    monitor = request.early_stopping.monitor if request.early_stopping else None
    if monitor is None:
        return "validation_loss" if validated else "loss"
    if monitor.startswith("validation") and not validated:
        raise InvalidError.at("/early_stopping/monitor", f"{monitor} needs validation, and none is asked for")
    return monitor
