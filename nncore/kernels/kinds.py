"""Kinds of kernels: NumPy's calls as they are, or compiled.

The plan of a step (``nncore.plan``, ``nncore.updates``) is a list of NumPy calls, which defines what the step does. The
kind "numpy" runs that list. The kind "llvm" reads the calls and compiles what it can into functions for the processor
at hand, with the same bits; it calls the rest as it is. So a new layer, loss or optimizer needs no kernel of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def available_kinds() -> tuple[Kind, ...]:
    """Return the kinds that can run here: "llvm" needs the package llvmlite."""
    return KINDS if find_spec("llvmlite") else ("numpy",)
