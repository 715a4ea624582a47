"""Training on a service, for an estimator in this process."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.client import Trainyard
from trainyard.tables import plain

if TYPE_CHECKING:
    from trainyard.local_fit import Settings

__all__ = ["RemoteFit", "fit_remote"]

Array = np.ndarray[Any, Any]


@dataclass
class RemoteFit:
    """A version at a service: ``order`` has the place of each class of the estimator among those of the model."""

    client: Trainyard = field(repr=False)
    model: str
    version: int
    order: Sequence[int]
    loss_curve: Sequence[float]
    validation_scores: Sequence[float] | None

    def predict_proba(self, x: Array) -> Array:
        """The probabilities (n_samples, n_classes)."""
        found: Array = self.client.predict(self.model, x, version=self.version).to_numpy()[:, list(self.order)]
        shares: Array = found / found.sum(axis=1, keepdims=True)  # The service computes in single precision.
        return shares


def fit_remote(
    client: Trainyard,
    name: str | None,
    settings: Settings,
    x: Array,
    columns: Sequence[str],
    labels: Array,
    weights: Array | None,
) -> RemoteFit:
    """Train a model of these columns on a service and wait for it; the rows are deleted there at the end.

    Raises JobFailed if training fails, and ValueError if the service takes the labels for something else.
    """
    taken = set(columns)
    label, weight = _free("label", taken), _free("weight", taken)
    kinds = {label: [_label(value) for value in labels], **({} if weights is None else {weight: weights})}
    table = dict(zip(columns, x.T, strict=True))
    model = name or f"sklearn-{uuid.uuid4().hex[:12]}"
    options = {} if weights is None else {"weight": weight}
    dataset = client.upload({**table, **kinds}, f"{model[:50]}-{uuid.uuid4().hex[:12]}", label, **options)
    stopping: dict[str, Any] = {} if settings.held_out is None else {"early_stopping": {"patience": settings.patience}}
    try:
        job = client.train(
            dataset,
            name=model,
            hidden=list(settings.hidden),
            activation=settings.activation,
            features=[{"column": column, "type": "number", "scale": "standardize"} for column in columns],
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            seed=settings.seed,
            optimizer={
                "type": "adamw",
                "learning_rate": settings.learning_rate,
                "weight_decay": settings.weight_decay,
                "schedule": "cosine",
            },
            held_out=settings.held_out,
            **stopping,
        ).wait()
    finally:
        dataset.delete()
    history = job.history()
    scores = [epoch.validation_accuracy for epoch in history if epoch.validation_accuracy is not None]
    assert job.version is not None
    known = client.model(model).version(job.version).definition or {}
    return RemoteFit(
        client,
        model,
        job.version,
        _order(known["classes"], [_label(value) for value in np.unique(labels)]),
        [epoch.loss for epoch in history if epoch.loss is not None],
        scores or None,
    )


def _label(value: Any) -> Any:
    """A label as the service has them: text, a whole number or a boolean."""
    known = plain(value)
    if isinstance(known, float):
        return int(known) if known.is_integer() else str(known)
    return known


def _order(known: Sequence[Any], wanted: Sequence[Any]) -> list[int]:
    if set(known) != set(wanted):
        raise ValueError(f"the service takes the labels {wanted!r} for {known!r}; write them in other words")
    return [list(known).index(label) for label in wanted]


def _free(name: str, taken: set[str]) -> str:
    """A name that no column has."""
    while name in taken:
        name += "_"
    return name
