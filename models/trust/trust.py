"""Trust: all that is fitted on held-out rows, as one value, and what it says about predictions in one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from models.trust.conformal import PredictionSets
from models.trust.distance import MAXIMUM_CELLS, Distance
from models.trust.draws import draws_of
from models.trust.forms import Form, checked, group_of
from models.trust.held_out import require_held_out
from models.trust.temperature import sharpened
from nncore.arrays import Array
from nncore.batches import RowSource
from nncore.metrics import calibration_error

__all__ = ["Answer", "Trust"]

#: Rows that are made at a time.
PIECE = 1024
#: Arrays without a group.
OWN_FORMS = {"calibration": Form("float64", (2,))}


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
    """What was fitted on held-out rows, beside the mixture and its temperature.

    ``calibration`` (2,) is the expected calibration error of the held-out rows without and with the temperature.
    """

    calibration: Array
    sets: PredictionSets
    distance: Distance

    @classmethod
    def fit(cls, mixture: Array, temperature: float, codes: Array, rows: Array | RowSource, *, common: bool) -> Trust:
        """Learn from held-out probabilities of the mixture (n_rows, n_classes), before the temperature, from class
        numbers (n_rows,) and from these rows.

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
        require_held_out(mixture, codes)
        sharp = sharpened(mixture, temperature)
        draws, sample = _drawn_and_sampled(rows, samples)
        return cls(
            np.array([calibration_error(mixture, codes), calibration_error(sharp, codes)]),
            PredictionSets.fit(sharp, codes, draws),
            Distance.fit(sample, common=common),
        )

    def arrays(self) -> dict[str, Array]:
        """The arrays by ``name`` or ``group/name``, as a checkpoint holds them."""
        return {
            **{name: getattr(self, name) for name in OWN_FORMS},
            **{f"sets/{name}": array for name, array in self.sets.arrays().items()},
            **{f"distance/{name}": array for name, array in self.distance.arrays().items()},
        }

    @staticmethod
    def forms(classes: int, inputs: int) -> dict[str, Form]:
        """The forms of the arrays for so many classes and inputs."""
        return {
            **OWN_FORMS,
            **{f"sets/{name}": form for name, form in PredictionSets.forms(classes).items()},
            **{f"distance/{name}": form for name, form in Distance.forms(inputs).items()},
        }

    @classmethod
    def of(cls, arrays: Mapping[str, Array], classes: int, inputs: int) -> Trust:
        """What was fitted, from its arrays.

        Raises ValueError with the first array that ``fit`` cannot have made for so many classes and inputs.
        """
        for name in sorted(arrays):
            group, _, rest = name.partition("/")
            if not (name in OWN_FORMS or (group in ("sets", "distance") and rest)):
                found = arrays[name]
                raise ValueError(f"/trust/{name}: expected nothing, found {found.dtype} of {found.shape}")
        given = {name: arrays[name] for name in OWN_FORMS if name in arrays}
        own = _at("/trust/", lambda: _own(given))
        sets = _at("/trust/sets/", lambda: PredictionSets.of(group_of(arrays, "sets"), classes))
        distance = _at("/trust/distance/", lambda: Distance.of(group_of(arrays, "distance"), inputs))
        return cls(**own, sets=sets, distance=distance)


def _at(place: str, make: Callable[[], Made]) -> Made:
    """What ``make`` returns; a ValueError that it raises begins with the place."""
    try:
        return make()
    except ValueError as error:
        raise ValueError(f"{place}{error}") from None


def _own(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays without a group; raises ValueError unless they can have been fitted."""
    own = checked(arrays, OWN_FORMS)
    calibration = own["calibration"]
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
