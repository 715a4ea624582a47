"""Quantiles of the normal distribution."""

from __future__ import annotations

import numpy as np

from nncore.arrays import Array

__all__ = ["MIDDLE", "SHOULDER", "TAIL", "normal_quantiles"]

# Coefficients of Wichura (1988), "Algorithm AS 241", routine PPND16, with a relative accuracy of about 1e-16: numerator
# and denominator of a rational function in the middle, between it and the tail, and in the tail; lowest power first.
MIDDLE = (
    (3.3871328727963666080, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125,
     45921.953931549871457, 67265.770927008700853, 33430.575583588128105, 2509.0809287301226727),
    (1.0, 42.313330701600911252, 687.18700749205790830, 5394.1960214247511077,
     21213.794301586595867, 39307.895800092710610, 28729.085735721942674, 5226.4952788528545610),
)  # fmt: skip
SHOULDER = (
    (1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550, 3.64784832476320460504,
     1.27045825245236838258, 0.241780725177450611770, 0.0227238449892691845833, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187, 1.67638483018380384940, 0.689767334985100004550,
     0.148103976427480074590, 0.0151986665636164571966, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
)  # fmt: skip
TAIL = (
    (6.65790464350110377720, 5.46378491116411436990, 1.78482653991729133580, 0.296560571828504891230,
     0.0265321895265761230930, 0.00124266094738807843860, 2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 0.599832206555887937690, 0.136929880922735805310, 0.0148753612908506148525,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15),
)  # fmt: skip


def normal_quantiles(shares: Array) -> Array:
    """The numbers below which these shares of a normal distribution lie; 0 < share < 1 (Wichura 1988)."""
    q = np.asarray(shares, np.float64) - 0.5
    middle = 0.180625 - q * q
    r = np.sqrt(-np.log(np.minimum(shares, 1.0 - shares)))
    outside = np.where(r <= 5.0, _ratio(SHOULDER, r - 1.6), _ratio(TAIL, r - 5.0))
    found: Array = np.where(np.abs(q) <= 0.425, q * _ratio(MIDDLE, middle), np.copysign(outside, q))
    return found


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Array) -> Array:
    numerator, denominator = (np.polynomial.polynomial.polyval(x, each) for each in coefficients)
    found: Array = numerator / denominator
    return found
