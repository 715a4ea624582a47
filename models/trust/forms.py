"""Forms of named arrays: what a file must hold, checked before anything is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from nncore.arrays import Array

__all__ = ["Form", "checked", "group_of"]


class Form(NamedTuple):
    """The type and the shape of an array; None in the shape stands for any length."""

    dtype: str
    shape: tuple[int | None, ...]


def checked(arrays: Mapping[str, Array], forms: Mapping[str, Form]) -> dict[str, Array]:
    """The arrays by the names of ``forms``.

    Raises ValueError with the first that is missing, not expected, of another form or not finite.
    """
    for name in sorted(forms.keys() ^ arrays.keys()):
        if name in forms:
            raise ValueError(f"{name}: expected {_words(forms[name])}, found nothing")
        raise ValueError(f"{name}: expected nothing, found {arrays[name].dtype} of {arrays[name].shape}")
    for name, form in forms.items():
        array = arrays[name]
        fits = array.ndim == len(form.shape) and all(
            wanted in (None, found) for wanted, found in zip(form.shape, array.shape, strict=True)
        )
        if array.dtype != form.dtype or not fits:
            raise ValueError(f"{name}: expected {_words(form)}, found {array.dtype} of {array.shape}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name}: expected finite numbers, found others")
    return {name: arrays[name] for name in forms}


def group_of(arrays: Mapping[str, Array], group: str) -> dict[str, Array]:
    """The arrays of a group, by their names without it."""
    return {name.removeprefix(f"{group}/"): array for name, array in arrays.items() if name.startswith(f"{group}/")}


def _words(form: Form) -> str:
    return f"{form.dtype} of ({', '.join('any' if length is None else str(length) for length in form.shape)})"
