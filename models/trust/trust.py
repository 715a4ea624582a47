"""Trust: all that is fitted on held-out rows, as one value, and what it says about predictions in one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from models.trust.conformal import PredictionSets
from models.trust.disagreement import disagreement
from models.trust.distance import MAXIMUM_CELLS, Distance
from models.trust.draws import draws_of
from models.trust.forms import Form, checked, group_of
from models.trust.mixture import mixed, mixture_weights
from models.trust.temperature import LIMIT, fit_temperature, sharpened
from nncore.arrays import Array
from nncore.batches import RowSource
from nncore.metrics import calibration_error

__all__ = ["Answer", "Trust"]

#: Rows that are made at a time.
PIECE = 1024
#: Arrays without a group.
OWN = ("weights", "temperature", "calibration")


Made = TypeVar("Made")


class Answer(NamedTuple):
    """What there is to say about rows; None stands for what was not asked for.

    ``probabilities`` (n_rows, n_classes) are those of the mixture after the temperature. ``sets`` (n_rows, n_classes)
    says which classes are in the conformal set, ``uncertainty`` (n_rows,) is the members' disagreement from 0 to 1, and
    ``distance`` (n_rows,) is more than 1 for an unusual row.
    """

    probabilities: Array
    sets: Array | None = None
    uncertainty: Array | None = None
    distance: Array | None = None


@dataclass(frozen=True, eq=False)
class Trust:
    """What was fitted on held-out rows.

    ``weights`` (n_kinds,) are those of the mixture, ``temperature`` (1,) is the temperature, and ``calibration`` (2,)
    the expected calibration error of the held-out rows without and with the temperature.
    """

    weights: Array
    temperature: Array
    calibration: Array
    sets: PredictionSets
    distance: Distance

    @classmethod
    def fit(cls, probabilities: Array, codes: Array, rows: Array | RowSource, *, common: bool) -> Trust:
        """Learn from held-out probabilities (n_kinds, n_rows, n_classes), class numbers (n_rows,) and these rows.

        ``rows`` are what the network reads (n_rows, n_inputs), or a source of it, of the type that it is asked with.
        Bins of numbers may be left out, if they always are. ``common`` says that all inputs are of like size, as those
        of features are. Raises ValueError if there are no rows, or if a shape, a probability, a class number or an
        input is wrong.
        """
        samples = len(rows) if isinstance(rows, np.ndarray) else rows.samples
        if not samples or samples != len(codes):
            raise ValueError(
                f"there must be as many rows as codes, and at least one. Received: {samples}, {len(codes)}"
            )
        weights = mixture_weights(probabilities, codes)
        mixture = mixed(probabilities, weights)
        temperature = fit_temperature(mixture, codes)
        sharp = sharpened(mixture, temperature)
        draws, sample = _drawn_and_sampled(rows, samples)
        return cls(
            weights,
            np.array([temperature]),
            np.array([calibration_error(mixture, codes), calibration_error(sharp, codes)]),
            PredictionSets.fit(sharp, codes, draws),
            Distance.fit(sample, common=common),
        )

    def shares(self, kinds: Array) -> Array:
        """The share (n_members,) of each member, from the number of its kind (n_members,); members of a kind share.

        A kind without a member gets nothing, and the others more.
        """
        counts = np.bincount(kinds, minlength=len(self.weights))
        shares: Array = (self.weights / np.maximum(counts, 1))[kinds]
        shares /= shares.sum()
        return shares

    def apply(
        self,
        members: Array,
        shares: Array,
        inputs: Array | None = None,
        *,
        coverage: float | None = None,
        by_class: bool = False,
        uncertainty: bool = False,
        distance: bool = False,
    ) -> Answer:
        """What there is to say about rows, from the members' probabilities (n_members, n_rows, n_classes).

        ``inputs`` (n_rows, n_inputs) are needed with ``coverage`` and with ``distance``; they are of the type and of
        the columns that ``fit`` got. Raises ValueError if the coverage is not between 0 and 1.
        """
        mixture = mixed(members, shares)
        probabilities = sharpened(mixture, float(self.temperature[0]))
        sets = of_inputs = None
        if coverage is not None:
            assert inputs is not None
            sets = self.sets.sets(probabilities, draws_of(inputs), coverage, by_class=by_class)
        if distance:
            assert inputs is not None
            of_inputs = self.distance.of_rows(inputs)
        return Answer(probabilities, sets, disagreement(members, mixture, shares) if uncertainty else None, of_inputs)

    def arrays(self) -> dict[str, Array]:
        """The arrays by ``name`` or ``group/name``, as a checkpoint holds them."""
        return {
            **{name: getattr(self, name) for name in OWN},
            **{f"sets/{name}": array for name, array in self.sets.arrays().items()},
            **{f"distance/{name}": array for name, array in self.distance.arrays().items()},
        }

    @staticmethod
    def forms(kinds: int, classes: int, inputs: int) -> dict[str, Form]:
        """The forms of the arrays for so many kinds, classes and inputs."""
        return {
            **_own_forms(kinds),
            **{f"sets/{name}": form for name, form in PredictionSets.forms(classes).items()},
            **{f"distance/{name}": form for name, form in Distance.forms(inputs).items()},
        }

    @classmethod
    def of(cls, arrays: Mapping[str, Array], kinds: int, classes: int, inputs: int) -> Trust:
        """What was fitted, from its arrays.

        Raises ValueError with the first array that ``fit`` cannot have made for so many kinds, classes and inputs.
        """
        for name in sorted(arrays):
            group, _, rest = name.partition("/")
            if not (name in OWN or (group in ("sets", "distance") and rest)):
                found = arrays[name]
                raise ValueError(f"/trust/{name}: expected nothing, found {found.dtype} of {found.shape}")
        given = {name: arrays[name] for name in OWN if name in arrays}
        own = _at("/trust/", lambda: _own(given, kinds))
        sets = _at("/trust/sets/", lambda: PredictionSets.of(group_of(arrays, "sets"), classes))
        distance = _at("/trust/distance/", lambda: Distance.of(group_of(arrays, "distance"), inputs))
        return cls(**own, sets=sets, distance=distance)


def _at(place: str, make: Callable[[], Made]) -> Made:
    """What ``make`` returns; a ValueError that it raises begins with the place."""
    try:
        return make()
    except ValueError as error:
        raise ValueError(f"{place}{error}") from None


def _own_forms(kinds: int) -> dict[str, Form]:
    return {name: Form("float64", (length,)) for name, length in zip(OWN, (kinds, 1, 2), strict=True)}


def _own(arrays: Mapping[str, Array], kinds: int) -> dict[str, Array]:
    """The arrays without a group; raises ValueError unless they can have been fitted."""
    own = checked(arrays, _own_forms(kinds))
    weights, temperature, calibration = own.values()
    if not (weights > 0).all() or abs(weights.sum() - 1.0) > 1e-6:
        raise ValueError(f"weights: expected positive numbers that sum to 1, found {weights.tolist()}")
    if not np.exp(-LIMIT) * 0.999 <= temperature[0] <= np.exp(LIMIT) * 1.001:
        raise ValueError(f"temperature: expected a number from e^-1.5 to e^1.5, found {temperature[0]}")
    if not ((calibration >= 0) & (calibration <= 1)).all():
        raise ValueError(f"calibration: expected numbers from 0 to 1, found {calibration.tolist()}")
    return own


def _drawn_and_sampled(rows: Array | RowSource, samples: int) -> tuple[Array, Array]:
    """The draws of all rows, and some of the rows evenly, as few as the distance needs; made in pieces."""
    draws, sample, step = [], list[Array](), 1
    for start in range(0, samples, PIECE):
        stop = min(start + PIECE, samples)
        piece = rows[start:stop] if isinstance(rows, np.ndarray) else rows.expanded(start, stop)
        if start == 0:
            step = -(-samples * piece.shape[1] // MAXIMUM_CELLS) or 1
        draws.append(draws_of(piece))
        sample.append(piece[-start % step :: step])
    return np.concatenate(draws), np.concatenate(sample)
