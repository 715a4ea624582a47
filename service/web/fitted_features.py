"""What the features of versions have learned, as the API shows it: enough to draw a form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from models.definition.definition import ModelDefinition
from models.definition.features import feature_document
from models.features.fitted import FittedFeatures
from models.formats.checkpoint_file import CheckpointError, load_features
from models.training.prepared_table import with_width
from service.store.files import FileKind
from service.upkeep.inspection import local_path
from service.web.context import context

__all__ = ["FITTED", "fitted_members", "learned_by"]

#: The members of a document that depend on what a version has learned.
FITTED = ("inputs", "parameters", "features")


def learned_by(checkpoint: str) -> tuple[ModelDefinition, FittedFeatures | None] | None:
    """A checkpoint's definition and features; None if its file cannot be read, or was deleted meanwhile."""
    parts = context()
    try:
        return load_features(local_path(parts.database, parts.files, FileKind.CHECKPOINT, checkpoint))
    except CheckpointError:
        return None


def fitted_members(definition: ModelDefinition, checkpoint: str | None) -> dict[str, Any]:
    """The members ``FITTED`` of a document.

    There are none if the version has other features or cannot be read, and of a model of plain inputs.
    """
    if definition.features is None:
        return {}
    found = None if checkpoint is None else learned_by(checkpoint)
    fitted = None if found is None else found[1]
    if fitted is None or fitted.features != definition.features:
        return {}
    width = fitted.width
    features = [
        {**feature_document(feature), **learned}
        for feature, learned in zip(fitted.features, fitted.describe(), strict=True)
    ]
    parameters = with_width(replace(definition, inputs=0), fitted).parameter_count
    return {"inputs": width, "parameters": parameters or None, "features": features}
