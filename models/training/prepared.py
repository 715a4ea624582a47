"""The rows of one training run, ready for use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Protocol

import numpy as np

from models.definition.class_weights import weights_of_classes
from models.definition.definition import ModelDefinition
from models.definition.ensemble import Ensemble
from models.definition.given_rows import GivenRows
from models.errors import InvalidError
from models.features.fitted import FittedFeatures
from models.training.request import TrainingRequest
from nncore.arrays import Array
from nncore.batches import RowSource, stratified_split
from nncore.stopping import EarlyStopping, Monitor

__all__ = ["Part", "Prepared", "PreparedData", "monitor_of", "require_folds", "split"]


class Part(NamedTuple):
    """Inputs (n_rows, n_features), class numbers (n_rows,) and, if rows count differently, weights (n_rows,)."""

    inputs: Array | RowSource
    codes: Array
    weights: Array | None = None


class Prepared(Protocol):
    """What a training run needs of its rows.

    ``rows`` are the row numbers of the training rows in the data as given. ``class_weights`` has a weight for each
    class. ``monitor`` is the value that decides which epoch is the best, and ``min_delta`` the minimum change of it
    that counts as an improvement. ``fitted`` is None if rows are used as they are. ``groups`` are numbers of the
    training rows' groups, if folds keep groups together.
    """

    @property
    def definition(self) -> ModelDefinition: ...

    @property
    def fitted(self) -> FittedFeatures | None: ...

    @property
    def rows(self) -> Array: ...

    @property
    def class_weights(self) -> Literal["balanced"] | list[float] | None: ...

    @property
    def monitor(self) -> Monitor: ...

    @property
    def min_delta(self) -> float: ...

    @property
    def validation_rows(self) -> int: ...

    @property
    def groups(self) -> Array | None: ...

    def training_part(self) -> Part:
        """The training rows."""

    def validation_part(self) -> Part | None:
        """The validation rows, None if there are none."""


@dataclass(frozen=True, eq=False)
class PreparedData:
    """Rows that are checked against a model and a request, split, and numbered by class.

    ``inputs`` are the numbers of every row as given, not a copy, in the columns ``features``; ``codes`` and ``weights``
    belong to them. ``rows`` are the row numbers of the training rows. ``held_out`` are those of the validation rows if
    a fraction of the rows is held out, and ``validation`` the validation rows if the request gives them apart; at most
    one of the two is not None.
    """

    definition: ModelDefinition
    features: tuple[str, ...]
    inputs: Array
    codes: Array
    weights: Array | None
    rows: Array
    held_out: Array | None
    validation: Part | None
    class_weights: Literal["balanced"] | list[float] | None
    monitor: Monitor
    min_delta: float
    fitted: None = None
    groups: None = None

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
        if isinstance(definition.ensemble, Ensemble):
            if definition.ensemble.group is not None:
                raise InvalidError.at("/folds/group", "is for tables, whose columns have names")
            definition = replace(definition, ensemble=definition.ensemble.with_inputs(definition.inputs, 0))
        codes = data.codes_for(definition)
        dataset.require_two_classes(data.labels_pointer)
        rows, held_out = split(codes, request)
        require_folds(definition, len(rows))
        given = None if validation is None else Part(validation.dataset.inputs, validation.codes_for(definition))
        class_weights = definition.class_weights if request.class_weights is None else request.class_weights
        return cls(
            definition=definition,
            features=dataset.features,
            inputs=dataset.inputs,
            codes=codes,
            weights=dataset.weights,
            rows=rows,
            held_out=held_out,
            validation=given,
            class_weights=weights_of_classes(class_weights, definition.classes),
            monitor=monitor_of(request, validated=held_out is not None or given is not None),
            min_delta=(request.early_stopping or EarlyStopping()).min_delta,
        )

    def training_part(self) -> Part:
        """The training rows: the rows as given if they are all of them, otherwise copied at each call."""
        inputs, codes, weights = self.inputs, self.codes, self.weights
        if self.held_out is None:
            return Part(inputs, codes, weights)
        return Part(inputs[self.rows], codes[self.rows], None if weights is None else weights[self.rows])

    def validation_part(self) -> Part | None:
        """The validation rows, None if there are none; rows that are held out are copied at each call."""
        if self.held_out is None:
            return self.validation
        return Part(self.inputs[self.held_out], self.codes[self.held_out])

    @property
    def validation_rows(self) -> int:
        """Number of validation rows."""
        if self.held_out is not None:
            return len(self.held_out)
        return 0 if self.validation is None else len(self.validation.codes)

    def first(self, count: int) -> PreparedData:
        """The first ``count`` rows as given, not copied, all for training and without validation."""
        few = replace(
            self,
            inputs=self.inputs[:count],
            codes=self.codes[:count],
            weights=None if self.weights is None else self.weights[:count],
            held_out=None,
            validation=None,
        )
        return replace(few, rows=np.arange(len(few.inputs)))


def require_folds(definition: ModelDefinition, rows: int) -> None:
    """Raise InvalidError if there are too few training rows for the folds of a definition."""
    folds = definition.ensemble.folds if isinstance(definition.ensemble, Ensemble) else 0
    if folds > rows:
        raise InvalidError.at("/folds", f"must be at most {rows}, the training rows. Received: {folds}")


def split(codes: Array, request: TrainingRequest) -> tuple[Array, Array | None]:
    """Row numbers for training and, if a fraction is held out, for validation."""
    if request.validation_fraction is None:
        return np.arange(len(codes)), None
    try:
        return stratified_split(codes, request.validation_fraction, request.seed)
    except ValueError as error:
        raise InvalidError.at("/validation/fraction", str(error)) from None


def monitor_of(request: TrainingRequest, *, validated: bool) -> Monitor:
    """The value that decides which epoch is the best."""
    monitor = request.early_stopping.monitor if request.early_stopping else None
    if monitor is None:
        return "validation_loss" if validated else "loss"
    if monitor.startswith("validation") and not validated:
        raise InvalidError.at("/early_stopping/monitor", f"{monitor} needs validation, and none is asked for")
    return monitor
