"""A training step of this core against scikit-learn's MLPClassifier, on the spiral and the digits network.

Both run Adam with ReLU between dense layers on the same random data, in one process with one BLAS thread, in turns.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from nncore import Adam, Dense, Network, ReLU, Softmax, train

#: Name: rows, sizes from inputs to classes, batch, epochs a round.
WORKLOADS: dict[str, tuple[int, list[int], int, int]] = {
    "spiral": (300, [2, 64, 3], 300, 400),
    "digits": (1437, [64, 64, 64, 10], 32, 12),
}
ROUNDS = 7


def main() -> dict[str, Any]:
    """Measure all workloads; microseconds a step and their ratios."""
    results = {}
    print(f"{'workload':<10}{'this core':>12}{'scikit-learn':>14}{'ratio':>8}   (µs a step, best of {ROUNDS}; goal 2)")
    with threadpool_limits(1):
        for name, (rows, sizes, batch, epochs) in WORKLOADS.items():
            generator = np.random.default_rng(0)
            x = generator.standard_normal((rows, sizes[0])).astype(np.float32)
            y = generator.integers(0, sizes[-1], rows)
            ours, theirs = [], []
            for _ in range(ROUNDS):
                theirs.append(_scikit_learn(x, y, sizes, batch, epochs))
                ours.append(_this_core(x, y, sizes, batch, epochs))
            results[name] = {"ours_us": min(ours), "scikit_learn_us": min(theirs), "ratio": min(theirs) / min(ours)}
            print(f"{name:<10}{min(ours):>12.1f}{min(theirs):>14.1f}{min(theirs) / min(ours):>8.2f}")
    return results


def _steps(rows: int, batch: int, epochs: int) -> int:
    return -(-rows // batch) * epochs


def _this_core(x: np.ndarray, y: np.ndarray, sizes: list[int], batch: int, epochs: int) -> float:
    layers: list[Any] = []
    for units in sizes[1:-1]:
        layers += [Dense(units), ReLU()]
    network = Network([*layers, Dense(sizes[-1]), Softmax()], inputs=sizes[0])
    begin = time.perf_counter()
    for _ in train(network, x, y, optimizer=Adam(), epochs=epochs, batch_size=batch):
        pass
    return (time.perf_counter() - begin) / _steps(len(x), batch, epochs) * 1e6


def _scikit_learn(x: np.ndarray, y: np.ndarray, sizes: list[int], batch: int, epochs: int) -> float:
    model = MLPClassifier(
        sizes[1:-1], alpha=0.0, batch_size=batch, max_iter=epochs, tol=0.0, n_iter_no_change=epochs + 1, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It warns that it has not converged, which is not asked of it.
        begin = time.perf_counter()
        model.fit(x, y)
        return (time.perf_counter() - begin) / _steps(len(x), batch, epochs) * 1e6


if __name__ == "__main__":
    main()
