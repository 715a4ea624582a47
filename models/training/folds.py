"""Cross-validation of a request: which members train, one for each fold."""

from __future__ import annotations

from dataclasses import replace

from models.definition.definition import ModelDefinition
from models.definition.ensemble import Ensemble, NetworkKind
from models.errors import InvalidError
from models.training.request import TrainingRequest
from nncore.losses import CategoricalCrossentropy
from nncore.optimizers import Adam

__all__ = ["with_folds"]


def with_folds(definition: ModelDefinition, request: TrainingRequest) -> ModelDefinition:
    """The definition with a member of each kind for each fold of a request; of a single network, it is the only kind.

    Raises InvalidError if the request cannot be cross-validated.
    """
    assert request.folds is not None
    ensemble = definition.ensemble
    if ensemble is None:
        if request.publish == "best" and request.early_stopping is None:
            detail = 'must not be "best" with folds; with early_stopping, each network ends with its best epoch'
            raise InvalidError.at("/publish", detail)
        kind = NetworkKind(
            name="network",
            layers=definition.layers,
            optimizer=request.optimizer or definition.optimizer,
            loss=request.loss or definition.loss,
            epochs=request.epochs,
            batch_size=request.batch_size,
            validate_every=request.validate_every,
            early_stopping=request.early_stopping,
        )
        ensemble = Ensemble((kind,), request.folds.count)
    assert isinstance(ensemble, Ensemble), "an open network is resolved before its folds are"
    ensemble = replace(ensemble, folds=request.folds.count, used_folds=None, group=request.folds.group)
    # A definition of members has no layers, optimizer and loss beside those of its kinds.
    return replace(definition, layers=(), optimizer=Adam(), loss=CategoricalCrossentropy(), ensemble=ensemble)
