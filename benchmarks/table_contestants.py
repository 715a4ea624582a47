"""scikit-learn's contestants of the comparison on tables."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np

from benchmarks.table_files import Split, TableFile

__all__ = ["CONTESTANTS", "Score", "compare"]


class Score(NamedTuple):
    """Accuracy and log loss on the test rows, and seconds of training."""

    accuracy: float
    log_loss: float
    seconds: float


def compare(file: TableFile, split: Split, seed: int) -> dict[str, Score]:
    """Train scikit-learn's contestants on one split."""
    training, codes = _prepared(file, split.training)
    test, expected = _prepared(file, split.test)
    scores = {}
    for name, made in CONTESTANTS.items():
        begin = time.perf_counter()
        model = made(training, seed)
        model.fit(training, codes)
        seconds = time.perf_counter() - begin
        scores[name] = scored(model.predict_proba(test), model.classes_, expected, seconds)
    return scores


def scored(probabilities: Any, classes: Any, expected: Any, seconds: float) -> Score:
    """The score of predicted probabilities (n_rows, n_classes)."""
    from sklearn.metrics import log_loss

    accuracy = float(np.mean(np.asarray(classes)[probabilities.argmax(axis=1)] == expected))
    return Score(accuracy, float(log_loss(expected, probabilities, labels=list(classes))), seconds)


def _prepared(file: TableFile, content: bytes) -> tuple[Any, Any]:
    """The columns and the labels of the rows that have one, as a careful user types them."""
    import pandas as pd

    frame = file.frame(content)
    frame = frame[frame[file.label].notna()]
    columns = frame.drop(columns=[file.label, *file.ids])
    for name in file.dates:
        days = pd.to_datetime(columns[name])
        columns[name] = (days - pd.Timestamp(0)) / pd.Timedelta(days=1)
    for name in columns.select_dtypes(exclude="number"):
        columns[name] = columns[name].astype(object)
    return columns, frame[file.label].astype(str).to_numpy()


def _parts(columns: Any) -> tuple[list[str], list[str]]:
    """The names of the columns of numbers, and of the others."""
    numbers = list(columns.select_dtypes("number"))
    return numbers, [name for name in columns if name not in numbers]


def _pipeline(columns: Any, seed: int) -> Any:
    """Missing values filled in, numbers scaled, words one-hot, and a network with its defaults.

    With max_iter=1000 instead of 200, or with early_stopping, it is worse on average.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers, words = _parts(columns)
    scaled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    levels = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    encoded = ColumnTransformer([("numbers", scaled, numbers), ("words", levels, words)])
    return make_pipeline(encoded, MLPClassifier(random_state=seed))


def _boosting(columns: Any, seed: int) -> Any:
    """Trees, which take missing values and the levels of words as they are."""
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    numbers, words = _parts(columns)
    unseen = {"handle_unknown": "use_encoded_value", "unknown_value": np.nan}
    encoded = ColumnTransformer([("numbers", "passthrough", numbers), ("words", OrdinalEncoder(**unseen), words)])
    places = list(range(len(numbers), len(numbers) + len(words)))
    return make_pipeline(
        encoded, HistGradientBoostingClassifier(categorical_features=places or None, random_state=seed)
    )


def _majority(columns: Any, seed: int) -> Any:
    from sklearn.dummy import DummyClassifier

    return DummyClassifier(strategy="prior")


CONTESTANTS = {"pipeline": _pipeline, "boosting": _boosting, "majority": _majority}
