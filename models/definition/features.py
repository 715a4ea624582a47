"""Features in definitions: the full list, the short forms, and which features a table gets by them.

A definition may leave features open: ``{}`` takes all columns as the data has them, ``"raw"`` takes numbers as they
are, and an object changes single columns, ``{"ticket": "ignore", "zip": "category", "age": {"scale": "quantile"}}``.
The first table that trains the model decides what the full list is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

import marshmallow as ma

from models.data.columns import ColumnKind, ColumnSpec
from models.errors import Faults, InvalidError, Problem, describe, escaped, near
from models.features.features import FEATURES, Feature, Ignored, feature_of, raw
from models.schemas import DescribedField, ItemMessages, Tagged, load

__all__ = ["Features", "FeaturesField", "OpenFeatures", "feature_document", "feature_field"]

MAXIMUM_FEATURES = 100_000
#: The types of features that are kinds of columns too.
_KINDS = get_args(ColumnKind)
_SHORT = 'a list of features, an object by column, or "raw"'


@dataclass(frozen=True)
class OpenFeatures:
    """Features that the first table decides; ``changes`` are the document of a short form."""

    changes: Literal["raw"] | Mapping[str, Any]

    def of(
        self,
        columns: Sequence[ColumnSpec],
        others: Collection[str],
        default: Callable[[ColumnSpec], Feature] = feature_of,
    ) -> tuple[Feature, ...]:
        """The features of a table's columns, without ``others``: labels and weights.

        ``default`` makes the feature of a column that no change names, and what a change leaves open.

        Raises InvalidError with all names that are not columns, all options that do not fit, and columns that are not
        numbers if the features are "raw".
        """
        faults = Faults()
        names = dict.fromkeys(column.name for column in columns if column.name not in others)
        for name in self.changes if self.changes != "raw" else ():
            if name not in names:
                if faults.full:
                    faults.count()
                    continue
                detail = f"must name a column{near(name, names)}. Received: {describe(name)}"
                faults.add(f"/features/{escaped(name)}", detail)
        features = []
        for column in columns:
            if column.name not in others:
                try:
                    features.append(self._of(column, default))
                except InvalidError as error:
                    faults.add_all(error)
        faults.check()
        if all(isinstance(feature, Ignored) for feature in features):
            example = escaped(next(iter(names), "column"))
            detail = f'must use at least one column; {{"{example}": "number"}} uses one that the data sets aside'
            raise InvalidError.at("/features", f"{detail}. Received: none")
        return tuple(features)

    def _of(self, column: ColumnSpec, default: Callable[[ColumnSpec], Feature]) -> Feature:
        if self.changes == "raw":
            if column.kind != "number":
                detail = f'column {describe(column.name)} must hold numbers for "raw". Received: a {column.kind} column'
                raise InvalidError.of([Problem("/features", detail, column=column.name)])
            return raw(column.name)
        change = self.changes.get(column.name)
        pointer = f"/features/{escaped(column.name)}"
        if change is None:
            return default(column)
        if change == "ignore":
            return Ignored(column.name, "as asked")
        kind = change if isinstance(change, str) else change.get("type", column.kind)
        document = {"type": kind, **({} if isinstance(change, str) else change), "column": column.name}
        if kind in _KINDS:
            document = {
                **feature_document(default(replace(column, kind=cast("ColumnKind", kind), reason=None))),
                **document,
            }
        try:
            feature: Feature = load(feature_field(), document)
        except InvalidError as error:
            raise error.moved("", pointer) from None
        return feature


Features = tuple[Feature, ...] | OpenFeatures


def feature_field(**options: Any) -> Tagged:
    """The field of one feature."""
    return Tagged(FEATURES, **options)


def feature_document(feature: Feature) -> dict[str, Any]:
    """A feature as a definition shows it."""
    document: dict[str, Any] = feature_field().serialize("feature", {"feature": feature})
    return {"column": feature.column, **document}


class FeaturesField(DescribedField):
    """The features of a definition: a list, or a short form."""

    wanted = _SHORT

    def json_schema(self) -> dict[str, Any]:
        change = {"oneOf": [{"enum": list(FEATURES)}, {"type": "object"}]}
        return {
            "oneOf": [
                {"type": "array", "items": {"$ref": "#/components/schemas/Feature"}, "minItems": 1},
                {"type": "object", "additionalProperties": change},
                {"const": "raw"},
            ]
        }

    def _validated(self, value: Any) -> Features:
        if value == "raw":
            return OpenFeatures("raw")
        if isinstance(value, dict):
            return OpenFeatures(_changes(value))
        if not isinstance(value, list) or not 1 <= len(value) <= MAXIMUM_FEATURES:
            raise self.refusal(value)
        return _full(value)

    def _serialize(self, value: Features | None, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        if value is None:
            return None
        return value.changes if isinstance(value, OpenFeatures) else [feature_document(feature) for feature in value]


def _changes(value: dict[str, Any]) -> dict[str, Any]:
    """The changes of a short form, checked as far as that is possible without the table."""
    if len(value) > MAXIMUM_FEATURES:
        raise ma.ValidationError(f"must name at most {MAXIMUM_FEATURES} columns. Received: {len(value)}")
    messages = ItemMessages()
    for name, change in value.items():
        if isinstance(change, str):
            if change not in FEATURES:
                known = ", ".join(map(repr, FEATURES))
                messages.add(name, [f"must be one of {known} or an object. Received: {describe(change)}"])
        elif not isinstance(change, dict):
            messages.add(name, [f"must be a type of feature or an object. Received: {describe(change)}"])
        elif "column" in change:
            messages.add(name, {"column": ["is given by the name already"]})
    messages.check()
    return value


def _full(value: list[Any]) -> tuple[Feature, ...]:
    """The features of a full list."""
    field, features, messages = feature_field(), list[Feature](), ItemMessages()
    seen: set[str] = set()
    for index, each in enumerate(value):
        try:
            feature: Feature = field.deserialize(each)
        except ma.ValidationError as error:
            messages.add(index, error.messages)
            continue
        if feature.column in seen:
            messages.add(index, {"column": [f"must not be repeated. Received: {describe(feature.column)}"]})
        seen.add(feature.column)
        features.append(feature)
    messages.check()
    if all(isinstance(feature, Ignored) for feature in features):
        raise ma.ValidationError("must use at least one column. Received: none that is not ignored")
    return tuple(features)
