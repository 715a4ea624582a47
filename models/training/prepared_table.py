"""A table made ready for one training run: split, its features fitted on the training rows, and encoded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from models.data.labels import Label
from models.data.table import Stretch
from models.definition.class_weights import weights_of_classes
from models.definition.definition import ModelDefinition
from models.definition.ensemble import Ensemble
from models.definition.given_table import GivenTable
from models.errors import InvalidError, describe, listed
from models.features.fitted import FittedFeatures
from models.training.prepared import Part, monitor_of, require_folds, split
from models.training.request import TrainingRequest
from nncore.arrays import Array
from nncore.stopping import EarlyStopping, Monitor

__all__ = ["PreparedTable"]


@dataclass(frozen=True, eq=False)
class PreparedTable:
    """The rows of a table that have a label, as features.

    ``definition`` is the model's with the fitted width as ``inputs``. ``rows`` are the row numbers of the training rows
    in the table. ``groups`` are numbers of the training rows' groups, if folds keep groups together.
    """

    definition: ModelDefinition
    fitted: FittedFeatures
    rows: Array
    training: Part
    validation: Part | None
    class_weights: Literal["balanced"] | list[float] | None
    monitor: Monitor
    min_delta: float
    groups: Array | None = None

    @classmethod
    def of(
        cls,
        definition: ModelDefinition,
        request: TrainingRequest,
        data: GivenTable,
        validation: GivenTable | None = None,
        fitted: FittedFeatures | None = None,
    ) -> PreparedTable:
        """Check and prepare the tables of a request.

        ``fitted`` are the features that a run continues with; otherwise they are fitted on the training rows alone.
        Raises InvalidError if the tables do not fit the model, if all rows have the same label, or if the split leaves
        no rows on one side.
        """
        assert isinstance(definition.features, tuple), "features are resolved before a table is prepared"
        codes = data.codes_for(definition.classes)
        labelled = np.flatnonzero(codes >= 0)
        _require_two_classes(codes[labelled], definition.classes, data)
        chosen, held_out = split(codes[labelled], request)
        rows = labelled[chosen]
        require_folds(definition, len(rows))
        dtype = np.dtype(definition.dtype)
        try:
            fitted = fitted or FittedFeatures.fit(definition.features, data.table, rows)
            inputs = fitted.encode(data.table, rows, dtype)
            weights = data.weights()
            training = Part(inputs, codes[rows], None if weights is None else weights[rows])
            given = None
            if held_out is not None:
                kept = labelled[held_out]
                given = Part(fitted.encode(data.table, kept, dtype), codes[kept])
        except InvalidError as error:
            raise data.place.moved(error) from None
        if validation is not None:
            given = _validation(fitted, definition, validation)
        class_weights = definition.class_weights if request.class_weights is None else request.class_weights
        return cls(
            definition=with_width(definition, fitted),
            fitted=fitted,
            rows=rows,
            training=training,
            validation=given,
            class_weights=weights_of_classes(class_weights, definition.classes),
            monitor=monitor_of(request, validated=given is not None),
            min_delta=(request.early_stopping or EarlyStopping()).min_delta,
            groups=groups_of(definition, data, rows),
        )

    @classmethod
    def first(cls, definition: ModelDefinition, data: GivenTable, fitted: FittedFeatures, count: int) -> PreparedTable:
        """The first ``count`` rows of a table, all for training and without validation; labels need not differ."""
        table = Stretch(data.table, 0, min(count, data.table.rows))
        rows = np.arange(table.rows)
        try:
            inputs = fitted.encode(table, rows, np.dtype(definition.dtype))
        except InvalidError as error:
            raise data.place.moved(error) from None
        codes = np.maximum(replace(data, table=table).codes_for(definition.classes), 0)
        return cls(definition, fitted, rows, Part(inputs, codes), None, None, "loss", 0.0)

    def training_part(self) -> Part:
        """The training rows."""
        return self.training

    def validation_part(self) -> Part | None:
        """The validation rows, None if there are none."""
        return self.validation

    @property
    def validation_rows(self) -> int:
        """Number of validation rows."""
        return 0 if self.validation is None else len(self.validation.codes)


def with_width(definition: ModelDefinition, fitted: FittedFeatures) -> ModelDefinition:
    """The definition with the width of its fitted features; raises InvalidError if it states another one.

    Raises InvalidError as well if the features become no number at all.
    """
    width = fitted.width
    if not width:
        raise InvalidError.at("/features", "must become at least one number. Received: columns that never differ")
    if definition.inputs not in (0, width):
        detail = f"must be {width}, the numbers that the features become; or leave it out"
        raise InvalidError.at("/inputs", f"{detail}. Received: {definition.inputs}")
    ensemble = definition.ensemble
    if isinstance(ensemble, Ensemble):
        ensemble = ensemble.with_inputs(width, int(fitted.bin_columns.sum()))
    return replace(definition, inputs=width, ensemble=ensemble)


def groups_of(definition: ModelDefinition, data: GivenTable, rows: Array) -> Array | None:
    """The number of the group of each of these rows, (n_rows,); None if the folds keep no groups together.

    Rows without a value in the group's column form one group. Raises InvalidError if there is no such column.
    """
    name = definition.ensemble.group if isinstance(definition.ensemble, Ensemble) else None
    if name is None:
        return None
    if all(column.name != name for column in data.table.columns):
        known = listed(column.name for column in data.table.columns)
        raise InvalidError.at("/folds/group", f"must name a column, one of {known}. Received: {describe(name)}")
    values = data.table.read(name).values[rows]
    groups: Array = np.unique(values, return_inverse=True)[1]
    return groups


def _validation(fitted: FittedFeatures, definition: ModelDefinition, data: GivenTable) -> Part:
    codes = data.codes_for(definition.classes)
    rows = np.flatnonzero(codes >= 0)
    if not len(rows):
        raise InvalidError.at(data.place.name, "must hold at least one row with a label. Received: none")
    try:
        return Part(fitted.encode(data.table, rows, np.dtype(definition.dtype)), codes[rows])
    except InvalidError as error:
        raise data.place.moved(error) from None


def _require_two_classes(codes: Array, classes: tuple[Label, ...], data: GivenTable) -> None:
    present = np.flatnonzero(np.bincount(codes, minlength=len(classes)))
    if len(present) < 2:
        only = f"only {describe(classes[int(present[0])])}" if len(present) else "none"
        raise InvalidError.at(data.place.name, f"must hold at least two different classes. Received: {only}")
