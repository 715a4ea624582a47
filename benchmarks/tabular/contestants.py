"""The contestants: libraries with their defaults, and Trainyard, on one thread each.

A contestant takes training columns, their class numbers, the columns to predict and a seed, and returns probabilities
(n_rows, n_classes). Missing values and words are given to each in the way that its documentation asks for.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import numpy.typing as npt

import nncore

__all__ = ["CONTESTANTS", "Contestant"]

Array = npt.NDArray[Any]
#: Levels that HistGradientBoosting takes in a column of words, beside missing.
MOST_LEVELS = 254


@dataclass(frozen=True)
class Contestant:
    """A contestant; ``package`` is the distribution whose version its results belong to, or None for this repository.

    ``fit`` returns a function that predicts probabilities.
    """

    title: str
    package: str | None
    fit: Callable[[Any, Array, int], Callable[[Any], Array]]

    @property
    def version(self) -> str | None:
        """The version of its package, or None if it is not installed."""
        if self.package is None:
            return nncore.__version__
        try:
            return version(self.package)
        except PackageNotFoundError:
            return None


def _parts(columns: Any) -> tuple[list[str], list[str]]:
    """The names of the columns of numbers, and of the others."""
    numbers = list(columns.select_dtypes("number"))
    return numbers, [name for name in columns if name not in numbers]


def _catboost(columns: Any, codes: Array, seed: int) -> Callable[[Any], Array]:
    from catboost import CatBoostClassifier

    _, words = _parts(columns)

    def prepared(frame: Any) -> Any:
        return frame.assign(**{name: frame[name].map(lambda word: word or "missing") for name in words})

    model = CatBoostClassifier(
        random_seed=seed, thread_count=1, verbose=False, allow_writing_files=False, cat_features=words
    )
    model.fit(prepared(columns), codes)
    return lambda frame: np.asarray(model.predict_proba(prepared(frame)))


def _categorical(columns: Any, most: int | None = None) -> Callable[[Any], Any]:
    """What turns columns of words into pandas' categories, with the levels of ``columns``."""
    import pandas as pd

    _, words = _parts(columns)
    levels = {name: list(columns[name].value_counts().index[:most]) for name in words}

    def prepared(frame: Any) -> Any:
        return frame.assign(
            **{name: pd.Categorical(frame[name].where(frame[name].isin(levels[name])), levels[name]) for name in words}
        )

    return prepared


def _lightgbm(columns: Any, codes: Array, seed: int) -> Callable[[Any], Array]:
    from lightgbm import LGBMClassifier

    prepared, names = _categorical(columns), [f"c{number}" for number in range(columns.shape[1])]

    def named(frame: Any) -> Any:
        """LightGBM refuses some characters in names."""
        return prepared(frame).set_axis(names, axis=1)

    model = LGBMClassifier(n_jobs=1, random_state=seed, verbose=-1)
    model.fit(named(columns), codes)
    return lambda frame: np.asarray(model.predict_proba(named(frame)))


def _xgboost(columns: Any, codes: Array, seed: int) -> Callable[[Any], Array]:
    from xgboost import XGBClassifier

    prepared = _categorical(columns)
    model = XGBClassifier(n_jobs=1, random_state=seed, enable_categorical=True)
    model.fit(prepared(columns), codes)
    return lambda frame: np.asarray(model.predict_proba(prepared(frame)))


def _boosting(columns: Any, codes: Array, seed: int) -> Callable[[Any], Array]:
    from sklearn.ensemble import HistGradientBoostingClassifier

    prepared = _categorical(columns, MOST_LEVELS)
    model = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=seed)
    model.fit(prepared(columns), codes)
    return lambda frame: np.asarray(model.predict_proba(prepared(frame)))


def _pipeline(columns: Any, model: Any) -> Any:
    """Missing numbers filled with the median, numbers standardized, words one-hot with missing as a level."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers, words = _parts(columns)
    scaled = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    levels = make_pipeline(
        SimpleImputer(missing_values=None, strategy="constant", fill_value="missing"),
        OneHotEncoder(handle_unknown="ignore"),
    )
    return make_pipeline(ColumnTransformer([("numbers", scaled, numbers), ("words", levels, words)]), model)


def _fitted(columns: Any, codes: Array, model: Any) -> Callable[[Any], Array]:
    pipeline = _pipeline(columns, model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-learn, that its solver has not converged
        pipeline.fit(columns, codes)
    return lambda frame: np.asarray(pipeline.predict_proba(frame))


def _forest(columns: Any, codes: Array, seed: int) -> Callable[[Any], Array]:
    from sklearn.ensemble import RandomForestClassifier

    return _fitted(columns, codes, RandomForestClassifier(n_jobs=1, random_state=seed))


def _logistic(columns: Any, codes: Array, seed: int) -> Callable[[Any], Array]:
    from sklearn.linear_model import LogisticRegression

    return _fitted(columns, codes, LogisticRegression(max_iter=1000, random_state=seed))


def _perceptron(columns: Any, codes: Array, seed: int) -> Callable[[Any], Array]:
    from sklearn.neural_network import MLPClassifier

    return _fitted(columns, codes, MLPClassifier(random_state=seed))


def _realmlp(columns: Any, codes: Array, seed: int) -> Callable[[Any], Array]:
    """RealMLP-TD with its defaults: one network of 256 epochs, a fifth of the rows held out."""
    from pytabkit import RealMLP_TD_Classifier

    numbers, words = _parts(columns)
    middle = columns[numbers].median().fillna(0.0)

    def prepared(frame: Any) -> Any:
        """It takes no missing numbers."""
        filled = frame.assign(**{name: frame[name].map(lambda word: word or "missing") for name in words})
        return filled.assign(**{name: frame[name].fillna(middle[name]) for name in numbers})

    model = RealMLP_TD_Classifier(device="cpu", random_state=seed, n_threads=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Lightning, about loaders and loggers
        model.fit(prepared(columns), codes, cat_col_names=words)
    return lambda frame: np.asarray(model.predict_proba(prepared(frame)))


def _trainyard(columns: Any, codes: Array, seed: int) -> Callable[[Any], Array]:
    from benchmarks.tabular import served

    return served.fit(columns, codes, seed)


#: By name.
CONTESTANTS = {
    "trainyard": Contestant("Trainyard", None, _trainyard),
    "logistic": Contestant("logistic regression", "scikit-learn", _logistic),
    "lightgbm": Contestant("LightGBM", "lightgbm", _lightgbm),
    "xgboost": Contestant("XGBoost", "xgboost", _xgboost),
    "boosting": Contestant("HistGradientBoosting", "scikit-learn", _boosting),
    "forest": Contestant("random forest", "scikit-learn", _forest),
    "perceptron": Contestant("pipeline, MLP", "scikit-learn", _perceptron),
    "catboost": Contestant("CatBoost", "catboost", _catboost),
    "realmlp": Contestant("RealMLP-TD", "pytabkit", _realmlp),
}
