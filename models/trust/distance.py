"""Distance: how far a row lies from the training rows, in the numbers that the network reads.

It is the Mahalanobis distance under probabilistic principal components (Tipping and Bishop, 1999): along the directions
in which the training rows vary most by their variance there, along all others by the mean variance that is left. So it
sees values that are usual each but not together. 1 is the 99th percentile of rows that the distance was not fitted on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from models.trust.forms import Form, checked
from nncore.arrays import Array

__all__ = ["MAXIMUM_CELLS", "Distance"]

#: Directions of their own; as good as all of them on 14 real tables of up to 100 numbers.
RANK = 64
#: Directions that are followed in search of them.
FOLLOWED = RANK + 16
#: Added to each variance, as a share of the mean variance, so that rounding and rare levels weigh little.
RIDGE = 0.05
#: Share of rows that are nearer than 1.
SHARE = 0.99
FOLDS = 5
#: The largest distance that is told apart.
FARTHEST = 1e6
#: Numbers that a fit should get at most; a sample of rows tells as much.
MAXIMUM_CELLS = 1_500_000


@dataclass(frozen=True, eq=False)
class Distance:
    """Where training rows lie: ``mean`` and ``scale`` (n_inputs,), ``directions`` (n_inputs, rank) of length 1.

    The squared distance of ``z = (x - mean)·scale`` is ``rest·|z|² + Σ_j weights_j·(z·directions_j)²``.
    """

    mean: Array
    scale: Array
    directions: Array
    weights: Array
    rest: Array

    @classmethod
    def fit(cls, rows: Array, *, common: bool) -> Distance:
        """Learn from training rows (n_rows, n_inputs), one or more; ``common`` says that all inputs are of like size.

        If they are not, each input is divided by its standard deviation. The 99th percentile is found on each fifth of
        the rows with the distance of the others. Raises ValueError if there are no rows or no inputs, or if a number is
        not finite.
        """
        if rows.ndim != 2 or not rows.size:
            raise ValueError(f"rows must have shape (n_rows, n_inputs), of 1 or more. Received: {rows.shape}")
        if not np.isfinite(rows).all():
            raise ValueError("rows must hold finite numbers. Received: others")
        matrix = rows.astype(np.float64)
        folds = np.arange(len(matrix)) % FOLDS
        squares = np.zeros(len(matrix))
        for fold in range(min(FOLDS, len(matrix))):
            others = matrix[folds != fold] if len(matrix) > 1 else matrix
            squares[folds == fold] = _fitted(others, common)._squares(matrix[folds == fold])
        found = _fitted(matrix, common)
        unit = max(float(np.quantile(squares, SHARE)), np.finfo(np.float32).eps)
        return cls(
            *(each.astype(np.float32) for each in (found.mean, found.scale, found.directions)),
            *((each / unit).astype(np.float32) for each in (found.weights, found.rest)),
        )

    def of_rows(self, rows: Array) -> Array:
        """The distance (n_rows,) of rows (n_rows, n_inputs), from 0 to 1e6: 1 if 99 of 100 rows are nearer."""
        with np.errstate(over="ignore", invalid="ignore"):
            squares = self._squares(rows)
        # fmin takes the number if the other one is NaN, as after an overflow.
        np.maximum(squares, 0.0, out=squares)
        np.fmin(squares, FARTHEST**2, out=squares)
        distances: Array = np.sqrt(squares, out=squares)
        return distances

    @cached_property
    def _scaled(self) -> Array:
        """The directions for rows that are not scaled."""
        return self.scale[:, np.newaxis] * self.directions

    @cached_property
    def _has_rest(self) -> bool:
        return bool(self.rest[0])

    def _squares(self, rows: Array) -> Array:
        z = rows - self.mean
        along = z @ self._scaled
        along *= along
        squares: Array = along @ self.weights
        if self._has_rest:
            z *= self.scale
            squares += np.einsum("ij,ij->i", z, z) * self.rest[0]
        return squares

    def arrays(self) -> dict[str, Array]:
        """The arrays by name, as a checkpoint holds them."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @staticmethod
    def forms(inputs: int) -> dict[str, Form]:
        """The forms of the arrays for so many inputs."""
        rank = min(RANK, inputs)
        forms = {"mean": (inputs,), "scale": (inputs,), "directions": (inputs, rank), "weights": (rank,), "rest": (1,)}
        return {name: Form("float32", shape) for name, shape in forms.items()}

    @classmethod
    def of(cls, arrays: Mapping[str, Array], inputs: int) -> Distance:
        """The distance from its arrays; raises ValueError unless they fit so many inputs."""
        own = checked(arrays, cls.forms(inputs))
        for name in ("scale", "rest"):
            if (own[name] < 0).any():
                raise ValueError(f"{name}: expected numbers of at least 0, found {own[name].min()}")
        return cls(**own)


def _fitted(matrix: Array, common: bool) -> Distance:
    """The distance of a matrix in float64, whose unit is that of the inputs."""
    mean = matrix.mean(axis=0)
    deviation = np.ones(len(mean)) if common else matrix.std(axis=0)
    # A constant has no deviation. What differs from it is far away by the ridge.
    scale = 1.0 / np.where(deviation > 1e-6 * np.maximum(1.0, np.abs(mean)), deviation, 1.0)
    z = (matrix - mean) * scale
    variances = np.einsum("ij,ij->j", z, z) / len(z)
    ridge = RIDGE * float(variances.mean()) or 1.0
    rank = min(RANK, len(mean))
    directions, along = _principal(z, rank)
    left = len(mean) - rank
    rest = 1.0 / (max(float(variances.sum() - along.sum()), 0.0) / left + ridge) if left else 0.0
    return Distance(mean, scale, directions, 1.0 / (along + ridge) - rest, np.array([rest]))


def _principal(z: Array, rank: int) -> tuple[Array, Array]:
    """The directions (n_inputs, rank) in which rows vary most, and their variances there (rank,), the largest first.

    If there are many inputs, by subspace iteration (Halko, Martinsson and Tropp, 2011).
    """
    basis = np.eye(z.shape[1])
    if z.shape[1] > FOLLOWED:
        start = np.random.Generator(np.random.PCG64(0)).standard_normal((z.shape[1], FOLLOWED))
        basis = np.linalg.qr(start)[0]
        for _ in range(3):
            basis = np.linalg.qr(z.T @ (z @ basis))[0]
    along = z @ basis
    variances, turns = np.linalg.eigh(along.T @ along / len(z))
    chosen = slice(None, -rank - 1, -1)
    return basis @ turns[:, chosen], np.maximum(variances[chosen], 0.0)
