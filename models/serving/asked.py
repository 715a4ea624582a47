"""What a request may ask for beside probabilities."""

from __future__ import annotations

from typing import NamedTuple

from models.data.labels import Label

__all__ = ["NOTHING", "Asked"]


class Asked(NamedTuple):
    """What is asked for beside probabilities.

    ``coverage`` is that of conformal sets, all rows together or ``by_class``. ``uncertainty`` is the members'
    disagreement, ``distance`` that to the training rows, of versions that know it. With ``explain``, the class
    ``explained`` is explained, or if it is None each row's prediction.
    """

    coverage: float | None = None
    by_class: bool = False
    uncertainty: bool = False
    distance: bool = False
    explain: bool = False
    explained: Label | None = None


NOTHING = Asked()
