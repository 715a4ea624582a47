"""The choice of kernels by their kind."""

from __future__ import annotations

from collections.abc import Sequence

from nncore.arrays import Array
from nncore.kernels.kinds import Constant, Kernels, Kind
from nncore.layer import Calls

__all__ = ["kernels"]


def _as_they_are(calls: Calls, dead: Sequence[Array], constants: Sequence[Constant]) -> Calls:
    return calls


def kernels(kind: Kind) -> Kernels:
    """Return the kernels of a kind. Raises ImportError for "llvm" if llvmlite is not installed."""
    if kind == "numpy":
        return _as_they_are
    from nncore.kernels.program import compiled

    return compiled
