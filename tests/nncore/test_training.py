"""Training as a whole: against torch, by properties, interrupted, without allocations, diverging."""

import copy
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncore import (
    SGD,
    Adam,
    BatchNorm,
    CategoricalCrossentropy,
    Dense,
    DivergedError,
    Dropout,
    FocalLoss,
    Network,
    Predictor,
    ReduceOnPlateau,
    ReLU,
    RMSProp,
    Softmax,
    Training,
    train,
)
from nncore.batches import MatrixRows, with_ones
from nncore.kernels.kinds import KINDS
from testing import cases
from tests.nncore import plain
from tests.nncore.support import blobs, examples


def stack(hidden=8, classes=3):
    """One hidden layer, a penalty on its weights."""
    return [Dense(hidden, l2=0.001), ReLU(), Dense(classes), Softmax()]


def without_seconds(epochs):
    """Records without the one column that no two runs share."""
    return [{**vars(epoch), "seconds": None} for epoch in epochs]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_size", [7, 32, "full"])
def test_several_epochs_of_torch(shuffle, batch_size):
    """The same losses and weights as torch in float64, over several epochs with a batch that is left over."""
    torch = pytest.importorskip("torch")
    x, y = blobs(45, 4, 3)
    network = Network(stack(), inputs=4, seed=2, dtype="float64")
    weights = {name: torch.nn.Parameter(torch.tensor(value.copy())) for name, value in network.parameters.items()}
    optimizer = torch.optim.Adam(weights.values(), lr=0.01, eps=1e-7)
    rule = Adam(learning_rate=0.01, epsilon_mode="outside_sqrt")
    training = Training(network, x, y, optimizer=rule, batch_size=batch_size, shuffle=shuffle, seed=5)
    size = 45 if batch_size == "full" else batch_size
    for _ in range(6):
        order = training.state().order.copy()
        record = training.run_epoch()
        total = 0.0
        for start in range(0, 45, size):
            rows = order[start : start + size]
            hidden = torch.relu(torch.tensor(x[rows]) @ weights["0_dense/weights"] + weights["0_dense/bias"])
            logits = hidden @ weights["2_dense/weights"] + weights["2_dense/bias"]
            loss = torch.nn.functional.cross_entropy(logits, torch.tensor(y[rows]))
            loss = loss + 0.001 * (weights["0_dense/weights"] ** 2).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(rows)
        assert record.loss == pytest.approx(total / 45, rel=1e-10)
        for name, value in weights.items():
            np.testing.assert_allclose(network.parameters[name], value.detach().numpy(), rtol=1e-9, atol=1e-11)


def test_one_epoch_by_the_equations_from_the_recorded_order():
    """The state before an epoch holds the order of that epoch's rows."""
    x, y = blobs(23, 3, 3)
    layers = stack()
    network = Network(layers, inputs=3, seed=4, dtype="float64")
    rule = RMSProp(learning_rate=0.01, decay=0.1)
    training = Training(network, x, y, optimizer=rule, batch_size=5, seed=8)
    training.run_epoch()
    training = continued(training, network, x, y, optimizer=rule, batch_size=5, seed=99)
    order, theta = (
        training.state().order.copy(),
        {name: value.copy() for name, value in training.network.parameters.items()},
    )
    cache = {name: 0.1 * value for name, value in training.state().moments["square_sum"].items()}
    record = training.run_epoch()
    step, total = 5, 0.0
    for start in range(0, 23, 5):
        rows = order[start : start + 5]
        loss, gradients = plain.loss_and_gradients(layers, theta, x[rows], y[rows])
        total += loss * len(rows)
        for name, gradient in gradients.items():
            cache[name] = 0.9 * cache[name] + 0.1 * gradient**2
            theta[name] = theta[name] - 0.01 / (1 + 0.1 * step) * gradient / np.sqrt(cache[name] + 1e-7)
        step += 1
    assert record.loss == pytest.approx(total / 23, rel=1e-10)
    for name, value in theta.items():
        np.testing.assert_allclose(training.network.parameters[name], value, rtol=1e-9, atol=1e-12)


def continued(training, network, x, y, **options):
    """A new run over a new network that continues from copies of another run's state."""
    other = Network(network.layers, network.inputs, seed=1234, dtype=network.dtype.name)
    other.parameters.fill_from(network.parameters)
    again = Training(other, x, y, **options)
    again.restore(copy.deepcopy(training.state()))
    return again


def random_cuts(seed):
    """An ``interrupted`` that says yes to a third of the batches."""
    rng = np.random.default_rng(seed)
    return lambda: rng.random() < 1 / 3


def run_cut(make, network, x, y, options, epochs, seed):
    """The run that is interrupted at random batches, and rebuilt from its state each time."""
    training, records, cuts = make(network), [], 0
    interrupted = random_cuts(seed)
    while len(records) < epochs:
        record = training.run_epoch(interrupted)
        if record is None:
            cuts += 1
            training = continued(training, training.network, x, y, **{**options, "seed": 777})
        else:
            records.append(record)
    assert cuts > 3
    return training, records


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", cases.every(cases.OPTIMIZERS), ids=cases.label)
def test_a_run_cut_anywhere_ends_in_the_same_bits(rule, kind):
    """Parameters, moments, records and random stream, after cuts in the middle of epochs."""
    if rule == SGD():
        rule = SGD(learning_rate=0.3)  # at its default rate of 1 this task diverges
    x, y = blobs(50, 4, 3)
    held_out = blobs(20, 4, 3, seed=1)
    options = {"optimizer": rule, "batch_size": 8, "validation": held_out, "kernels": kind}

    def make(network):
        return Training(network, x, y, seed=3, **options)

    uncut = make(Network(stack(), inputs=4, seed=6))
    records = [uncut.run_epoch() for _ in range(6)]
    cut, cut_records = run_cut(make, Network(stack(), inputs=4, seed=6), x, y, options, 6, seed=11)
    assert cut.network.parameters.vector.tobytes() == uncut.network.parameters.vector.tobytes()
    for name, arrays in uncut.state().moments.items():
        for parameter, array in arrays.items():
            assert cut.state().moments[name][parameter].tobytes() == array.tobytes()
    assert without_seconds(cut_records) == without_seconds(records)
    ours, theirs = cut.state(), uncut.state()
    assert ours.streams == theirs.streams
    assert ours.order.tolist() == theirs.order.tolist()
    assert (ours.epoch, ours.step, ours.position) == (theirs.epoch, theirs.step, theirs.position) == (6, 42, 0)


def test_a_run_whose_random_stream_is_left_out_differs():
    """The control: the stream is needed."""
    x, y = blobs(50, 4, 3)
    network = Network(stack(), inputs=4, seed=6)
    training = Training(network, x, y, batch_size=8, seed=3)
    training.run_epoch()
    state = copy.deepcopy(training.state())
    fresh = Training(Network(stack(), inputs=4, seed=0), x, y, batch_size=8, seed=3)
    state.streams = fresh.state().streams
    other = continued(training, network, x, y, batch_size=8, seed=3)
    other.restore(state)
    for _ in range(3):
        training.run_epoch()
        other.run_epoch()
    assert other.network.parameters.vector.tobytes() != network.parameters.vector.tobytes()


@given(
    samples=st.integers(1, 30),
    batch=st.integers(1, 40),
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from(["float32", "float64"]),
)
@examples
def test_the_same_seed_gives_the_same_bits(samples, batch, seed, dtype):
    """For any sizes of data and batch, in both precisions."""
    x, y = blobs(samples, 2, 3)

    def run():
        network = Network(stack(4), inputs=2, seed=seed, dtype=dtype)
        records = list(train(network, x, y, optimizer=Adam(), epochs=3, batch_size=batch, seed=seed))
        return network.parameters.vector.tobytes(), without_seconds(records)

    assert run() == run()


def test_another_seed_gives_another_start_and_another_order():
    """Weights and order each depend on the seed."""
    x, y = blobs(30, 2, 3)
    networks = [Network(stack(), inputs=2, seed=seed) for seed in (0, 1)]
    assert not np.array_equal(networks[0].parameters.vector, networks[1].parameters.vector)
    orders = [Training(networks[0], x, y, batch_size=5, seed=seed).state().order.tolist() for seed in (0, 1)]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == list(range(30))


def test_every_epoch_has_an_order_of_its_own_unless_asked_not_to_shuffle():
    """Each epoch has a permutation of all rows; without shuffling, the rows keep their order."""
    x, y = blobs(30, 2, 3)
    training = Training(Network(stack(), inputs=2), x, y, batch_size=5)
    orders = []
    for _ in range(3):
        orders.append(training.state().order.tolist())
        training.run_epoch()
    assert all(sorted(order) == list(range(30)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert Training(Network(stack(), inputs=2), x, y, batch_size=5, shuffle=False).state().order.tolist() == list(
        range(30)
    )


def test_one_batch_of_all_rows_needs_no_order():
    """Shuffling changes no bit of a full-batch run."""
    x, y = blobs(30, 2, 3)
    ends = []
    for shuffle in (True, False):
        network = Network(stack(), inputs=2, seed=1)
        list(train(network, x, y, epochs=5, batch_size="full", shuffle=shuffle))
        ends.append(network.parameters.vector.tobytes())
    assert ends[0] == ends[1]
    shuffled = Training(Network(stack(), inputs=2), x, y, batch_size="full", shuffle=True)
    assert shuffled.state().order.tolist() == list(range(30))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [64, 200, "full"])
def test_a_step_allocates_nothing_after_the_first(batch_size, kind):
    """Fifty more steps hold no more than a few small Python objects at any time; one activation is 128 KB."""
    x, y = blobs(512, 32, 3)
    network = Network([Dense(256), ReLU(), Dense(256), ReLU(), Dense(3), Softmax()], inputs=32)
    training = Training(network, x, y, optimizer=Adam(), batch_size=batch_size, shuffle=False, kernels=kind)
    for _ in range(2):
        training.run_epoch()
    steps = 0

    def enough():
        nonlocal steps
        steps += 1
        return steps > 50

    tracemalloc.start()
    try:
        while training.run_epoch(enough) is not None:
            pass
        # An epoch's end looks over all parameters once and draws an order; both are no part of a step.
        parameters_mask, order = network.parameters.vector.size, 512 * 8
        assert tracemalloc.get_traced_memory()[1] < 8_000 + parameters_mask + order
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("layers", [stack(), [ReLU(), Dense(3), Softmax()]], ids=["dense first", "relu first"])
@pytest.mark.parametrize("batch_size", [7, "full"])
def test_the_data_stays_as_it_is(layers, batch_size):
    """The run changes neither the given arrays nor its copy of the rows."""
    x, y = blobs(30, 4, 3)
    kept_x, kept_y = x.copy(), y.copy()
    training = Training(Network(layers, inputs=4, dtype="float64"), x, y, batch_size=batch_size)
    for _ in range(3):
        training.run_epoch()
    assert np.array_equal(x, kept_x)
    assert np.array_equal(y, kept_y)
    assert np.array_equal(training._rows.rows[:, :-1], x)
    assert (training._rows.rows[:, -1] == 1).all()


def test_one_hot_labels_train_like_class_numbers():
    """To the same bits."""
    x, y = blobs(30, 2, 3)
    ends = []
    for labels in (y, np.eye(3)[y], np.eye(3, dtype=int)[y]):
        network = Network(stack(), inputs=2)
        list(train(network, x, labels, epochs=2))
        ends.append(network.parameters.vector.tobytes())
    assert ends[0] == ends[1] == ends[2]


def test_validation_is_scored_after_each_epoch_and_changes_nothing():
    """Its loss is that of predict_proba, penalties included; the run is the same as without."""
    x, y = blobs(30, 2, 3)
    vx, vy = blobs(12, 2, 3, seed=4)
    plain_network, network = Network(stack(), inputs=2, seed=1), Network(stack(), inputs=2, seed=1)
    list(train(plain_network, x, y, epochs=3))
    *_, last = train(network, x, y, epochs=3, validation=(vx, vy))
    assert network.parameters.vector.tobytes() == plain_network.parameters.vector.tobytes()
    probabilities = network.predict_proba(vx)
    expected = -np.log(probabilities[np.arange(12), vy].astype(float)).mean() + network.penalty()
    assert last.validation_loss == pytest.approx(expected, rel=1e-5)
    assert last.validation_accuracy == (probabilities.argmax(axis=1) == vy).mean()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rate", "what"), [(1e6, "the gradient of"), (1e37, "parameter")])
def test_a_diverging_run_stops_and_says_where(rate, what, kind, monkeypatch):
    """In the first step whose loss is not finite, with the first parameter that is not or whose gradient is not."""
    monkeypatch.setattr("nncore.hyperparameters.Bounds.violation", lambda self, value: None)
    x, y = blobs(64, 4, 3)
    network = Network(stack(), inputs=4)
    training = Training(network, x * 1e3, y, optimizer=SGD(learning_rate=rate), batch_size=8, kernels=kind)
    with pytest.raises(DivergedError) as caught:
        training.run_epoch()
    error, finite = caught.value, np.isfinite(network.parameters["0_dense/weights"]).all()
    assert error.step == training.step + 1
    assert error.epoch == training.epoch + 1 == 1
    assert error.parameter == "0_dense/weights"
    assert finite == (what == "the gradient of")
    assert f"training diverged in step {error.step} (epoch 1): {what} 0_dense/weights is not finite." in str(error)


def test_an_infinity_that_relu_hides_is_found_at_the_end_of_the_epoch():
    """A bias of minus infinity leaves the loss finite."""
    x, y = blobs(16, 4, 3)
    network = Network(stack(), inputs=4)
    network.parameters["0_dense/bias"][2] = -np.inf
    training = Training(network, x, y, batch_size=8)
    with pytest.raises(DivergedError) as caught:
        training.run_epoch()
    assert caught.value.parameter == "0_dense/bias"


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (
            np.zeros((4, 3)),
            np.zeros(4, int),
            {},
            r"x must have shape \(n_samples, 2\), n_samples ≥ 1. Received: \(4, 3\)",
        ),
        (np.zeros((0, 2)), np.zeros(0, int), {}, r"Received: \(0, 2\)"),
        (np.zeros((4, 2)), np.zeros(3, int), {}, "x has 4 rows, so y must have 4 labels. Received: 3"),
        (np.zeros((4, 2)), np.array([0, 1, 2, 3]), {}, "label 3 must be from 0 to 2. Received: 3"),
        (np.zeros((4, 2)), np.zeros(4), {}, "labels must be whole numbers or one-hot rows. Received: float64"),
        (np.zeros((1, 2)), np.array([[1, 1, 0]]), {}, r"row 0 is not one-hot. Received: \[1, 1, 0\]"),
        (np.zeros((1, 2)), np.array([[1, 0]]), {}, "one-hot labels must have 3 columns. Received: 2"),
        (np.array([[0, np.nan]]), np.array([0]), {}, r"x\[0, 1\] must be finite in float32. Received: nan"),
        (np.array([[0, 1e39]]), np.array([0]), {}, r"x\[0, 1\] must be finite in float32. Received: 1e\+39"),
        (np.zeros((4, 2)), np.zeros(4, int), {"batch_size": 0}, "batch_size must be at least 1. Received: 0"),
        (
            np.zeros((4, 2)),
            np.zeros(4, int),
            {"validation": (np.zeros((1, 3)), np.zeros(1, int))},
            r"validation x must have shape",
        ),
    ],
)
def test_data_that_does_not_fit_is_refused(x, y, options, message):
    """The message names the value received."""
    with pytest.raises(ValueError, match=message):
        Training(Network(stack(), inputs=2), x, y, **options)


def test_a_state_of_another_run_is_refused_and_changes_nothing():
    """Wrong rows, another optimizer's moments, another network's shapes."""
    x, y = blobs(20, 2, 3)
    training = Training(Network(stack(), inputs=2), x, y, optimizer=Adam(), batch_size=8)
    before = training.state()
    fewer = Training(Network(stack(), inputs=2), x[:10], y[:10], optimizer=Adam(), batch_size=8).state()
    with pytest.raises(ValueError, match="order must hold each of the 20 rows once"):
        training.restore(fewer)
    other = Training(Network(stack(), inputs=2), x, y, optimizer=RMSProp(), batch_size=8).state()
    with pytest.raises(
        ValueError, match=r"the optimizer keeps \['gradient_sum', 'square_sum'\]. Received: \['square_sum'\]"
    ):
        training.restore(other)
    wider = Training(Network(stack(9), inputs=2), x, y, optimizer=Adam(), batch_size=8).state()
    with pytest.raises(ValueError, match=r"0_dense/weights: expected shape \(2, 8\), found \(2, 9\)"):
        training.restore(wider)
    assert training.state().order.tolist() == before.order.tolist()
    assert training.step == training.epoch == 0
    assert all(not array.any() for arrays in training.state().moments.values() for array in arrays.values())


def noisy(**options):
    """A run with noise, statistics, an average and a penalty, and its validation rows."""
    x, y = blobs(45, 4, 3)
    layers = [Dense(8, l2=0.01), BatchNorm(), ReLU(), Dropout(0.3), Dense(3), Softmax()]
    network = Network(layers, inputs=4, seed=2, dtype="float64")
    rule = Adam(0.02, average=0.9)
    return Training(network, x, y, optimizer=rule, batch_size=8, seed=3, **options), blobs(31, 4, 3, seed=9)


@pytest.mark.parametrize("loss", [CategoricalCrossentropy(0.2), FocalLoss(), CategoricalCrossentropy()], ids=repr)
def test_the_log_loss_is_plain_whatever_the_loss_is(loss):
    """No smoothing, no focus, no weights, no penalty; the floor holds."""
    training, (vx, vy) = noisy(loss=loss, class_weights=[1.0, 5.0, 0.2])
    training = continued(
        training,
        training.network,
        *blobs(45, 4, 3),
        optimizer=training.optimizer,
        batch_size=8,
        validation=(vx * 40, vy),
        loss=loss,
    )
    for _ in range(3):
        record = training.run_epoch()
    served = {**training.evaluated, **training.evaluated_statistics}
    chosen = Predictor(training.network.layers, 4, served).predict_proba(vx * 40)[np.arange(31), vy]
    assert chosen.min() < 1e-7
    assert record.validation_log_loss == pytest.approx(-np.log(np.maximum(chosen, 1e-7)).mean(), rel=1e-12)
    assert record.validation_loss != record.validation_log_loss


def test_probabilities_of_a_run_are_those_of_its_evaluated_parameters():
    """Of a matrix, of a source of rows in pieces, and of no rows."""
    training, _ = noisy()
    training.run_epoch()
    rows = np.random.default_rng(0).normal(size=(2500, 4))
    served = {**training.evaluated, **training.evaluated_statistics}
    expected = Predictor(training.network.layers, 4, served).predict_proba(rows)
    np.testing.assert_array_equal(training.predict_proba(rows), expected)
    np.testing.assert_array_equal(training.predict_proba(MatrixRows(with_ones(rows, np.dtype(float)))), expected)
    assert training.predict_proba(MatrixRows(with_ones(rows[:0], np.dtype(float)))).shape == (0, 3)
    with pytest.raises(ValueError, match="must have shape"):
        training.predict_proba(rows[:, :3])


@pytest.mark.parametrize("every", [1, 2, 5, 100])
def test_it_validates_after_every_so_many_epochs_and_changes_nothing_else(every):
    """Order, noise and results are those of a run without validation."""
    plain_run, validation = noisy()
    training, _ = noisy(validation=validation, validate_every=every)
    for number in range(1, 12):
        plain_record, record = plain_run.run_epoch(), training.run_epoch()
        values = (record.validation_loss, record.validation_accuracy, record.validation_log_loss)
        assert values.count(None) == (0 if number % every == 0 else 3)
        assert (record.loss, record.accuracy) == (plain_record.loss, plain_record.accuracy)
    assert training.network.parameters.vector.tobytes() == plain_run.network.parameters.vector.tobytes()
    assert training.state().streams == plain_run.state().streams


def test_a_plateau_is_seen_at_validated_epochs_alone():
    """Epochs without validation are not observed, not even by their training loss."""
    schedule = ReduceOnPlateau(factor=0.5, patience=1, min_delta=1e9)
    x, y = blobs(40, 4, 3)
    for every in (1, 3):
        network = Network(stack(), inputs=4)
        training = Training(network, x, y, optimizer=Adam(schedule=schedule), validation=(x, y), validate_every=every)
        waited = []
        for _ in range(9):
            training.run_epoch()
            waited.append((training.state().schedule["seen"], training.state().schedule["waited"]))
        looks = waited[every - 1 :: every]
        assert looks == [(1.0, 0.0), *[(1.0, 1.0), (1.0, 0.0)] * 4][: len(looks)]
        assert waited[: every - 1] == [(0.0, 0.0)] * (every - 1)


def test_validating_less_often_than_never_is_refused():
    x, y = blobs(40, 4, 3)
    with pytest.raises(ValueError, match="validate_every must be at least 1"):
        Training(Network(stack(), inputs=4), x, y, validate_every=0)
