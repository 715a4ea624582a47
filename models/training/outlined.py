"""What a run on tables would be, from their outlines: no row is read."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from models.definition.class_weights import weights_of_classes
from models.definition.definition import ModelDefinition
from models.definition.given_table import Outline
from models.errors import InvalidError, Problem
from models.features.fitted import FittedFeatures
from models.training.prepared import monitor_of, require_folds, split
from models.training.prepared_table import with_width
from models.training.request import TrainingRequest

__all__ = ["Outlined"]


@dataclass(frozen=True, eq=False)
class Outlined:
    """A run's definition, its features fitted on a sketch of the table, and the numbers of rows.

    The features have the width that all rows would give them, or a few numbers more.
    """

    definition: ModelDefinition
    fitted: FittedFeatures
    training_rows: int
    validation_rows: int

    @classmethod
    def of(
        cls, definition: ModelDefinition, request: TrainingRequest, data: Outline, validation: Outline | None = None
    ) -> Outlined:
        """Check the tables of a request. Raises InvalidError if no run can be made of them."""
        assert isinstance(definition.features, tuple), "features are resolved before a table is checked"
        data.require_two_classes()
        rows, held_out = split(data.codes_for(definition.classes), request)
        validation_rows = 0 if held_out is None else len(held_out)
        try:
            fitted = FittedFeatures.fit(definition.features, data.sketch)
        except InvalidError as error:
            raise _of_columns(error, data) from None
        if validation is not None:
            validation_rows = len(validation.codes_for(definition.classes))
            try:
                fitted.encode(validation.sketch, None, np.dtype(definition.dtype))
            except InvalidError as error:
                raise _of_columns(error, validation) from None
            if not validation_rows:
                raise InvalidError.at(validation.place.name, "must hold at least one row with a label. Received: none")
        class_weights = definition.class_weights if request.class_weights is None else request.class_weights
        weights_of_classes(class_weights, definition.classes)
        monitor_of(request, validated=validation_rows > 0)
        require_folds(definition, len(rows))
        if definition.ensemble is not None or not definition.inputs:
            # The sketch may have a few numbers more than the table, so a stated width is not compared with it.
            definition = with_width(replace(definition, inputs=0), fitted)
        return cls(definition, fitted, len(rows), validation_rows)


def _of_columns(error: InvalidError, data: Outline) -> InvalidError:
    """The error at the place of the table; rows of a sketch are not rows of the table."""
    return InvalidError.of([Problem(data.place.name, each.detail, column=each.column) for each in error.problems])
