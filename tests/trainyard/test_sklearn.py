"""The estimator, by scikit-learn's own checks, in this process and on a service."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import (
    check_classifiers_classes,
    check_classifiers_one_label,
    check_classifiers_train,
    check_estimators_pickle,
    check_fit2d_1feature,
    check_n_features_in,
    parametrize_with_checks,
)

from testing.harness import Server
from testing.samples import fresh
from trainyard import Trainyard
from trainyard.sklearn import Classifier

WINE = load_wine(return_X_y=True)


def _expected(_estimator: Classifier) -> dict[str, str]:
    reason = "batches are drawn from the rows, so a row with weight 2 does not train as two rows do"
    return {"check_sample_weight_equivalence_on_dense_data": reason}


@parametrize_with_checks([Classifier(random_state=0, epochs=30)], expected_failed_checks=_expected)
def test_scikit_learns_checks(estimator: Classifier, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_wine() -> None:
    """Five folds of 178 wines, whose columns differ by factors of a thousand."""
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    assert cross_val_score(Classifier(random_state=0), *WINE, cv=folds).mean() >= 0.95


@pytest.mark.parametrize("early_stopping", [False, True])
def test_what_a_fit_leaves(early_stopping: bool) -> None:
    x, y = WINE
    frame = pd.DataFrame(x, columns=[f"c{place}" for place in range(13)])
    labels, epochs = np.array(["red", "white", "rosé"])[y], 300 if early_stopping else 30
    model = Classifier(random_state=1, epochs=epochs, learning_rate=0.02, early_stopping=early_stopping).fit(
        frame, labels
    )
    assert model.classes_.tolist() == ["red", "rosé", "white"]
    assert model.feature_names_in_.tolist() == list(frame)
    assert model.n_features_in_ == 13
    assert len(model.loss_curve_) == model.n_iter_
    assert model.loss_curve_[0] > model.loss_curve_[-1]
    assert (model.n_iter_ < epochs) == early_stopping
    assert hasattr(model, "validation_scores_") == early_stopping
    probabilities = model.predict_proba(frame)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert (model.classes_[probabilities.argmax(axis=1)] == model.predict(frame)).all()
    assert model.score(frame, labels) == accuracy_score(labels, model.predict(frame)) > 0.95


def test_a_pickle_predicts_the_same() -> None:
    x, y = WINE
    model = Classifier(random_state=0, epochs=5).fit(x, y)
    again = pickle.loads(pickle.dumps(model))
    assert (again.predict_proba(x) == model.predict_proba(x)).all()
    assert b"nncore" not in pickle.dumps(model)  # it can be read before nncore is known
    assert clone(model).get_params() == model.get_params()


def test_search_in_a_pipeline() -> None:
    search = GridSearchCV(
        make_pipeline(StandardScaler(), Classifier(random_state=0, epochs=20)),
        {"classifier__hidden_layer_sizes": [(4,), (32, 16)], "classifier__learning_rate": [1e-6, 0.01]},
        cv=3,
    ).fit(*WINE)
    assert search.best_params_["classifier__learning_rate"] == 0.01
    assert search.best_score_ > 0.9


def test_weights_count() -> None:
    """Rows of weight 0 decide nothing; "balanced" lifts the rare class."""
    generator = np.random.default_rng(0)
    x = np.concatenate([generator.normal(0.0, 1.0, (300, 1)), generator.normal(1.5, 1.0, (30, 1))])
    y = np.repeat([0, 1], [300, 30])
    plain = Classifier(random_state=0, epochs=30).fit(x, y)
    balanced = Classifier(random_state=0, epochs=30, class_weight="balanced").fit(x, y)
    weighted = Classifier(random_state=0, epochs=30).fit(x, y, sample_weight=np.where(y == 1, 1.0, 0.0))
    shares = [(model.predict(x) == 1).mean() for model in (plain, balanced, weighted)]
    assert shares[0] < 0.15 < 0.25 < shares[1] < shares[2]
    named = Classifier(random_state=0, epochs=30, class_weight={0: 1.0, 1: 10.0}).fit(x, y)
    assert (named.predict(x) == 1).mean() == pytest.approx(shares[1], abs=0.05)


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="more than one class"):
        Classifier().fit([[1.0], [2.0]], ["a", "a"])


@pytest.mark.parametrize(
    "check",
    [check_classifiers_one_label, check_fit2d_1feature, check_n_features_in, check_estimators_pickle],
    ids=lambda check: check.__name__,
)
def test_checks_on_a_service(server: Server, check: Callable[..., None]) -> None:
    """Those of scikit-learn that train a few networks."""
    check("Classifier", Classifier(random_state=0, epochs=3, service=server.client.base))


@pytest.mark.slow
@pytest.mark.parametrize(
    "check", [check_classifiers_classes, check_classifiers_train], ids=lambda check: check.__name__
)
def test_longer_checks_on_a_service(server: Server, check: Callable[..., None]) -> None:
    check("Classifier", Classifier(random_state=0, epochs=100, service=server.client.base))


def test_a_service_trains_the_same_kind_of_network(server: Server, ty: Trainyard) -> None:
    """As good as in this process; the model stays at the service, with the columns' names, and its rows do not."""
    x, y = WINE
    frame, labels = pd.DataFrame(x, columns=[f"c{place}" for place in range(13)]), np.array(["a", "b", "c"])[y]
    datasets = {dataset.id for dataset in ty.datasets()}
    name = fresh("estimated")
    local = Classifier(random_state=0, early_stopping=True).fit(frame[::2], labels[::2])
    remote = clone(local).set_params(service=ty, name=name).fit(frame[::2], labels[::2])
    for model in (local, remote):
        assert model.score(frame[1::2], labels[1::2]) >= 0.93
    assert remote.predict_proba(frame).shape == (178, 3)
    assert remote.loss_curve_[0] > remote.loss_curve_[-1]
    assert len(remote.validation_scores_) == remote.n_iter_
    assert (remote.model_name_, remote.version_) == (name, 1)
    assert list(ty.model(name).predict(frame[1::2]).labels) == remote.predict(frame[1::2]).tolist()
    assert {dataset.id for dataset in ty.datasets()} <= datasets
    weighted = (
        clone(remote)
        .set_params(early_stopping=False)
        .fit(frame, labels, sample_weight=np.where(labels == "a", 1.0, 0.0))
    )
    assert (weighted.predict(frame) == "a").mean() > 0.7 > 2 * (labels == "a").mean()
    assert weighted.version_ == 2
    again = pickle.loads(pickle.dumps(remote))
    assert (again.predict(frame) == remote.predict(frame)).all()
