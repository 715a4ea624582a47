"""The error function ``erf x = 2/√π ∫₀ˣ exp(-t²) dt``, which NumPy lacks.

It is computed from the Chebyshev series of ``(1 + 2x)·exp(x²)·erfc x`` in ``t = (x - 3.75)/(x + 3.75)``, which maps
0 ≤ x < ∞ to -1 ≤ t < 1: M. M. Shepherd & J. G. Laframboise, "Chebyshev approximation of (1 + 2x) exp(x²) erfc x in
0 ≤ x < ∞", Mathematics of Computation 36 (1981) 249-253. One formula for all x suits whole arrays, since it needs no
branches.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.polynomial.chebyshev import cheb2poly

from nncore.arrays import Array
from nncore.layer import Calls

__all__ = ["CENTRE", "erf", "erf_calls", "erf_polynomial"]

CENTRE = 3.75
#: Coefficients of T_0, T_1, …, computed with 60 digits at 64 Chebyshev nodes.
_SERIES = (
    1.177578934567401754,
    -0.004590054580646477331,
    -0.08424913336651791558,
    0.0592099399981918905,
    -0.02665866843530575228,
    0.009074997670705265094,
    -0.002413163540417608191,
    4.907758365258086323e-4,
    -6.916973302501206367e-5,
    4.139027986073010168e-6,
    7.740383066198490669e-7,
    -2.188640104923439566e-7,
    1.076499946567091038e-8,
    4.521959811218286898e-9,
    -7.754400208831351106e-10,
    -6.318088340886684494e-11,
    2.868795010930669898e-11,
    1.945586854577734723e-13,
    -9.654696748433438906e-13,
    3.252548148148739842e-14,
    3.347811948286805388e-14,
    -1.864562880419313102e-15,
    -1.250795053068864709e-15,
)
#: Number of terms at which the sum reaches the precision of the dtype.
_TERMS = {"float32": 12, "float64": len(_SERIES)}


def erf_polynomial(dtype: np.dtype[np.generic]) -> Array:
    """The coefficients of 1, t, t², … in the sum of the series in t, as precise as ``dtype``, of that type."""
    coefficients: Array = cheb2poly(_SERIES[: _TERMS[dtype.name]]).astype(dtype)
    return coefficients


def erf_calls(x: Array, y: Array, gaussian: Array, scratch: Array) -> Calls:
    """Return the calls that fill ``y`` with erf x and ``gaussian`` with exp(-x²), for x ≥ 0.

    All arrays have the same shape. The error of erf x is at most 1e-15 in float64 and 3e-7 in float32.
    """
    number = partial(np.array, dtype=x.dtype)
    centre, one, two = number(CENTRE), number(1.0), number(2.0)
    highest, *others = map(number, erf_polynomial(x.dtype)[::-1])
    calls: Calls = [
        partial(np.add, x, centre, out=gaussian),
        partial(np.subtract, x, centre, out=scratch),
        partial(np.divide, scratch, gaussian, out=scratch),
        partial(np.copyto, y, highest),
    ]
    for coefficient in others:
        calls.append(partial(np.multiply, y, scratch, out=y))
        calls.append(partial(np.add, y, coefficient, out=y))
    calls += [
        partial(np.multiply, x, two, out=scratch),
        partial(np.add, scratch, one, out=scratch),
        partial(np.divide, y, scratch, out=y),
        partial(np.multiply, x, x, out=gaussian),
        partial(np.negative, gaussian, out=gaussian),
        partial(np.exp, gaussian, out=gaussian),
        partial(np.multiply, y, gaussian, out=y),
        partial(np.subtract, one, y, out=y),
    ]
    return calls


def erf(x: Array) -> Array:
    """Return erf of each element of ``x`` in a new array, as precise as ``erf_calls``."""
    magnitude = np.abs(x)
    y, gaussian, scratch = (np.empty_like(magnitude) for _ in range(3))
    for call in erf_calls(magnitude, y, gaussian, scratch):
        call()
    return np.copysign(y, x, out=y)
