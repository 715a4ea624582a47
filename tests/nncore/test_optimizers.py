"""Every optimizer against the design's equations, against torch, and across pieces."""

import dataclasses

import numpy as np
import pytest

import nncore.updates
from nncore import SGD, Adam, Dense, Network, ReLU, RMSProp, Softmax, Training
from nncore.hyperparameters import bounds_of
from nncore.optimizers import optimizer_type
from tests.nncore import cases, plain
from tests.nncore.support import blobs

STEPS = 200


def follow(rule, theta, gradients):
    """The parameters after each step of an optimizer, float64."""
    theta, scratch = theta.copy(), np.empty_like(theta)
    moments = {name: np.zeros_like(theta) for name in rule.moments}
    path = []
    for step, gradient in enumerate(gradients):
        rule.update(theta, gradient.copy(), moments, scratch, step, rule.learning_rate_at(step))
        path.append(theta.copy())
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
    ],
    ids=cases.label,
)
def test_two_hundred_steps_of_torch(rule, name, options):
    """To 1e-10 of torch's own run, with epsilon outside the root as torch has it."""
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
    """A vector updated in pieces ends like one updated whole."""
    x, y = blobs(40, 3, 3)

    def end():
        network = Network([Dense(7), ReLU(), Dense(3), Softmax()], inputs=3, seed=1)
        training = Training(network, x, y, optimizer=rule, batch_size=16)
        for _ in range(5):
            training.run_epoch()
        moments = training.state().moments
        return network.parameters.vector.tobytes(), [
            array.tobytes() for vector in moments.values() for array in vector.values()
        ]

    whole = end()
    monkeypatch.setattr(nncore.updates, "WHOLE", 10)
    monkeypatch.setattr(nncore.updates, "PIECE", 8)
    assert end() == whole


@pytest.mark.parametrize("kind", [SGD, RMSProp, Adam, Dense])
def test_each_bound_is_enforced_by_name(kind):
    """The constructor refuses what the field's bounds exclude, and says field, bound and value."""
    required = {"units": 3} if kind is Dense else {}
    checked = 0
    for item in dataclasses.fields(kind):
        bounds = bounds_of(item.metadata)
        for limit, offset in ((bounds.minimum, -1), (bounds.maximum, 1), (bounds.above, 0), (bounds.below, 0)):
            if limit is None:
                continue
            with pytest.raises(ValueError, match=rf"^{kind.__name__}\.{item.name} must be .*Received: "):
                kind(**{**required, item.name: type(limit)(limit + offset)})
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
    ],
)
def test_wrong_hyperparameters_are_told_in_full(make, error, message):
    """The whole sentence."""
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == message
