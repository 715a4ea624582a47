"""Activations: elementwise layers without parameters, and the softmax.

The backward pass computes the derivative from the output if that is possible. Otherwise the forward pass stores the
derivative in a buffer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np

from nncore.arrays import Array, Workspace
from nncore.erf import erf, erf_calls
from nncore.hyperparameters import hyperparameter
from nncore.layer import Call, Calls, Layer, LayerMemory, Signal

__all__ = ["ELU", "GELU", "SELU", "LeakyReLU", "ReLU", "SiLU", "Sigmoid", "Softmax", "Softplus", "Tanh"]


@dataclass(frozen=True)
class ReLU(Layer):
    """Rectified linear unit: ``y = max(0, x)``; the gradient is 0 for ``x ≤ 0``."""

    elementwise: ClassVar[bool] = True

    def apply(self, parameters: Mapping[str, Array], x: Array) -> Array:
        return np.maximum(x, 0)

    def plan(self, memory: LayerMemory, x: Signal, y: Signal) -> tuple[Calls, Calls]:
        assert y.gradient is not None
        # An array of zeros: a comparison with a scalar is about four times slower in NumPy.
        zeros, mask = memory.workspace.filled(0.0, y.values.shape), memory.workspace.scratch(y.values.shape)
        integer = np.int32 if mask.dtype == np.float32 else np.int64
        gradient_bits, mask_bits = y.gradient.view(integer), mask.view(integer)
        ones = memory.workspace.filled(1, y.values.shape, integer)
        forward: Calls = [partial(np.maximum, x.values, zeros, out=y.values)]
        # The bits of an output, read as an integer, are 0 for 0.0 and at least 1 for a positive number. After
        # minimum(·, 1) they are a mask of 0 and 1 that clears or keeps the gradient's bits. The bits of -0.0 are the
        # smallest integer, and a product with it is 0.0 or -0.0. A boolean mask would be converted to floats, which
        # takes twice as long.
        backward: Calls = [
            partial(np.minimum, y.values.view(integer), ones, out=mask_bits),
            partial(np.multiply, gradient_bits, mask_bits, out=gradient_bits),
        ]
        return forward, backward


@dataclass(frozen=True)
class LeakyReLU(Layer):
    """``y = x`` if ``x > 0``, else ``negative_slope·x`` (Maas et al. 2013); the gradient at 0 is ``negative_slope``."""

    negative_slope: float = hyperparameter(0.01, minimum=0.0, maximum=1.0, help="Slope for x ≤ 0.")

    elementwise: ClassVar[bool] = True

    def apply(self, parameters: Mapping[str, Array], x: Array) -> Array:
        y: Array = x * self.negative_slope
        return np.maximum(x, y, out=y)

    def plan(self, memory: LayerMemory, x: Signal, y: Signal) -> tuple[Calls, Calls]:
        assert y.gradient is not None
        scratch, slope = memory.workspace.scratch(y.values.shape), np.array(self.negative_slope, y.values.dtype)
        forward: Calls = [
            partial(np.multiply, x.values, slope, out=scratch),
            partial(np.maximum, x.values, scratch, out=y.values),
        ]
        backward: Calls = [
            partial(np.sign, y.values, out=scratch),
            partial(np.maximum, scratch, slope, out=scratch),
            partial(np.multiply, y.gradient, scratch, out=y.gradient),
        ]
        return forward, backward


def _exponential_unit(x: Array, scale: float, alpha: float) -> Array:
    """Return ``scale·x`` if ``x > 0``, else ``scale·alpha·(exp(x) - 1)``."""
    y: Array = np.expm1(np.minimum(x, 0))
    y *= scale * alpha
    y += np.maximum(x, 0) * scale
    return y


def _plan_exponential_unit(
    memory: LayerMemory, x: Signal, y: Signal, scale: float, alpha: float
) -> tuple[Calls, Calls]:
    """Plan ``_exponential_unit`` and its derivative: ``scale`` if ``y > 0``, else ``y + scale·alpha``."""
    assert y.gradient is not None
    shape, number = y.values.shape, partial(np.array, dtype=y.values.dtype)
    zeros, (scratch, above) = memory.workspace.filled(0.0, shape), memory.workspace.scratch((2, *shape))
    depth = number(scale * alpha)
    forward: Calls = [
        partial(np.minimum, x.values, zeros, out=scratch),
        partial(np.expm1, scratch, out=scratch),
        partial(np.multiply, scratch, depth, out=scratch),
        partial(np.maximum, x.values, zeros, out=y.values),
        partial(np.multiply, y.values, number(scale), out=y.values),
        partial(np.add, y.values, scratch, out=y.values),
    ]
    backward: Calls = [
        partial(np.minimum, y.values, zeros, out=scratch),
        partial(np.add, scratch, depth, out=scratch),
    ]
    if alpha != 1.0:
        backward += [
            partial(np.sign, y.values, out=above),
            partial(np.maximum, above, zeros, out=above),
            partial(np.multiply, above, number(scale - scale * alpha), out=above),
            partial(np.add, scratch, above, out=scratch),
        ]
    return forward, [*backward, partial(np.multiply, y.gradient, scratch, out=y.gradient)]


@dataclass(frozen=True)
class ELU(Layer):
    """``y = x`` if ``x > 0``, else ``alpha·(exp(x) - 1)`` (Clevert et al. 2016); the gradient at 0 is ``alpha``."""

    alpha: float = hyperparameter(
        1.0, minimum=0.0, maximum=1e6, help="Scale α of the negative part; y approaches -α for large negative x."
    )

    elementwise: ClassVar[bool] = True

    def apply(self, parameters: Mapping[str, Array], x: Array) -> Array:
        return _exponential_unit(x, 1.0, self.alpha)

    def plan(self, memory: LayerMemory, x: Signal, y: Signal) -> tuple[Calls, Calls]:
        return _plan_exponential_unit(memory, x, y, 1.0, self.alpha)


@dataclass(frozen=True)
class SELU(Layer):
    """``y = λx`` if ``x > 0``, else ``λα(exp(x) - 1)``; λ = 1.0507…, α = 1.6732… (Klambauer et al. 2017).

    Use it with lecun_normal weights: activations then keep mean 0 and variance 1 from layer to layer.
    """

    elementwise: ClassVar[bool] = True
    scale: ClassVar[float] = 1.050_700_987_355_480_49
    alpha: ClassVar[float] = 1.673_263_242_354_377_28

    def apply(self, parameters: Mapping[str, Array], x: Array) -> Array:
        return _exponential_unit(x, self.scale, self.alpha)

    def plan(self, memory: LayerMemory, x: Signal, y: Signal) -> tuple[Calls, Calls]:
        return _plan_exponential_unit(memory, x, y, self.scale, self.alpha)


#: Coefficients of x and x³ in GELU's approximation: √(2/π), and Hendrycks & Gimpel's 0.044715 times √(2/π).
_TANH_LINEAR = math.sqrt(2.0 / math.pi)
_TANH_CUBIC = 0.044715 * _TANH_LINEAR


@dataclass(frozen=True)
class GELU(Layer):
    """``y = x·Φ(x)`` with the standard normal distribution function Φ (Hendrycks & Gimpel 2016).

    The gradient is ``Φ(x) + x·φ(x)``. ``approximate="tanh"`` selects the authors' approximation,
    ``y = x/2·(1 + tanh(√(2/π)(x + 0.044715x³)))``.
    """

    approximate: Literal["none", "tanh"] = hyperparameter(
        "none", help="none: computed with the error function; tanh: approximated with tanh."
    )

    elementwise: ClassVar[bool] = True
    needs_output: ClassVar[bool] = False

    def apply(self, parameters: Mapping[str, Array], x: Array) -> Array:
        if self.approximate == "tanh":
            y: Array = np.tanh(x * (_TANH_LINEAR + _TANH_CUBIC * (x * x)))
        else:
            y = erf(x * math.sqrt(0.5))
        y += 1.0
        y *= 0.5
        y *= x
        return y

    def plan(self, memory: LayerMemory, x: Signal, y: Signal) -> tuple[Calls, Calls]:
        assert y.gradient is not None
        derivative = memory.workspace.array(y.values.shape)
        calls = _gelu_by_tanh if self.approximate == "tanh" else _gelu_by_erf
        forward = calls(x.values, y.values, derivative, memory.workspace)
        return forward, [partial(np.multiply, y.gradient, derivative, out=y.gradient)]


def _gelu_by_erf(x: Array, y: Array, derivative: Array, workspace: Workspace) -> Calls:
    number = partial(np.array, dtype=y.dtype)
    magnitude, density, scratch = workspace.scratch((3, *y.shape))
    return [
        partial(np.absolute, x, out=magnitude),
        partial(np.multiply, magnitude, number(math.sqrt(0.5)), out=magnitude),
        *erf_calls(magnitude, derivative, density, scratch),
        partial(np.copysign, derivative, x, out=derivative),
        partial(np.add, derivative, number(1.0), out=derivative),
        partial(np.multiply, derivative, number(0.5), out=derivative),
        partial(np.multiply, density, number(1.0 / math.sqrt(2.0 * math.pi)), out=density),
        partial(np.multiply, density, x, out=density),
        partial(np.multiply, x, derivative, out=y),
        partial(np.add, derivative, density, out=derivative),
    ]


def _gelu_by_tanh(x: Array, y: Array, derivative: Array, workspace: Workspace) -> Calls:
    number = partial(np.array, dtype=y.dtype)
    square, tanh = workspace.scratch((2, *y.shape))
    linear, one, half = number(_TANH_LINEAR), number(1.0), number(0.5)
    return [
        partial(np.multiply, x, x, out=square),
        partial(np.multiply, square, number(_TANH_CUBIC), out=tanh),
        partial(np.add, tanh, linear, out=tanh),
        partial(np.multiply, tanh, x, out=tanh),
        partial(np.tanh, tanh, out=tanh),
        # The derivative of tanh(u(x)) times x: x·u'(x)·(1 - tanh²).
        partial(np.multiply, square, number(3.0 * _TANH_CUBIC), out=derivative),
        partial(np.add, derivative, linear, out=derivative),
        partial(np.multiply, derivative, x, out=derivative),
        partial(np.multiply, tanh, tanh, out=square),
        partial(np.subtract, one, square, out=square),
        partial(np.multiply, derivative, square, out=derivative),
        partial(np.add, tanh, one, out=tanh),
        partial(np.add, derivative, tanh, out=derivative),
        partial(np.multiply, derivative, half, out=derivative),
        partial(np.multiply, tanh, half, out=tanh),
        partial(np.multiply, x, tanh, out=y),
    ]


def _lowest(dtype: np.dtype[Any]) -> float:
    """Return a lower bound for x at which ``exp(-x)`` is finite and the logistic function is practically 0."""
    return float(np.log(np.finfo(dtype).tiny))


def _logistic(x: Array) -> Array:
    """Return ``1/(1 + exp(-x))`` in a new array."""
    y: Array = np.maximum(x, _lowest(x.dtype))
    np.negative(y, out=y)
    np.exp(y, out=y)
    y += 1.0
    return np.reciprocal(y, out=y)


def _logistic_calls(x: Array, y: Array) -> Calls:
    """Return the calls that fill ``y`` with ``1/(1 + exp(-x))``; ``x`` and ``y`` may be the same array."""
    number = partial(np.array, dtype=y.dtype)
    return [
        partial(np.maximum, x, number(_lowest(y.dtype)), out=y),
        partial(np.negative, y, out=y),
        partial(np.exp, y, out=y),
        partial(np.add, y, number(1.0), out=y),
        partial(np.reciprocal, y, out=y),
    ]


@dataclass(frozen=True)
class SiLU(Layer):
    """``y = x·σ(x)`` with the logistic function σ (Elfwing et al. 2018); the gradient is ``σ(x)(1 + x(1 - σ(x)))``."""

    elementwise: ClassVar[bool] = True
    needs_output: ClassVar[bool] = False

    def apply(self, parameters: Mapping[str, Array], x: Array) -> Array:
        y = _logistic(x)
        y *= x
        return y

    def plan(self, memory: LayerMemory, x: Signal, y: Signal) -> tuple[Calls, Calls]:
        assert y.gradient is not None
        derivative, logistic = memory.workspace.array(y.values.shape), memory.workspace.scratch(y.values.shape)
        one = np.array(1.0, y.values.dtype)
        forward: Calls = [
            *_logistic_calls(x.values, logistic),
            partial(np.subtract, one, logistic, out=derivative),
            partial(np.multiply, derivative, x.values, out=derivative),
            partial(np.add, derivative, one, out=derivative),
            partial(np.multiply, derivative, logistic, out=derivative),
            partial(np.multiply, x.values, logistic, out=y.values),
        ]
        return forward, [partial(np.multiply, y.gradient, derivative, out=y.gradient)]


@dataclass(frozen=True)
class Tanh(Layer):
    """``y = tanh(x)``; the gradient is ``1 - y²``."""

    elementwise: ClassVar[bool] = True

    def apply(self, parameters: Mapping[str, Array], x: Array) -> Array:
        return np.tanh(x)

    def plan(self, memory: LayerMemory, x: Signal, y: Signal) -> tuple[Calls, Calls]:
        assert y.gradient is not None
        scratch = memory.workspace.scratch(y.values.shape)
        backward: Calls = [
            partial(np.multiply, y.values, y.values, out=scratch),
            partial(np.multiply, scratch, y.gradient, out=scratch),
            partial(np.subtract, y.gradient, scratch, out=y.gradient),
        ]
        return [partial(np.tanh, x.values, out=y.values)], backward


@dataclass(frozen=True)
class Sigmoid(Layer):
    """``y = 1/(1 + exp(-x))``; the gradient is ``y(1 - y)``."""

    elementwise: ClassVar[bool] = True

    def apply(self, parameters: Mapping[str, Array], x: Array) -> Array:
        return _logistic(x)

    def plan(self, memory: LayerMemory, x: Signal, y: Signal) -> tuple[Calls, Calls]:
        assert y.gradient is not None
        scratch = memory.workspace.scratch(y.values.shape)
        backward: Calls = [
            partial(np.multiply, y.values, y.values, out=scratch),
            partial(np.subtract, y.values, scratch, out=scratch),
            partial(np.multiply, y.gradient, scratch, out=y.gradient),
        ]
        return _logistic_calls(x.values, y.values), backward


@dataclass(frozen=True)
class Softplus(Layer):
    """``y = log(1 + exp(x))``, computed as ``max(0, x) + log1p(exp(-|x|))``; the gradient is ``1 - exp(-y)``."""

    elementwise: ClassVar[bool] = True

    def apply(self, parameters: Mapping[str, Array], x: Array) -> Array:
        y: Array = np.abs(x)
        np.negative(y, out=y)
        np.exp(y, out=y)
        np.log1p(y, out=y)
        y += np.maximum(x, 0)
        return y

    def plan(self, memory: LayerMemory, x: Signal, y: Signal) -> tuple[Calls, Calls]:
        assert y.gradient is not None
        zeros, scratch = memory.workspace.filled(0.0, y.values.shape), memory.workspace.scratch(y.values.shape)
        forward: Calls = [
            partial(np.absolute, x.values, out=scratch),
            partial(np.negative, scratch, out=scratch),
            partial(np.exp, scratch, out=scratch),
            partial(np.log1p, scratch, out=scratch),
            partial(np.maximum, x.values, zeros, out=y.values),
            partial(np.add, y.values, scratch, out=y.values),
        ]
        backward: Calls = [
            partial(np.negative, y.values, out=scratch),
            partial(np.expm1, scratch, out=scratch),
            partial(np.negative, scratch, out=scratch),
            partial(np.multiply, y.gradient, scratch, out=y.gradient),
        ]
        return forward, backward


def _reduce_call(function: np.ufunc, rows: Array, row: Array) -> Call:
    """Return the call that reduces ``rows`` over the first axis; two rows avoid the set-up cost of a reduction."""
    if len(rows) == 2:
        return partial(function, rows[0], rows[1], out=row)
    return partial(function.reduce, rows, axis=0, out=row)


@dataclass(frozen=True)
class Softmax(Layer):
    """``S_ij = exp(z_ij - max_l z_il) / Σ_l exp(z_il - max_l z_il)``.

    The backward pass applies ``∂S_ij/∂z_ik = S_ij(δ_jk - S_ik)`` to an incoming gradient g as the Jacobian-vector
    product ``∂L/∂z = S∘g - S∘Σ_j g_ij S_ij``.
    """

    def apply(self, parameters: Mapping[str, Array], x: Array) -> Array:
        y: Array = x - np.maximum.reduce(x, axis=-1, keepdims=True)
        np.exp(y, out=y)
        y /= np.add.reduce(y, axis=-1, keepdims=True)
        return y

    def forward_calls(self, x: Array, y: Array, workspace: Workspace) -> Calls:
        """Return the calls that fill ``y`` from ``x``, both (n_classes, n_samples); they may be the same array."""
        row = workspace.array((x.shape[1],))
        return [
            _reduce_call(np.maximum, x, row),
            partial(np.subtract, x, row, out=y),
            partial(np.exp, y, out=y),
            _reduce_call(np.add, y, row),
            partial(np.divide, y, row, out=y),
        ]

    def plan(self, memory: LayerMemory, x: Signal, y: Signal) -> tuple[Calls, Calls]:
        assert y.gradient is not None
        forward = self.forward_calls(x.values, y.values, memory.workspace)
        product, row = memory.workspace.scratch(y.values.shape), memory.workspace.array((y.values.shape[1],))
        backward: Calls = [
            partial(np.multiply, y.gradient, y.values, out=y.gradient),
            partial(np.add.reduce, y.gradient, axis=0, out=row),
            partial(np.multiply, y.values, row, out=product),
            partial(np.subtract, y.gradient, product, out=y.gradient),
        ]
        return forward, backward
