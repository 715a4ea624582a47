"""Each layer against its plain equation and torch, in every place of a stack, at extremes; what training alone does."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncore import (
    ELU,
    GELU,
    SELU,
    BatchNorm,
    Dense,
    Dropout,
    GaussianNoise,
    LayerNorm,
    LeakyReLU,
    Network,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
    Training,
)
from nncore.arrays import NamedVector, Workspace
from nncore.erf import erf
from nncore.initializers import INITIALIZERS
from nncore.layers import LAYERS, LayerArrays, layer_type
from nncore.plan import BatchPlan
from nncore.streams import stream
from testing import cases
from tests.nncore import plain
from tests.nncore.support import LayerRun, blobs, check_network, examples, spread

EVERY = cases.every(cases.LAYERS)


def filled(layer, inputs, samples, dtype="float64", seed=1, **options):
    """A run with random parameters, an input and an upstream gradient."""
    rng = np.random.default_rng(seed)
    run = LayerRun(layer, inputs, samples, dtype, **options)
    run.parameters.vector[...] = rng.normal(size=run.parameters.vector.size)
    x = spread(rng, (samples, inputs)) * 2
    return run, x.astype(dtype), rng.normal(size=(samples, layer.output_size(inputs))).astype(dtype)


def served(run):
    """A run's parameters and statistics, as ``apply`` sees them."""
    return {**run.parameters.group("0_layer"), **run.statistics}


@pytest.mark.parametrize("layer", EVERY, ids=cases.label)
def test_every_layer_by_its_plain_equation(layer):
    """Output, the gradient of the input and those of all parameters, in float64."""
    run, x, upstream = filled(layer, 5, 7)
    named = run.parameters.group("0_layer")
    output, back = plain.LAYERS[layer_type(layer)](layer, named, x, np.random.default_rng(0))
    of_x, gradients = back(upstream)
    np.testing.assert_allclose(run.forward(x), output, rtol=1e-12, atol=1e-14)
    found, found_of_x = run.backward(upstream)
    np.testing.assert_allclose(found_of_x, of_x, rtol=1e-10, atol=1e-13)
    expected = [gradients[name].ravel() for name in named]
    np.testing.assert_allclose(found, np.concatenate([[], *expected]), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("layer", EVERY, ids=cases.label)
def test_single_precision_follows_double(layer):
    """Output and gradients in float32 are those of float64 within its rounding; noise is drawn apart."""
    if layer_type(layer) in ("dropout", "gaussian_noise"):
        layer = type(layer)(0.0)
    results = []
    for dtype in ("float32", "float64"):
        run, x, upstream = filled(layer, 5, 7, dtype)
        output = run.forward(x)
        results.append((output, *run.backward(upstream)))
        assert all(array.dtype == dtype for array in results[-1])
    for single, double in zip(*results, strict=True):
        np.testing.assert_allclose(single, double, rtol=0, atol=2e-5)


@pytest.mark.parametrize("layer", EVERY, ids=cases.label)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_where_a_layer_stands_changes_no_bit(layer, dtype):
    """Over its input, apart from it, and without the input's gradient, with the input unchanged."""
    run, x, upstream = filled(layer, 6, 5, dtype)
    output, (of_parameters, of_x) = run.forward(x), run.backward(upstream)
    for options in ({"apart": True}, {"first": True}):
        other, _, _ = filled(layer, 6, 5, dtype, **options)
        assert np.array_equal(other.forward(x), output)
        found, found_of_x = other.backward(upstream)
        assert np.array_equal(found, of_parameters)
        assert options == {"first": True} or np.array_equal(found_of_x, of_x)
        assert np.array_equal(other.x.values.T, x)


def torch_layers(torch):
    """By the names of ``nncore.LAYERS``: torch's own layer with the same hyperparameters."""
    nn = torch.nn
    return {
        "dense": lambda layer, inputs: nn.Linear(inputs, layer.units, bias=layer.use_bias),
        "relu": lambda layer, inputs: nn.ReLU(),
        "leaky_relu": lambda layer, inputs: nn.LeakyReLU(layer.negative_slope),
        "elu": lambda layer, inputs: nn.ELU(layer.alpha),
        "selu": lambda layer, inputs: nn.SELU(),
        "gelu": lambda layer, inputs: nn.GELU(layer.approximate),
        "silu": lambda layer, inputs: nn.SiLU(),
        "tanh": lambda layer, inputs: nn.Tanh(),
        "sigmoid": lambda layer, inputs: nn.Sigmoid(),
        "softplus": lambda layer, inputs: nn.Softplus(threshold=800),
        "softmax": lambda layer, inputs: nn.Softmax(dim=1),
        "dropout": lambda layer, inputs: nn.Dropout(0.0),
        "batch_norm": lambda layer, inputs: nn.BatchNorm1d(inputs, layer.epsilon, momentum=1 - layer.momentum),
        "layer_norm": lambda layer, inputs: nn.LayerNorm(inputs, layer.epsilon),
    }


@pytest.mark.parametrize("layer", [layer for layer in EVERY if type(layer) is not GaussianNoise], ids=cases.label)
def test_every_layer_by_torch(layer):
    """Output and all gradients, penalties apart, to 1e-10; then statistics and inference."""
    torch = pytest.importorskip("torch")
    table = torch_layers(torch)
    assert LAYERS.keys() - table.keys() == {"gaussian_noise"}
    name = layer_type(layer)
    layer = Dropout(0.0) if name == "dropout" else layer  # Another rate draws other numbers there.
    run, x, upstream = filled(layer, 5, 9)
    named = run.parameters.group("0_layer")
    theirs = table[name](layer, 5).double()
    for ours, parameter in zip(named.values(), theirs.parameters(), strict=True):
        parameter.data = torch.tensor(ours.T.copy())
    given_x = torch.tensor(x, requires_grad=True)
    penalty = getattr(layer, "l1", 0.0) * sum(p.abs().sum() for n, p in theirs.named_parameters() if n == "weight")
    penalty += getattr(layer, "l2", 0.0) * sum((p**2).sum() for n, p in theirs.named_parameters() if n == "weight")
    output = theirs(given_x)
    ((output * torch.tensor(upstream)).sum() + penalty).backward()
    np.testing.assert_allclose(run.forward(x), output.detach().numpy(), rtol=1e-10, atol=1e-12)
    of_parameters, of_x = run.backward(upstream)
    np.testing.assert_allclose(of_x, given_x.grad.numpy(), rtol=1e-10, atol=1e-12)
    expected = [parameter.grad.numpy().T.ravel() for parameter in theirs.parameters()]
    np.testing.assert_allclose(of_parameters, np.concatenate([[], *expected]), rtol=1e-10, atol=1e-12)
    theirs.eval()
    inferred = layer.apply(served(run), x)
    np.testing.assert_allclose(inferred, theirs(given_x).detach().numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("layer", EVERY, ids=cases.label)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_huge_inputs_give_finite_numbers(layer, dtype):
    """Up to ±1e4, in both faces and both passes, and no warning from inference."""
    run, _, upstream = filled(layer, 4, 6, dtype)
    x = np.array([-1e4, -800.0, -90.0, 0.0, 90.0, 1e4, 1e-30, -1e-30] * 3, dtype).reshape(6, 4)
    assert np.isfinite(layer.apply(served(run), x)).all()
    with np.errstate(all="ignore"):
        output = run.forward(x)
        assert np.isfinite(output).all()
        assert all(np.isfinite(array).all() for array in run.backward(upstream))
    assert all(np.isfinite(array).all() for array in run.statistics.values())


@pytest.mark.parametrize(
    ("layer", "low", "high"),
    [
        (Sigmoid(), 0.0, 1.0),
        (SiLU(), 0.0, 1e4),
        (GELU(), 0.0, 1e4),
        (GELU("tanh"), 0.0, 1e4),
        (Softplus(), 0.0, 1e4),
        (Tanh(), -1.0, 1.0),
        (ELU(2.0), -2.0, 1e4),
        (SELU(), -1.7580993408473766, 10507.009873554805),
        (LeakyReLU(), -100.0, 1e4),
    ],
    ids=cases.label,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_limits_of_the_activations(layer, low, high, dtype):
    """What they come to at ±1e4, in both faces."""
    run, x = LayerRun(layer, 2, 1, dtype), np.array([[-1e4, 1e4]], dtype)
    for y in (run.forward(x), layer.apply({}, x)):
        np.testing.assert_allclose(y, [[low, high]], rtol=1e-6, atol=1e-30)


def test_small_probabilities_of_the_sigmoid_keep_their_digits():
    """Exact even far below the rounding of 1, unlike 1/2 + tanh/2; its gradient too."""
    run, x = LayerRun(Sigmoid(), 3, 1), np.array([[-40.0, -300.0, -700.0]])
    np.testing.assert_allclose(run.forward(x), np.exp(x), rtol=1e-13)
    np.testing.assert_allclose(run.backward(np.ones((1, 3)))[1], np.exp(x), rtol=1e-13)


@pytest.mark.parametrize(("dtype", "accuracy"), [("float32", 3e-7), ("float64", 1e-15)])
def test_the_error_function(dtype, accuracy):
    """Against the standard library's, over all magnitudes; odd, and 1 in the end."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=20_000) * 3, np.linspace(-7, 7, 10_001), 10 ** rng.uniform(-300, 4, 1000)])
    with np.errstate(under="ignore"):
        x = x.astype(dtype)
        y = erf(x)
    assert y.dtype == dtype
    expected = np.array([math.erf(value) for value in x.tolist()])
    assert np.abs(y - expected).max() <= accuracy
    assert np.array_equal(erf(-x), -y)
    assert erf(np.array([[-1e4, 0.0, 1e4]], dtype)).tolist() == [[-1.0, pytest.approx(0.0, abs=accuracy), 1.0]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_dropout_keeps_its_share_and_scales_it(rate, dtype):
    """Kept numbers are divided by their share, others are 0, gradients alike; the mean stays, within five errors."""
    run = LayerRun(Dropout(rate), 500, 400, dtype)
    y = run.forward(np.ones((400, 500)))
    of_x = run.backward(np.full((400, 500), 3.0))[1]
    kept = y != 0
    np.testing.assert_allclose(y[kept], 1 / (1 - rate), rtol=1e-6)
    np.testing.assert_allclose(of_x, 3 * y, rtol=1e-6)
    error = 5 * math.sqrt(rate * (1 - rate) / y.size)
    assert abs(kept.mean() - (1 - rate)) <= error
    assert abs(y.mean(dtype="float64") - 1) <= error / (1 - rate) + 1e-6
    # Neither rows nor columns share their fate.
    assert abs(kept.mean(axis=0) - (1 - rate)).max() <= 6 * math.sqrt(rate * (1 - rate) / 400)
    assert abs(kept.mean(axis=1) - (1 - rate)).max() <= 6 * math.sqrt(rate * (1 - rate) / 500)


def test_a_rate_that_rounds_to_one_or_zero():
    """Single precision has no number between 1 - 1e-9 and 1: nothing is kept then, and with 1e-9 nearly all."""
    ones = np.ones((50, 40))
    assert not LayerRun(Dropout(1 - 1e-9), 40, 50, "float32").forward(ones).any()
    assert np.array_equal(LayerRun(Dropout(1e-9), 40, 50, "float32").forward(ones), ones)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gaussian_noise_has_its_deviation(dtype):
    """Mean and deviation of what is added, within five standard errors, and the gradient passes as it is."""
    run, x = LayerRun(GaussianNoise(0.5), 500, 400, dtype), np.random.default_rng(0).normal(size=(400, 500))
    noise = run.forward(x) - x
    assert abs(noise.mean()) <= 5 * 0.5 / math.sqrt(noise.size)
    assert noise.std() == pytest.approx(0.5, rel=5 / math.sqrt(2 * noise.size))
    assert abs(np.corrcoef(noise.ravel(), x.ravel())[0, 1]) <= 5 / math.sqrt(noise.size)
    assert np.array_equal(run.backward(x.astype(dtype))[1], x.astype(dtype))


@pytest.mark.parametrize("layer", [Dropout(0.5), GaussianNoise(1.0)], ids=cases.label)
def test_noise_comes_from_the_stream_and_in_the_forward_pass_alone(layer):
    """One seed gives the same bits, another others, every batch new ones; inference draws nothing."""
    x = np.ones((20, 30))
    run, again, other = (LayerRun(layer, 30, 20, seed=seed) for seed in (4, 4, 5))
    first = run.forward(x)
    assert np.array_equal(again.forward(x), first)
    assert not np.array_equal(other.forward(x), first)
    state = run.generator.bit_generator.state
    run.backward(x)
    inferred = layer.apply({}, x)
    assert run.generator.bit_generator.state == state
    assert np.array_equal(inferred, x)
    assert not np.shares_memory(inferred, x)
    for call in run.calls[0]:
        call()
    assert not np.array_equal(run.y.values.T, first)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_running_statistics_follow_the_batches(momentum):
    """Exponential averages of the batches' means and unbiased variances; inference takes them."""
    layer, rng = BatchNorm(momentum=momentum, epsilon=1e-3), np.random.default_rng(0)
    run = LayerRun(layer, 3, 8)
    run.parameters.vector[...] = rng.normal(size=6)
    mean, variance = np.zeros(3), np.ones(3)
    for _ in range(5):
        x = rng.normal(size=(8, 3)) * [1, 10, 0.1] + [5, -100, 0]
        run.forward(x)
        mean = momentum * mean + (1 - momentum) * x.mean(axis=0)
        variance = momentum * variance + (1 - momentum) * x.var(axis=0, ddof=1)
        np.testing.assert_allclose(run.statistics["running_mean"], mean, rtol=1e-12)
        np.testing.assert_allclose(run.statistics["running_variance"], variance, rtol=1e-12)
    gamma, beta = run.parameters.vector[:3], run.parameters.vector[3:]
    expected = gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta
    np.testing.assert_allclose(layer.apply(served(run), x), expected, rtol=1e-12)


def test_training_and_inference_of_batch_norm_meet():
    """If the running statistics are those of the batch, the variances differ by n/(n - 1) and nothing else differs."""
    layer = BatchNorm(momentum=0.0)
    run, x, _ = filled(layer, 4, 50)
    trained = run.forward(x)
    run.statistics["running_variance"] *= 49 / 50
    np.testing.assert_allclose(layer.apply(served(run), x), trained, rtol=1e-12)


def test_a_batch_of_one_sample():
    """Its output is beta and its gradient 0; it moves the running mean and leaves the running variance."""
    run, x, upstream = filled(BatchNorm(), 4, 1)
    assert np.array_equal(run.forward(x)[0], run.parameters["0_layer/beta"])
    of_parameters, of_x = run.backward(upstream)
    assert not of_x.any()
    assert of_parameters.tolist() == [0.0] * 4 + upstream[0].tolist()
    np.testing.assert_allclose(run.statistics["running_mean"], 0.1 * x[0], rtol=1e-12)
    assert run.statistics["running_variance"].tolist() == [1.0] * 4


def test_layer_norm_of_one_feature_is_beta():
    """The feature equals its mean in every row."""
    run, x, upstream = filled(LayerNorm(), 1, 5)
    assert (run.forward(x) == run.parameters["0_layer/beta"]).all()
    assert not run.backward(upstream)[1].any()


class TestDense:
    """What its options do beside the gradients that the table of cases holds."""

    def test_without_bias_it_has_weights_alone(self):
        layer = Dense(4, use_bias=False)
        assert layer.parameter_shapes(3) == {"weights": (3, 4)}
        network = Network([layer, Dense(2), Softmax()], inputs=3)
        assert list(network.parameters) == ["0_dense/weights", "1_dense/weights", "1_dense/bias"]
        assert not layer.apply({"weights": np.ones((3, 4))}, np.zeros((1, 3))).any()

    @pytest.mark.parametrize("inputs", [1, 3, 700])
    def test_penalties(self, inputs):
        weights = np.random.default_rng(0).normal(size=(inputs, 5))
        parameters = {"weights": weights, "bias": np.full(5, 100.0)}
        absolute, square = np.abs(weights).sum(), (weights**2).sum()
        for l1, l2 in [(0.0, 0.0), (0.5, 0.0), (0.0, 0.25), (0.5, 0.25)]:
            layer = Dense(5, l1=l1, l2=l2)
            assert layer.penalty(parameters) == pytest.approx(l1 * absolute + l2 * square, rel=1e-12)
            assert layer.regularized == (l1 + l2 > 0)

    def constrained(self, layer, dtype, weights):
        network = Network([layer, Dense(2), Softmax()], inputs=len(weights), dtype=dtype)
        network.parameters["0_dense/weights"][...] = weights
        network.parameters["0_dense/bias"][...] = 1000
        arrays = LayerArrays(network.parameters.group("0_dense"), network.parameters.block("0_dense"))
        calls = layer.constrain_calls(arrays, Workspace(dtype))
        rest = {name: value.copy() for name, value in network.parameters.items() if name != "0_dense/weights"}
        for call in calls:
            call()
        assert all(np.array_equal(network.parameters[name], value) for name, value in rest.items())
        return network.parameters["0_dense/weights"], calls

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_max_norm_shortens_what_is_too_long(self, dtype):
        weights = np.array([[3.0, 0.3, 0.0, 1.5], [4.0, 0.4, 0.0, -2.0]])
        found, calls = self.constrained(Dense(4, max_norm=2.5), dtype, weights)
        np.testing.assert_allclose(found, [[1.5, 0.3, 0.0, 1.5], [2.0, 0.4, 0.0, -2.0]], rtol=1e-6)
        once = found.copy()
        for call in calls:
            call()
        np.testing.assert_allclose(found, once, rtol=1e-6)

    def test_without_max_norm_nothing_is_done(self):
        found, calls = self.constrained(Dense(1), "float64", np.array([[30.0]]))
        assert found.tolist() == [[30.0]]
        assert calls == []
        assert ReLU().constrain_calls(LayerArrays({}, np.zeros(0)), Workspace("float64")) == []

    @given(
        inputs=st.integers(1, 8),
        units=st.integers(1, 6),
        limit=st.floats(1e-3, 1e3),
        scale=st.sampled_from([1e-6, 1.0, 1e6]),
        seed=st.integers(0, 1000),
    )
    @examples
    def test_max_norm_of_any_weights(self, inputs, units, limit, scale, seed):
        weights = np.random.default_rng(seed).normal(size=(inputs, units)) * scale
        found, _ = self.constrained(Dense(units, max_norm=limit), "float64", weights)
        norms = np.sqrt((weights**2).sum(axis=0))
        np.testing.assert_allclose(found, weights * np.minimum(1, limit / norms), rtol=1e-12)

    def test_the_constant_initializer_takes_its_value(self):
        layer = Dense(2, initializer="constant", initializer_value=-0.5)
        values = layer.initial_parameters(3, np.random.default_rng(0))
        assert (values["weights"] == -0.5).all()
        assert not values["bias"].any()
        drawn_alike = [
            Dense(2, initializer_value=value).initial_parameters(3, np.random.default_rng(0))["weights"]
            for value in (0.0, 5.0)
        ]
        assert np.array_equal(*drawn_alike)


@pytest.mark.parametrize("shape", [(1, 1), (6, 6), (9, 4), (4, 9), (1, 7), (7, 1)])
def test_orthogonal_weights_are_orthogonal(shape):
    """Orthonormal along the shorter side."""
    weights = INITIALIZERS["orthogonal"](stream(1, "weights"), *shape, 0.0)
    product = weights.T @ weights if shape[0] >= shape[1] else weights @ weights.T
    np.testing.assert_allclose(product, np.eye(min(shape)), rtol=0, atol=1e-14)


def test_orthogonal_weights_prefer_no_direction():
    """Each element is positive half of the time, which QR's own signs would not give."""
    generator = stream(1, "weights")
    positive = np.mean([INITIALIZERS["orthogonal"](generator, 3, 3, 0.0) > 0 for _ in range(4000)], axis=0)
    assert np.abs(positive - 0.5).max() < 5 * 0.5 / math.sqrt(4000)


#: Small layers of every kind, and those without a kink or a sharp bend, whose gradients finite differences can check.
SMOOTH = [
    *(GELU(), GELU("tanh"), SiLU(), Tanh(), Sigmoid(), Softplus(), Softmax(), Dropout(0.4), GaussianNoise(0.3)),
    *(BatchNorm(epsilon=0.1), LayerNorm(epsilon=0.1), Dense(3, l1=0.01, l2=0.02), Dense(2, use_bias=False), Dense(4)),
]


@given(
    between=st.lists(st.sampled_from(SMOOTH), max_size=7),
    inputs=st.integers(1, 4),
    labels=st.lists(st.integers(0, 2), min_size=1, max_size=5),
    seed=st.integers(0, 1000),
)
@examples
def test_random_stacks_by_differences(between, inputs, labels, seed):
    """Every parameter of any smooth layers in any order, in front of a classifier."""
    check_network([*between, Dense(3), Softmax()], inputs, labels, seed)


@given(
    between=st.lists(st.sampled_from([*EVERY, *SMOOTH]), max_size=8),
    dense_last=st.booleans(),
    inputs=st.integers(1, 4),
    samples=st.integers(1, 6),
    seed=st.integers(0, 1000),
)
@examples
def test_random_stacks_by_the_plain_equations(between, dense_last, inputs, samples, seed):
    """Loss and gradients of any layers in any order, also if the last one is not dense; two runs are equal."""
    layers = [
        *between,
        *([Dense(3)] if dense_last or not any(layer.parameter_shapes(1) for layer in between) else []),
        Softmax(),
    ]
    network, rng = Network(layers, inputs, dtype="float64"), np.random.default_rng(seed)
    network.parameters.vector[...] = rng.normal(size=network.parameters.vector.size)
    x, labels = rng.normal(size=(samples, inputs)), rng.integers(0, network.classes, samples)
    gradients = NamedVector.zeros(network.parameters.shapes, np.float64)
    generator = np.random.default_rng(seed)
    undrawn = generator.bit_generator.state
    plan = BatchPlan(network, gradients, samples, Workspace("float64"), generator)
    plan.rows[:, :-1], plan.labels[...] = x, labels
    with np.errstate(all="ignore"):
        loss, expected = plain.loss_and_gradients(layers, network.parameters, x, labels, np.random.default_rng(seed))
    for _ in range(2):
        generator.bit_generator.state = undrawn
        gradients.vector.fill(np.nan)
        plan.run()
        # The library keeps a probability at 1e-7 or more; the equations do not.
        if loss < 10 / samples:
            assert plan.loss_sum / samples + network.penalty() == pytest.approx(loss, rel=1e-9)
        scale = max(1.0, *(np.abs(each).max() for each in expected.values()))
        for name, gradient in expected.items():
            np.testing.assert_allclose(gradients[name], gradient, rtol=1e-7, atol=1e-9 * scale)


@pytest.mark.parametrize("name", sorted(LAYERS))
@pytest.mark.parametrize("batch_size", [7, "full"])
def test_a_layer_on_the_data_itself_leaves_it_alone(name, batch_size):
    """First in the stack, over three epochs with a batch that is left over."""
    x, y = blobs(30, 4, 3)
    layers = [cases.LAYERS[name][-1], cases.LAYERS[name][-1], Dense(3), Softmax()]
    training = Training(Network(layers, inputs=4, dtype="float64"), x, y, batch_size=batch_size)
    for _ in range(3):
        training.run_epoch()
    assert np.array_equal(training._rows.rows[:, :-1], x)
    assert (training._rows.rows[:, -1] == 1).all()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch_size", [192, "full"])
def test_no_layer_allocates_in_a_step(batch_size, dtype):
    """Every case of every layer in one stack, first and in the middle; one activation has 24,576 numbers or more.

    NumPy itself keeps a buffer of at most 8,192 numbers while it works with a broadcast operand.
    """
    x, y = blobs(256, 128, 3)
    layers = [each for layer in EVERY for each in (layer, Dense(128))]
    network = Network([*EVERY[7:], *layers, Dense(128, l1=0.1, max_norm=1.0), Dense(3), Softmax()], 128, dtype=dtype)
    gradients = NamedVector.zeros(network.parameters.shapes, network.dtype)
    samples = 256 if batch_size == "full" else batch_size
    plan = BatchPlan(network, gradients, samples, Workspace(dtype), stream(0, "noise"))
    plan.rows[:, :-1], plan.labels[...] = x[:samples], y[:samples]
    constrain = network.layers[-3].constrain_calls(
        LayerArrays(network.parameters.group(network.groups[-3]), network.parameters.block(network.groups[-3])),
        Workspace(dtype),
    )
    with np.errstate(all="ignore"):
        plan.run()
        tracemalloc.start()
        try:
            for _ in range(5):
                plan.run()
                network.penalty()
                for call in constrain:
                    call()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 8_000 + np.getbufsize() * network.dtype.itemsize


@pytest.mark.parametrize("last", [Tanh(), Sigmoid(), Softplus(), Softmax()], ids=cases.label)
def test_what_reads_its_output_may_stand_right_before_the_loss(last):
    """The loss puts its probabilities in the place of the logits, which such a layer still needs."""
    check_network([Dense(3), last, Softmax()], 3, [0, 1, 2, 2], seed=5)
    check_network([Dense(3), last, last, Dropout(0.3), Softmax()], 3, [0, 1, 2, 2], seed=6)
