"""The checker of gradients, a harness that runs one layer as a plan does, and networks whose ReLUs stand off kinks."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import settings

from nncore import Dense, Layer, Network, ReLU
from nncore.arrays import Array, NamedVector, Workspace
from nncore.kernels.choice import kernels
from nncore.kernels.kinds import Kind
from nncore.layers import LayerArrays, LayerMemory, Signal
from nncore.optimizer import UpdateMemory
from nncore.plan import BatchPlan

#: Relative error that a gradient may have.
ACCURACY = 1e-6
STEP = 1e-4

_EXPLORE = int(os.environ.get("TEST_EXAMPLES", "0"))
#: Decorates a property: the same examples at each run, or so many random ones as the environment asks for.
examples = settings(deadline=None, derandomize=not _EXPLORE, max_examples=_EXPLORE or 40, database=None)


def central_differences(function: Callable[[], float], point: Array) -> Array:
    """``∂function/∂point`` by fourth-order central differences; ``point`` is what the function reads."""
    flat, slopes = point.reshape(-1), np.empty(point.size)
    assert not point.size or np.shares_memory(flat, point)
    for index, original in enumerate(flat.tolist()):
        values = []
        for offset in (-2, -1, 1, 2):
            flat[index] = original + offset * STEP
            values.append(function())
        flat[index] = original
        slopes[index] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * STEP)
    return slopes.reshape(point.shape)


def check_gradient(function: Callable[[], float], point: Array, gradient: Array, what: str) -> None:
    """Raise AssertionError if ``gradient`` differs from ``function``'s slopes at ``point`` by 1e-6 or more.

    The error of each element is relative to the element, or to a thousandth of the largest if that is more: a
    difference of numbers around 1 has no accuracy below 1e-10.
    """
    slopes = central_differences(function, point)
    scale = max(float(np.abs(slopes).max(initial=0)), 0.1)
    error = np.abs(gradient - slopes) / np.maximum(np.maximum(np.abs(gradient), np.abs(slopes)), 1e-3 * scale)
    if not (error < ACCURACY).all():
        worst = np.unravel_index(int(np.argmax(np.nan_to_num(error, nan=np.inf))), error.shape)
        raise AssertionError(
            f"gradient of {what}, element {tuple(map(int, worst))}: {gradient[worst]!r}, "
            f"by differences {slopes[worst]!r}, relative error {error[worst]:.1e}"
        )


def garbage(array: Array) -> Array:
    """Fill memory that must not be read before it is written."""
    array.fill(np.nan)
    return array


class LayerRun:
    """One layer's plan, with samples-first arrays going in and out; all memory begins as NaN.

    With ``apart``, a layer that works in place gets separate arrays for input and output. With ``first``, the gradient
    of its input is not computed. Each forward pass draws the same noise.
    """

    def __init__(
        self,
        layer: Layer,
        inputs: int,
        samples: int,
        dtype: str = "float64",
        *,
        apart: bool = False,
        first: bool = False,
        seed: int = 0,
        kind: Kind = "numpy",
    ) -> None:
        shapes = {f"0_layer/{name}": shape for name, shape in layer.parameter_shapes(inputs).items()}
        self.parameters, self.gradients = NamedVector.zeros(shapes, dtype), NamedVector.zeros(shapes, dtype)
        garbage(self.gradients.vector)
        self.x = self._signal(inputs, samples, dtype)
        self.y = self.x
        if apart or first or not layer.in_place:
            self.y = self._signal(layer.output_size(inputs), samples, dtype)
        if layer.in_place:
            self.y = self.y._replace(gradient=self.x.gradient)
        if first:
            self.x = self.x._replace(gradient=None)
        self.statistics = {name: each.astype(dtype) for name, each in layer.initial_statistics(inputs).items()}
        parameters, gradients = (
            LayerArrays(each.group("0_layer"), each.block("0_layer")) for each in (self.parameters, self.gradients)
        )
        self.generator = np.random.default_rng(seed)
        self._undrawn = self.generator.bit_generator.state
        workspace = Workspace(dtype)
        memory = LayerMemory(parameters, gradients, self.statistics, workspace, self.generator)
        forward, backward = layer.plan(memory, self.x, self.y)
        # What the forward pass leaves in the scratch memory, no backward pass reads.
        run = kernels(kind)
        self.calls = [run(calls, workspace.scratches, workspace.constants) for calls in (forward, backward)]

    @staticmethod
    def _signal(features: int, samples: int, dtype: str) -> Signal:
        extended = garbage(np.empty((features + 1, samples), dtype))
        extended[-1] = 1
        return Signal(extended[:-1], extended, garbage(np.empty((features, samples), dtype)))

    def forward(self, x: Array) -> Array:
        """The output for ``x``."""
        self.generator.bit_generator.state = self._undrawn
        self.x.values[...] = x.T
        for call in self.calls[0]:
            call()
        return self.y.values.T.copy()

    def backward(self, upstream: Array) -> tuple[Array, Array]:
        """The gradients of the parameters and of ``x``, given that of the output; the latter is empty if ``first``."""
        assert self.y.gradient is not None
        self.y.gradient[...] = upstream.T
        for call in self.calls[1]:
            call()
        of_x = np.empty((0, 0)) if self.x.gradient is None else self.x.gradient.T.copy()
        return self.gradients.vector.copy(), of_x


def off_zero(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Numbers of both signs that keep 0.1 away from zero."""
    return np.asarray(rng.choice([-1.0, 1.0], shape) * rng.uniform(0.1, 1.5, shape))


def spread(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Numbers of both signs from -1.6 to 1.6 that keep away from zero and from one another."""
    count = int(np.prod(shape))
    places = rng.permutation(count) + rng.uniform(0.4, 0.6, count)
    halves = 3.0 * places / count - 1.5
    return np.asarray(halves + np.copysign(0.1, halves)).reshape(shape)


def check_layer(layer: Layer, inputs: int, samples: int, seed: int, kind: Kind = "numpy") -> None:
    """Check a layer's gradients of parameters and input, for a random upstream gradient."""
    rng = np.random.default_rng(seed)
    run, x = LayerRun(layer, inputs, samples, kind=kind), spread(rng, (samples, inputs))
    run.parameters.vector[...] = off_zero(rng, run.parameters.vector.shape)
    upstream = rng.normal(size=(samples, layer.output_size(inputs)))

    def value() -> float:
        return float((upstream * run.forward(x)).sum()) + layer.penalty(run.parameters.group("0_layer"))

    value()
    of_parameters, of_x = run.backward(upstream)
    check_gradient(value, run.parameters.vector, of_parameters, f"the parameters of {layer}")
    check_gradient(value, x, of_x, f"the input of {layer}")


def kink_free(layers: Sequence[Layer], inputs: int, samples: int, seed: int) -> tuple[Network, Array]:
    """A float64 network and rows for it whose ReLUs see nothing near 0, though both signs for one unit.

    What comes out of a dense layer before a ReLU are odd multiples of half the spacing that its inputs lie on: inputs
    and weights are multiples, biases odd ones. Other dense layers get weights that keep the next softmax unsaturated.
    """
    rng = np.random.default_rng(seed)
    network, spacing = Network(layers, inputs, dtype="float64"), 1.0
    x = rng.integers(-2, 3, (samples, inputs)).astype(float)
    if isinstance(layers[0], ReLU):
        x, spacing = x + 0.5, 0.5
    y = x
    for index, layer in enumerate(layers):
        parameters = network.parameters.group(network.groups[index])
        if isinstance(layer, Dense) and isinstance(layers[index + 1], ReLU):
            spacing /= 2
            parameters["weights"][...] = rng.integers(-1, 2, parameters["weights"].shape)
            parameters["bias"][...] = spacing * (2 * rng.integers(-2, 2, layer.units) + 1)
        elif isinstance(layer, Dense):
            size = 1 + np.abs(y).max() * np.sqrt(y.shape[1])
            parameters["weights"][...] = off_zero(rng, parameters["weights"].shape) / size
            if layer.use_bias:
                parameters["bias"][...] = rng.normal(size=layer.units)
        elif isinstance(layer, ReLU):
            assert np.abs(y).min() > 0.02, "this stack cannot be kept off the kinks"
        y = layer.apply({**parameters, **network.statistics.group(network.groups[index])}, y)
    return network, x


def check_network(layers: Sequence[Layer], inputs: int, labels: Sequence[int], seed: int, kind: Kind = "numpy") -> None:
    """Check the gradients of mean loss and penalties that a batch's plan gives, for all parameters at once."""
    samples = len(labels)
    network, x = kink_free(layers, inputs, samples, seed)
    gradients = NamedVector(network.parameters.shapes, garbage(np.empty_like(network.parameters.vector)))
    generator = np.random.default_rng(seed)
    undrawn = generator.bit_generator.state
    plan = BatchPlan(network, gradients, samples, Workspace("float64"), generator, kind=kind)
    plan.rows[:, :-1] = x
    plan.labels[...] = labels

    def value() -> float:
        generator.bit_generator.state = undrawn
        plan.run()
        return plan.loss_sum / samples + network.penalty()

    value()
    check_gradient(value, network.parameters.vector, gradients.vector.copy(), f"the parameters of {layers}")


def blobs(samples: int, inputs: int, classes: int, seed: int = 0) -> tuple[Array, Array]:
    """Rows around a centre for each class, and their labels; every class occurs."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(samples) % classes)
    return rng.normal(size=(classes, inputs))[labels] + rng.normal(size=(samples, inputs)), labels


class PlannedUpdate:
    """An optimizer's calls over separate vectors, which begin at ``theta``."""

    def __init__(self, rule, theta, kind: Kind = "numpy"):
        self.rule, self.count = rule, 0
        moments = {name: np.zeros_like(theta) for name in rule.moments}
        theta = theta.copy()
        self.memory = UpdateMemory(theta, np.zeros_like(theta), moments, np.empty_like(theta), (theta,))
        self._factors = [np.zeros((), theta.dtype) for _ in rule.factors(0, 0.0)]
        self._calls = kernels(kind)(rule.plan(self.memory, self._factors), [self.memory.scratch], ())

    def run(self):
        """One update by ``memory.gradients``."""
        rate = self.rule.learning_rate_at(self.count)
        for cell, factor in zip(self._factors, self.rule.factors(self.count, rate), strict=True):
            cell[()] = factor
        for call in self._calls:
            call()
        self.count += 1
