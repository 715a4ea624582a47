"""What a run on tables would be, from their outlines: no row is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models.definition.class_weights import weights_of_classes
from models.definition.definition import ModelDefinition
from models.definition.given_table import Outline
from models.errors import InvalidError, Problem
from models.features.category import Category
from models.features.features import Feature
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
            profiles = {each["name"]: each for each in data.details.profile}
            features = [_for_sketch(feature, profiles.get(feature.column, {})) for feature in definition.features]
            fitted = FittedFeatures.fit(features, data.sketch)
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


def _for_sketch(feature: Feature, profile: Mapping[str, Any]) -> Feature:
    """A feature as it is fitted on a sketch, where each level has a few rows whatever its number of rows in the table.

    It keeps as many levels as have enough rows in the table. Two levels may be rarer among the training rows, so they
    count as two numbers.
    """
    if not isinstance(feature, Category) or (feature.min_count == 1 and not feature.signed):
        return feature
    listed = profile.get("levels", profile.get("values", []))
    kept = sum(each["count"] >= feature.min_count for each in listed)
    known = bool(listed) and feature.levels is None
    return replace(
        feature, signed=False, min_count=1, max_levels=max(1, min(feature.most, kept)) if known else feature.max_levels
    )


def _of_columns(error: InvalidError, data: Outline) -> InvalidError:
    """The error at the place of the table; rows of a sketch are not rows of the table."""
    return error.with_problems([Problem(data.place.name, each.detail, column=each.column) for each in error.problems])
