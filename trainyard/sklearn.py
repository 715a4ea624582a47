"""An estimator for scikit-learn: a network that trains in this process or on a service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

try:
    import numpy as np
    from sklearn.base import BaseEstimator, ClassifierMixin  # type: ignore[import-untyped]
    from sklearn.utils import check_random_state, compute_sample_weight  # type: ignore[import-untyped]
    from sklearn.utils.multiclass import check_classification_targets  # type: ignore[import-untyped]
    from sklearn.utils.validation import (  # type: ignore[import-untyped]
        _check_sample_weight,
        check_is_fitted,
        validate_data,
    )
except ImportError as error:
    raise ImportError("trainyard.sklearn needs scikit-learn 1.6 or newer, which is not installed") from error

from trainyard.local_fit import LocalFit, Settings, fit_local

if TYPE_CHECKING:
    from trainyard.client import Trainyard
    from trainyard.remote_fit import RemoteFit

__all__ = ["Classifier"]

Array = np.ndarray[Any, Any]


class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A neural network as a classifier of scikit-learn; columns are standardized within.

    - ``hidden_layer_sizes``: units of each hidden layer; ``activation`` stands behind each
    - ``learning_rate``: at the beginning, from which it falls to 0 by a cosine; ``weight_decay``: of AdamW
    - ``epochs`` and ``batch_size``
    - ``early_stopping``: hold out ``validation_fraction`` of the rows, stop after ``patience`` epochs in which their
      loss has not become less, and keep the best epoch
    - ``class_weight``: None, "balanced", or a weight for each class
    - ``random_state``: a number for the same network each time
    - ``service``: None to train in this process; or the URL of a service, or a ``Trainyard``. There the model is
      called ``name``; without a name each fit makes a new one

    After ``fit`` there are ``classes_``, ``n_features_in_``, ``feature_names_in_`` if the columns have names,
    ``loss_curve_``, ``n_iter_``, with early stopping ``validation_scores_``, and on a service ``model_name_`` and
    ``version_``.
    """

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (64,),
        activation: str = "relu",
        *,
        learning_rate: float = 0.005,
        weight_decay: float = 0.01,
        epochs: int = 100,
        batch_size: int = 32,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
        class_weight: str | Mapping[Any, float] | None = None,
        random_state: Any = None,
        service: str | Trainyard | None = None,
        name: str | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.class_weight = class_weight
        self.random_state = random_state
        self.service = service
        self.name = name

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803 - scikit-learn's names
        """Train a network on rows ``X`` (n_samples, n_features) and their labels ``y``."""
        x, labels = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y must have rows of more than one class. Received: {len(self.classes_)} class")
        weights = self._weights(sample_weight, x, labels)
        fitted: LocalFit | RemoteFit
        if self.service is None:
            fitted = fit_local(self._settings(), x, codes, weights, len(self.classes_))
        else:
            from trainyard.remote_fit import fit_remote

            names = getattr(self, "feature_names_in_", [f"x{place}" for place in range(1, x.shape[1] + 1)])
            fitted = fit_remote(self._client(), self.name, self._settings(), x, list(names), labels, weights)
            self.model_name_, self.version_ = fitted.model, fitted.version
        self.fitted_ = fitted
        self.loss_curve_ = list(fitted.loss_curve)
        self.n_iter_ = len(self.loss_curve_)
        if fitted.validation_scores is not None:
            self.validation_scores_ = list(fitted.validation_scores)
        return self

    def predict_proba(self, X: Any) -> Array:  # noqa: N803
        """The probability of each class of ``classes_`` for each row of ``X``: (n_samples, n_classes)."""
        check_is_fitted(self)
        x = validate_data(self, X, dtype=np.float64, reset=False)
        found: Array = self.fitted_.predict_proba(x)
        return found

    def predict(self, X: Any) -> Array:  # noqa: N803
        """The likeliest class of each row of ``X``: (n_samples,)."""
        check_is_fitted(self)
        found: Array = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return found

    def _settings(self) -> Settings:
        sizes = self.hidden_layer_sizes
        return Settings(
            hidden=tuple(sizes) if isinstance(sizes, Sequence) else (int(sizes),),
            activation=self.activation,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            epochs=self.epochs,
            batch_size=self.batch_size,
            held_out=self.validation_fraction if self.early_stopping else None,
            patience=self.patience,
            seed=int(check_random_state(self.random_state).randint(2**31 - 1)),
        )

    def _client(self) -> Trainyard:
        from trainyard.client import Trainyard

        return self.service if isinstance(self.service, Trainyard) else Trainyard(self.service)

    def _weights(self, sample_weight: Any, x: Array, labels: Array) -> Array | None:
        """One weight for each row, or None if all are 1."""
        if sample_weight is None and self.class_weight is None:
            return None
        by_row: Array = _check_sample_weight(sample_weight, x, ensure_non_negative=True)
        by_class: Array = compute_sample_weight(self.class_weight, labels)
        return by_row * by_class
