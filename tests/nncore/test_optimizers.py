"""Every optimizer against the design's equations, against torch, and across pieces."""

import dataclasses
import tracemalloc

import numpy as np
import pytest

import nncore.updates
from nncore import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    Dense,
    Exponential,
    InverseTime,
    NAdam,
    Network,
    Piecewise,
    ReLU,
    RMSProp,
    Softmax,
    Step,
    Training,
)
from nncore.adaptive import _nesterov_momenta
from nncore.hyperparameters import bounds_of
from nncore.optimizers import OPTIMIZERS, optimizer_type
from nncore.schedules import SCHEDULES
from testing import cases
from tests.nncore import plain
from tests.nncore.support import PlannedUpdate, blobs

STEPS = 200


def follow(rule, theta, gradients):
    """The parameters after each step of an optimizer, float64."""
    update = PlannedUpdate(rule, theta)
    path = []
    for gradient in gradients:
        update.memory.gradients[:] = gradient
        update.run()
        path.append(update.memory.parameters.copy())
    return np.array(path)


def random_gradients(size=20):
    """Gradients of very different sizes, zeros among them."""
    rng = np.random.default_rng(7)
    scale = 10.0 ** rng.integers(-4, 2, size)
    gradients = rng.normal(size=(STEPS, size)) * scale
    gradients[:, 0] = 0.0
    return rng.normal(size=size), gradients


@pytest.mark.parametrize("rule", cases.every(cases.OPTIMIZERS), ids=cases.label)
def test_two_hundred_steps_by_the_equations(rule):
    """To 1e-12 of the plain transcription, relative to the parameters or 1."""
    theta, gradients = random_gradients()
    update = plain.OPTIMIZERS[optimizer_type(rule)](rule)
    expected = [theta]
    for gradient in gradients:
        expected.append(update(expected[-1], gradient))
    np.testing.assert_allclose(follow(rule, theta, gradients), expected[1:], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("rule", "name", "options"),
    [
        (SGD(learning_rate=0.05), "SGD", {"lr": 0.05}),
        (SGD(learning_rate=0.05, momentum=0.9), "SGD", {"lr": 0.05, "momentum": 0.9}),
        (SGD(learning_rate=0.05, momentum=0.9, nesterov=True), "SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
        (
            RMSProp(learning_rate=0.01, rho=0.95, epsilon=1e-6, epsilon_mode="outside_sqrt"),
            "RMSprop",
            {"lr": 0.01, "alpha": 0.95, "eps": 1e-6},
        ),
        (Adam(epsilon_mode="outside_sqrt"), "Adam", {"lr": 0.001, "eps": 1e-7}),
        (
            Adam(learning_rate=0.02, beta1=0.8, beta2=0.99, epsilon=1e-4, epsilon_mode="outside_sqrt"),
            "Adam",
            {"lr": 0.02, "betas": (0.8, 0.99), "eps": 1e-4},
        ),
        (
            RMSProp(momentum=0.9, epsilon_mode="outside_sqrt"),
            "RMSprop",
            {"lr": 0.001, "alpha": 0.9, "eps": 1e-7, "momentum": 0.9},
        ),
        (
            RMSProp(centered=True, epsilon=1e-4, epsilon_mode="outside_sqrt"),
            "RMSprop",
            {"lr": 0.001, "alpha": 0.9, "eps": 1e-4, "centered": True},
        ),
        (
            RMSProp(centered=True, momentum=0.5, epsilon=1e-4, epsilon_mode="outside_sqrt"),
            "RMSprop",
            {"lr": 0.001, "alpha": 0.9, "eps": 1e-4, "centered": True, "momentum": 0.5},
        ),
        (
            Adam(beta2=0.9, amsgrad=True, epsilon_mode="outside_sqrt"),
            "Adam",
            {"betas": (0.9, 0.9), "eps": 1e-7, "amsgrad": True},
        ),
        (AdamW(epsilon_mode="outside_sqrt"), "AdamW", {"eps": 1e-7}),
        (
            AdamW(learning_rate=0.02, beta2=0.9, weight_decay=0.3, amsgrad=True, epsilon_mode="outside_sqrt"),
            "AdamW",
            {"lr": 0.02, "betas": (0.9, 0.9), "weight_decay": 0.3, "amsgrad": True, "eps": 1e-7},
        ),
        (NAdam(epsilon_mode="outside_sqrt"), "NAdam", {"eps": 1e-7}),
        (
            NAdam(beta1=0.99, beta2=0.9, momentum_decay=0.1, epsilon_mode="outside_sqrt"),
            "NAdam",
            {"betas": (0.99, 0.9), "momentum_decay": 0.1, "eps": 1e-7},
        ),
        (Adagrad(epsilon_mode="outside_sqrt"), "Adagrad", {}),
        (
            Adagrad(learning_rate=0.1, decay=0.05, epsilon=1e-3, epsilon_mode="outside_sqrt"),
            "Adagrad",
            {"lr": 0.1, "lr_decay": 0.05, "eps": 1e-3},
        ),
        (Adadelta(), "Adadelta", {}),
        (Adadelta(learning_rate=0.5, rho=0.95, epsilon=1e-4), "Adadelta", {"lr": 0.5, "rho": 0.95, "eps": 1e-4}),
    ],
    ids=cases.label,
)
def test_two_hundred_steps_of_torch(rule, name, options):
    """To 1e-10 of a run of torch, with epsilon outside the root, as in torch."""
    torch = pytest.importorskip("torch")
    theta, gradients = random_gradients()
    parameter = torch.nn.Parameter(torch.tensor(theta))
    optimizer = getattr(torch.optim, name)([parameter], **options)
    expected = []
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        expected.append(parameter.detach().numpy().copy())
    np.testing.assert_allclose(follow(rule, theta, gradients), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("rule", cases.every(cases.OPTIMIZERS), ids=cases.label)
def test_pieces_change_no_bit(rule, monkeypatch):
    """A vector updated in pieces, by one thread or by several, ends like one updated whole."""
    x, y = blobs(40, 3, 3)

    def end(threads=1):
        network = Network([Dense(70), ReLU(), Dense(3), Softmax()], inputs=3, seed=1)
        training = Training(network, x, y, optimizer=rule, batch_size=16, threads=threads)
        for _ in range(5):
            training.run_epoch()
        moments = training.state().moments
        return network.parameters.vector.tobytes(), [
            array.tobytes() for vector in moments.values() for array in vector.values()
        ]

    whole = end()
    monkeypatch.setattr(nncore.updates, "ALONE", 10)
    monkeypatch.setattr(nncore.updates, "best_piece", lambda rule, dtype, size: 8)
    assert end() == whole
    assert end(threads=3) == whole


@pytest.mark.parametrize("rule", cases.every(cases.OPTIMIZERS), ids=cases.label)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_update_keeps_the_precision_and_makes_no_array(rule, dtype):
    """In place, in the vectors' own precision, and finite even if every gradient is the same or zero."""
    size = 50_000
    update = PlannedUpdate(rule, np.ones(size, dtype))
    theta, gradients, moments, _, _ = update.memory
    tracemalloc.start()
    for _ in range(30):
        gradients[: size // 2], gradients[size // 2 :] = 1000.0, 0.0
        update.run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < size
    assert {theta.dtype, *(moment.dtype for moment in moments.values())} == {np.dtype(dtype)}
    assert all(np.isfinite(vector).all() for vector in (theta, *moments.values()))
    assert (theta[: size // 2] < 1).all()
    assert (theta[size // 2 :] == 1).all() or getattr(rule, "weight_decay", 0.0)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("decay", [0.0, 1e-9, 0.004, 0.3, 1e6])
def test_the_product_of_momenta_is_that_of_its_factors(beta, decay):
    """NAdam's sum of a series is the product, over many steps and asked for in any order."""
    product, wanted = 1.0, {}
    for step in range(1, 5001):
        product *= beta * (1 - 0.5 * 0.96 ** (step * decay))
        wanted[step] = product
    for step in (5000, 1, 2, 3, 10, 100, 400, 1000, 2500):
        assert _nesterov_momenta(beta, decay, step)[2] == pytest.approx(wanted[step], rel=1e-11, abs=2**-60), step


#: What a rule without defaults needs.
REQUIRED = {
    Dense: {"units": 3},
    InverseTime: {"decay": 1.0},
    Exponential: {"gamma": 0.5},
    Step: {"every": 1.0},
    Piecewise: {"boundaries": (1.0,), "factors": (0.5,)},
}


@pytest.mark.parametrize("kind", [*OPTIMIZERS.values(), *SCHEDULES.values(), Dense])
def test_each_bound_is_enforced_by_name(kind):
    """The constructor refuses what the field's bounds exclude, and says field, bound and value."""
    checked = 0
    for item in dataclasses.fields(kind):
        bounds = bounds_of(item.metadata)
        for limit, offset in ((bounds.minimum, -1), (bounds.maximum, 1), (bounds.above, 0), (bounds.below, 0)):
            if limit is None:
                continue
            beyond = type(limit)(limit + offset)
            several = item.type.startswith("tuple")
            place = rf"{item.name}\[1\]" if several else item.name
            with pytest.raises(ValueError, match=rf"^{kind.__name__}\.{place} must be .*Received: "):
                kind(**{**REQUIRED.get(kind, {}), item.name: (1.0, beyond) if several else beyond})
            checked += 1
    assert checked >= 3


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Adam(beta1=1.5), ValueError, "Adam.beta1 must be less than 1. Received: 1.5"),
        (
            lambda: Adam(learning_rate=float("nan")),
            ValueError,
            "Adam.learning_rate must be a finite number. Received: nan",
        ),
        (lambda: Adam(learning_rate="1"), TypeError, "Adam.learning_rate must be a number. Received: '1'"),
        (lambda: SGD(nesterov=1), TypeError, "SGD.nesterov must be true or false. Received: 1"),
        (lambda: Dense(True), TypeError, "Dense.units must be a whole number. Received: True"),
        (lambda: Dense(2.0), TypeError, "Dense.units must be a whole number. Received: 2.0"),
        (
            lambda: RMSProp(epsilon_mode="under"),
            ValueError,
            "RMSProp.epsilon_mode must be one of 'inside_sqrt', 'outside_sqrt'. Received: 'under'",
        ),
        (
            lambda: Piecewise([1.0], (1.0,)),
            TypeError,
            "Piecewise.boundaries must be a tuple of numbers. Received: [1.0]",
        ),
        (lambda: Piecewise((1.0, "2"), ()), TypeError, "Piecewise.boundaries[1] must be a number. Received: '2'"),
        (
            lambda: Piecewise((1.0, 1.0), (1.0, 1.0)),
            ValueError,
            "Piecewise.boundaries must be in ascending order. Received: [1.0, 1.0]",
        ),
        (
            lambda: Piecewise((1.0, 2.0), (1.0,)),
            ValueError,
            "Piecewise.factors must have one value per boundary, 2. Received: [1.0]",
        ),
        (
            lambda: Piecewise((1.0,) * 1001, ()),
            ValueError,
            "Piecewise.boundaries must hold at most 1000 numbers. Received: 1001",
        ),
    ],
)
def test_wrong_hyperparameters_are_reported_in_full(make, error, message):
    """The whole sentence."""
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == message
