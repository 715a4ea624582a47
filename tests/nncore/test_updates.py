"""Features of every optimizer: clipping, accumulated batches, a moving average; and weights of rows and classes."""

import dataclasses

import numpy as np
import pytest
import torch

from nncore import (
    SGD,
    Adam,
    BatchNorm,
    Dense,
    DivergedError,
    Network,
    Predictor,
    ReduceOnPlateau,
    ReLU,
    Softmax,
    Training,
    train,
)
from nncore.arrays import NamedVector
from nncore.updates import Updates
from tests.nncore.support import blobs


def a_network(seed=1, **options):
    return Network([Dense(7), ReLU(), Dense(3), Softmax()], inputs=4, seed=seed, dtype="float64", **options)


def one_update(rule, gradient):
    """The change that one update by a gradient makes."""
    network = a_network()
    gradients = NamedVector.zeros(network.parameters.shapes, network.dtype)
    updates, before = Updates(network, rule, gradients), network.parameters.vector.copy()
    gradients.vector[...] = gradient
    assert updates.apply(rule.learning_rate)
    return network.parameters.vector - before


@pytest.mark.parametrize("longest", [1e-3, 1.0, 1e6])
def test_the_norm_is_clipped_as_torch_does(longest):
    """By length, of the whole vector: the direction stays."""
    size = a_network().parameters.vector.size
    gradient = np.random.default_rng(0).normal(size=size) * 10
    theirs = torch.nn.Parameter(torch.zeros(size, dtype=torch.float64))
    theirs.grad = torch.tensor(gradient)
    torch.nn.utils.clip_grad_norm_([theirs], longest)
    step = one_update(SGD(1.0, clip_norm=longest), gradient)
    np.testing.assert_allclose(step, -theirs.grad.numpy(), rtol=1e-6 if longest < 100 else 1e-12)
    assert np.linalg.norm(step) <= longest * (1 + 1e-12)


def test_elements_are_clipped_before_the_norm():
    """Each number to the bound, then the whole vector to the length."""
    size = a_network().parameters.vector.size
    gradient = np.linspace(-3, 3, size)
    np.testing.assert_allclose(one_update(SGD(1.0, clip_value=0.5), gradient), -np.clip(gradient, -0.5, 0.5))
    both = one_update(SGD(1.0, clip_value=0.5, clip_norm=1.0), gradient)
    np.testing.assert_allclose(both, -np.clip(gradient, -0.5, 0.5) / np.linalg.norm(np.clip(gradient, -0.5, 0.5)))


@pytest.mark.parametrize(("batch", "together"), [(4, 3), (5, 4), (7, 100), (1, 12)])
@pytest.mark.parametrize("weighted", [False, True])
def test_accumulated_batches_make_the_update_of_one_large_batch(batch, together, weighted):
    """Without shuffling, to rounding; the remainder of an epoch makes a separate update."""
    x, y = blobs(43, 4, 3)
    weights = np.random.default_rng(3).uniform(0, 2, 43) if weighted else None
    options = {"shuffle": False, "epochs": 3, "weights": weights}
    ours, plain = a_network(), a_network()
    list(train(ours, x, y, optimizer=Adam(0.05, accumulate=together), batch_size=batch, **options))
    list(train(plain, x, y, optimizer=Adam(0.05), batch_size=batch * together, **options))
    np.testing.assert_allclose(ours.parameters.vector, plain.parameters.vector, rtol=0, atol=1e-9)


def test_the_average_follows_its_equation_and_is_what_is_evaluated():
    """``a = βa + (1-β)θ`` with β from 1/10 up to that given, and validation is its score."""
    x, y = blobs(40, 4, 3)
    network = a_network()
    expected = network.parameters.vector.copy()
    rule = Adam(0.05, average=0.9)
    training = Training(network, x, y, optimizer=rule, batch_size="full", validation=(x, y))
    for update in range(120):
        record = training.run_epoch()
        decay = min(0.9, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * network.parameters.vector
    assert decay == 0.9
    np.testing.assert_allclose(training.evaluated.vector, expected, rtol=0, atol=1e-13)
    other = a_network()
    other.parameters.vector[...] = expected
    shares = other.predict_proba(x)
    assert record.validation_loss == pytest.approx(-np.log(shares[np.arange(40), y]).mean(), rel=1e-9)
    assert not np.allclose(network.parameters.vector, expected)


def test_weights_stay_within_their_norm():
    """After each update, for every unit, whatever its gradient wanted."""
    x, y = blobs(40, 4, 3)
    layers = [Dense(7, max_norm=0.6), ReLU(), Dense(3), Softmax()]
    network = Network(layers, inputs=4, dtype="float64")
    training = Training(network, x, y, optimizer=SGD(0.5), batch_size=8)
    for _ in range(5):
        training.run_epoch()
        norms = np.linalg.norm(network.parameters["0_dense/weights"], axis=0)
        assert (norms <= 0.6 * (1 + 1e-12)).all()
    assert np.linalg.norm(network.parameters["0_dense/weights"], axis=0).max() > 0.5


def test_a_weight_counts_like_that_many_rows():
    """Whole weights are repetitions, but for the mean's divisor; a weight of zero is a row left out."""
    x, y = blobs(30, 4, 3)
    weights = np.random.default_rng(0).integers(0, 4, 30)
    ours, plain = a_network(), a_network()
    rate = 0.1
    list(train(ours, x, y, optimizer=SGD(rate), batch_size="full", epochs=10, weights=weights))
    repeated = np.repeat(np.arange(30), weights)
    scaled = SGD(rate * len(repeated) / 30)
    list(train(plain, x[repeated], y[repeated], optimizer=scaled, batch_size="full", epochs=10))
    np.testing.assert_allclose(ours.parameters.vector, plain.parameters.vector, rtol=0, atol=1e-12)


def test_weights_of_classes_are_weights_of_their_rows():
    """Class weights multiply row weights."""
    x, y = blobs(30, 4, 3)
    by_class, by_row = np.array([0.5, 2.0, 1.0]), np.random.default_rng(0).uniform(0.1, 2, 30)
    ours, plain = a_network(), a_network()
    list(train(ours, x, y, batch_size=8, epochs=3, weights=by_row, class_weights=by_class.tolist()))
    list(train(plain, x, y, batch_size=8, epochs=3, weights=by_row * by_class[y]))
    assert ours.parameters.vector.tobytes() == plain.parameters.vector.tobytes()


@pytest.mark.parametrize("wrong", [np.ones(29), -np.ones(30), np.full(30, np.inf)])
def test_wrong_weights_are_refused(wrong):
    """One finite number, 0 or more, a row."""
    x, y = blobs(30, 4, 3)
    with pytest.raises(ValueError, match="weights must be 30 numbers"):
        Training(a_network(), x, y, weights=wrong)


@pytest.mark.parametrize("place", [1, 2, 5, 9])
def test_cut_anywhere_it_ends_in_the_same_bits(place):
    """With batches that wait for their update, and an average."""
    x, y = blobs(43, 4, 3)
    rule = Adam(0.05, accumulate=3, average=0.9, clip_norm=0.5)

    def make(network):
        return Training(network, x, y, optimizer=rule, batch_size=8, class_weights="balanced")

    whole = make(a_network())
    for _ in range(3):
        whole.run_epoch()
    first, left = make(a_network()), [place]

    def interrupted():
        left[0] -= 1
        return left[0] < 0

    while first.run_epoch(interrupted) is not None:
        pass
    state = first.state()
    second = make(a_network(seed=9))
    second.network.parameters.vector[...] = first.network.parameters.vector
    second.restore(dataclasses.replace(state))
    while second.epoch < 3:
        second.run_epoch()
    assert second.network.parameters.vector.tobytes() == whole.network.parameters.vector.tobytes()
    for name, arrays in whole.state().moments.items():
        for parameter, array in arrays.items():
            assert second.state().moments[name][parameter].tobytes() == array.tobytes()


def test_a_gradient_whose_square_overflows_is_clipped_all_the_same():
    """Its norm is found by scaling."""
    network = Network([Dense(3), Softmax()], inputs=4)
    gradients = NamedVector.zeros(network.parameters.shapes, network.dtype)
    updates, before = Updates(network, SGD(1.0, clip_norm=1.0), gradients), network.parameters.vector.copy()
    gradients.vector[...] = np.linspace(-3e25, 3e25, gradients.vector.size)
    expected = gradients.vector.astype(np.float64)
    with np.errstate(all="ignore"):  # As in a run.
        assert updates.apply(1.0)
    np.testing.assert_allclose(before - network.parameters.vector, expected / np.linalg.norm(expected), atol=1e-6)
    gradients.vector[0] = np.inf
    with np.errstate(all="ignore"):
        assert not updates.apply(1.0)


def test_the_average_has_statistics_of_its_own():
    """They move by the same equation, are what is evaluated, and are part of the state."""
    x, y = blobs(40, 4, 3)
    layers = [Dense(7), BatchNorm(), ReLU(), Dense(3), Softmax()]
    network = Network(layers, inputs=4, dtype="float64")
    expected = network.statistics.vector.copy()
    training = Training(network, x, y, optimizer=Adam(0.05, average=0.9), batch_size="full", validation=(x, y))
    for update in range(20):
        record = training.run_epoch()
        decay = min(0.9, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * network.statistics.vector
    np.testing.assert_allclose(training.evaluated_statistics.vector, expected, rtol=0, atol=1e-12)
    served = {**training.evaluated, **training.evaluated_statistics}
    shares = Predictor(network.layers, 4, served).predict_proba(x)
    assert record.validation_loss == pytest.approx(-np.log(shares[np.arange(40), y]).mean(), rel=1e-9)
    assert training.state().averaged_statistics.keys() == network.statistics.keys()


@pytest.mark.parametrize("name", ["parameter", "statistic"])
def test_what_is_not_finite_does_not_leave_a_run_that_is_interrupted(name):
    """It would be saved, and served."""
    x, y = blobs(40, 4, 3)
    layers = [Dense(7), BatchNorm(), Dense(3), Softmax()]
    training = Training(Network(layers, inputs=4), x, y, batch_size=8)
    spoiled = training.network.parameters if name == "parameter" else training.network.statistics
    asked = []

    def interrupted():
        asked.append(1)
        if len(asked) == 3:
            spoiled.vector[1] = np.inf
        return len(asked) == 3

    with pytest.raises(DivergedError, match="is not finite") as error:
        training.run_epoch(interrupted)
    assert error.value.parameter in spoiled


def test_a_validation_loss_that_is_no_number_is_no_fall():
    """The schedule gets the validation loss instead of the training loss."""
    x, y = blobs(40, 4, 3)
    schedule = ReduceOnPlateau(factor=0.5, patience=0)
    far = (np.full((2, 4), 3e38), np.array([0, 1]))
    network = Network([Dense(3), Softmax()], inputs=4)
    training = Training(network, x, y, optimizer=Adam(schedule=schedule), validation=far)
    with np.errstate(all="ignore"):
        assert training.run_epoch().validation_loss is None
    assert training.state().schedule["waited"] >= 1 or training.state().schedule["factor"] < 1
