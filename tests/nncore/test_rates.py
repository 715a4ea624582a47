"""Rates by layer and decay that spares biases: against torch's parameter groups, in pieces, resumed, and left out."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

import nncore.updates
from nncore import SGD, AdamW, BatchNorm, Dense, Lion, Network, ReLU, RMSProp, Softmax, Training
from nncore.layers import LAYERS
from testing import cases
from tests.nncore.support import blobs

RATES = (0.1, 1.0, 3.0)


def a_network(rates=RATES, seed=1):
    first, second, third = rates
    hidden = [Dense(7, rate=first), BatchNorm(), ReLU(), Dense(7, rate=second), ReLU()]
    layers = [*hidden, Dense(3, rate=third), Softmax()]
    return Network(layers, inputs=4, seed=seed, dtype="float64")


def end_of_torch(network, make, group_of, order, x, y):
    """The parameters after torch has made the same steps with its parameter groups."""
    weights = {name: torch.nn.Parameter(torch.tensor(value.copy())) for name, value in network.parameters.items()}
    optimizer = make([{"params": [weight], **group_of(name)} for name, weight in weights.items()])
    for rows in order:
        hidden = torch.tensor(x[rows]) @ weights["0_dense/weights"] + weights["0_dense/bias"]
        normed = torch.nn.functional.batch_norm(
            hidden, None, None, weights["1_batch_norm/gamma"], weights["1_batch_norm/beta"], training=True, eps=1e-5
        )
        second = torch.relu(torch.relu(normed) @ weights["3_dense/weights"] + weights["3_dense/bias"])
        logits = second @ weights["5_dense/weights"] + weights["5_dense/bias"]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, torch.tensor(y[rows])).backward()
        optimizer.step()
    return {name: weight.detach().numpy() for name, weight in weights.items()}


def rate_of(name):
    return dict(zip(("0_dense", "3_dense", "5_dense"), RATES, strict=True)).get(name.partition("/")[0], 1.0)


@pytest.mark.parametrize("decay_biases", [True, False])
@pytest.mark.parametrize("rates", [True, False])
def test_adamw_with_parameter_groups_of_torch(decay_biases, rates):
    """Over several epochs in float64, with clipping by norm, which sees all groups together."""
    x, y = blobs(48, 4, 3)
    network = a_network(RATES if rates else (1.0, 1.0, 1.0))
    rule = AdamW(0.02, weight_decay=0.4, decay_biases=decay_biases, epsilon_mode="outside_sqrt")
    training = Training(network, x, y, optimizer=rule, batch_size=16, seed=5)
    start, order = copy.deepcopy(network), []

    def group_of(name):
        decays = decay_biases or name.endswith("/weights")
        return {"lr": 0.02 * (rate_of(name) if rates else 1.0), "weight_decay": 0.4 if decays else 0.0}

    for _ in range(8):
        rows = training.state().order.copy()
        order += [rows[place : place + 16] for place in range(0, 48, 16)]
        training.run_epoch()
    expected = end_of_torch(start, lambda groups: torch.optim.AdamW(groups, eps=1e-7), group_of, order, x, y)
    for name, value in expected.items():
        np.testing.assert_allclose(network.parameters[name], value, rtol=1e-8, atol=1e-10, err_msg=name)


def test_momentum_with_parameter_groups_of_torch():
    x, y = blobs(48, 4, 3)
    network = a_network()
    training = Training(network, x, y, optimizer=SGD(0.02, momentum=0.9), batch_size="full")
    start, order = copy.deepcopy(network), [np.arange(48)] * 20
    for _ in order:
        training.run_epoch()
    expected = end_of_torch(
        start,
        lambda groups: torch.optim.SGD(groups, momentum=0.9),
        lambda name: {"lr": 0.02 * rate_of(name)},
        order,
        x,
        y,
    )
    for name, value in expected.items():
        np.testing.assert_allclose(network.parameters[name], value, rtol=1e-8, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("rule", cases.every(cases.OPTIMIZERS), ids=cases.label)
def test_a_rate_is_a_learning_rate_of_its_own(rule):
    """The first update of a layer is that of an optimizer with its product, whatever the other layers' rates are."""
    x, y = blobs(40, 4, 3)

    def after_one(layer_rates, factor):
        network = a_network(layer_rates)
        own = dataclasses.replace(rule, learning_rate=rule.learning_rate * factor)
        with np.errstate(all="ignore"):
            Training(network, x, y, optimizer=own, batch_size="full").run_epoch()
        return network.parameters

    apart, together = after_one((0.25, 1.0, 2.0), 1.0), after_one((1.0, 1.0, 1.0), 0.25)
    for name in ("weights", "bias"):
        np.testing.assert_allclose(apart[f"0_dense/{name}"], together[f"0_dense/{name}"], rtol=1e-9, atol=1e-14)


def test_a_layer_of_rate_0_does_not_learn():
    """Neither by gradients nor by decay."""
    x, y = blobs(40, 4, 3)
    network = a_network((0.0, 1.0, 1.0))
    before = {name: value.copy() for name, value in network.parameters.items()}
    training = Training(network, x, y, optimizer=AdamW(0.1, weight_decay=0.5))
    for _ in range(3):
        training.run_epoch()
    for name, value in network.parameters.items():
        assert np.array_equal(value, before[name]) == name.startswith("0_dense"), name


@pytest.mark.parametrize("rule", [AdamW(0.01, decay_biases=False), Lion(0.01, weight_decay=0.1), RMSProp(momentum=0.5)])
def test_pieces_threads_and_cuts_change_no_bit(rule, monkeypatch):
    x, y = blobs(40, 4, 3)
    options = {"optimizer": rule, "batch_size": 16, "seed": 3}

    def end(threads=1, *, cut=False):
        training = Training(a_network(), x, y, **options, threads=threads)
        for _ in range(4):
            if cut:
                asked = []
                training.run_epoch(lambda asked=asked: asked.append(1) or len(asked) > 2)
                other = a_network(seed=9)
                other.parameters.fill_from(training.network.parameters)
                other.statistics.fill_from(training.network.statistics)
                state = copy.deepcopy(training.state())
                training = Training(other, x, y, **options)
                training.restore(state)
            training.run_epoch()
        return training.network.parameters.vector.tobytes()

    whole = end()
    assert end(cut=True) == whole
    monkeypatch.setattr(nncore.updates, "ALONE", 10)
    monkeypatch.setattr(nncore.updates, "best_piece", lambda rule, dtype, size: 8)
    assert end() == whole
    assert end(threads=3) == whole


def test_without_rates_there_is_one_stretch_and_one_call_for_the_decay():
    """Networks that do not use them pay nothing."""
    x, y = blobs(40, 4, 3)
    lengths = {}
    for rates in ((1.0, 1.0, 1.0), RATES):
        for spares in (False, True):
            rule = AdamW(decay_biases=not spares)
            training = Training(a_network(rates), x, y, optimizer=rule)
            lengths[rates == RATES, spares] = sum(map(len, training._updates._shares))
    plain = lengths[False, False]
    # A multiplication for each layer of weights instead of one; all calls for each of three stretches.
    assert lengths[False, True] == plain + 2
    assert lengths[True, False] == 3 * plain
    assert lengths[True, True] == 3 * plain


def test_only_weights_of_dense_layers_decay():
    """And only they are named as such."""
    assert {name for name, layer in LAYERS.items() if layer.decaying} == {"dense"}
    x, y = blobs(40, 4, 3)
    network = a_network((1.0, 1.0, 1.0))
    network.parameters.vector[:] = 2.0
    training = Training(network, x, y, optimizer=Lion(1e-3, weight_decay=100.0, decay_biases=False), batch_size="full")
    training.run_epoch()
    for name, value in network.parameters.items():
        assert (np.abs(value) < 1.9).all() == name.endswith("/weights"), name
