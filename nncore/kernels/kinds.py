"""Kinds of kernels: NumPy's calls as they are, or compiled.

The plan of a step (``nncore.plan``, ``nncore.updates``) is a list of NumPy calls, which defines what the step does. The
kind "numpy" runs that list. The kind "llvm" reads the calls and compiles what it can into functions for the processor
at hand; it calls the rest as it is. So a new layer, loss or optimizer needs no kernel of its own.

Both have the same bits on processors on which NumPy evaluates exp and log of float32 with fused multiply-adds, as all
with AVX2 do. On others, a number may differ by two units in the last place after a step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Literal, get_args

from nncore.arrays import Array
from nncore.layer import Calls

__all__ = ["KINDS", "Constant", "Kernels", "Kind", "available_kinds"]

Kind = Literal["numpy", "llvm"]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: An array and the number that all of its elements always have.
Constant = tuple[Array, float]
#: Returns calls that do what the given ones do. Nobody reads the arrays of the second argument afterwards.
Kernels = Callable[[Calls, Sequence[Array], Sequence[Constant]], Calls]


#: The first version of llvmlite that takes the text of kernels.
_NEEDED = (0, 45)


def available_kinds() -> tuple[Kind, ...]:
    """Return the kinds that can run here: "llvm" needs the package llvmlite, 0.45 or newer."""
    if find_spec("llvmlite") is None:
        return ("numpy",)
    try:
        major, minor, *_ = version("llvmlite").split(".")
    except PackageNotFoundError:
        return ("numpy",)
    return KINDS if (int(major), int(minor)) >= _NEEDED else ("numpy",)
