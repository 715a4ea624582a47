"""Networks: predictions, names and memory, initial weights, refusals."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncore import Dense, Network, Predictor, ReLU, Softmax
from nncore.arrays import NamedVector, Workspace
from nncore.initializers import INITIALIZERS
from nncore.network import PREDICTION_ROWS
from nncore.streams import generator_from_state, generator_state, stream
from testing import cases
from tests.nncore.support import examples


def network(dtype="float32", seed=0):
    """Two inputs, two hidden layers, three classes."""
    return Network([Dense(16), ReLU(), Dense(8), ReLU(), Dense(3), Softmax()], inputs=2, seed=seed, dtype=dtype)


@given(
    samples=st.integers(1, 40),
    scale=st.sampled_from([0.0, 1.0, 1e4, 1e30]),
    dtype=st.sampled_from(["float32", "float64"]),
)
@examples
def test_probabilities_are_probabilities(samples, scale, dtype):
    """Each row sums to 1 and holds nothing negative, however large the inputs."""
    x = np.random.default_rng(samples).normal(size=(samples, 2)) * scale
    probabilities = network(dtype).predict_proba(x)
    assert probabilities.shape == (samples, 3)
    assert probabilities.dtype == dtype
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=0, atol=1e-6)


def test_predictions_by_the_equations():
    """Matrix products, maxima and exponentials, written out."""
    trained = network("float64")
    x = np.random.default_rng(0).normal(size=(5, 2))
    p = trained.parameters
    h = np.maximum(x @ p["0_dense/weights"] + p["0_dense/bias"], 0)
    h = np.maximum(h @ p["2_dense/weights"] + p["2_dense/bias"], 0)
    e = np.exp(h @ p["4_dense/weights"] + p["4_dense/bias"])
    np.testing.assert_allclose(trained.predict_proba(x), e / e.sum(axis=1, keepdims=True), rtol=1e-12)


def test_many_rows_are_predicted_in_pieces():
    """The results of pieces equal those of single calls."""
    x = np.random.default_rng(0).normal(size=(2 * PREDICTION_ROWS + 5, 2))
    probabilities = network().predict_proba(x)
    starts = range(0, len(x), PREDICTION_ROWS)
    expected = [network().predict_proba(x[start : start + PREDICTION_ROWS]) for start in starts]
    assert np.array_equal(probabilities, np.concatenate(expected))


def test_one_network_predicts_from_many_threads():
    """Eight threads get the same bits as one."""
    shared, rng = network(), np.random.default_rng(0)
    inputs = [rng.normal(size=(200, 2)) for _ in range(8)]
    expected = [shared.predict_proba(x).tobytes() for x in inputs]
    wrong, start = [], threading.Barrier(8)

    def predict(index):
        start.wait()
        results = {shared.predict_proba(inputs[index]).tobytes() for _ in range(100)}
        wrong.extend(results - {expected[index]})

    threads = [threading.Thread(target=predict, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_parameters_are_named_views_of_one_vector():
    """In the order of the layers, weights before bias; writing to a view changes predictions."""
    changed = network()
    assert list(changed.parameters) == [f"{index}_dense/{name}" for index in (0, 2, 4) for name in ("weights", "bias")]
    assert np.array_equal(changed.parameters.vector, np.concatenate([v.ravel() for v in changed.parameters.values()]))
    before = changed.predict_proba(np.ones((1, 2)))
    changed.parameters["4_dense/bias"][0] += 5
    assert changed.predict_proba(np.ones((1, 2)))[0, 0] > before[0, 0]
    assert np.shares_memory(changed.parameters["0_dense/weights"], changed.parameters.vector)
    assert changed.parameters["0_dense/weights"].shape == (2, 16)


def test_both_precisions_start_alike():
    """A float32 network's weights are the float64 ones, rounded."""
    single, double = network("float32", seed=9), network("float64", seed=9)
    assert np.array_equal(single.parameters.vector, double.parameters.vector.astype(np.float32))
    assert single.parameters.vector.dtype == np.float32
    assert double.parameters.vector.dtype == np.float64


@pytest.mark.parametrize("name", list(INITIALIZERS))
def test_initial_weights_have_their_distribution(name):
    """Mean, variance, largest magnitude and the share near zero, within five standard errors."""
    expected = cases.INITIALIZERS[name]
    for inputs, units in expected.shapes:
        weights = INITIALIZERS[name](stream(3, "weights"), inputs, units, expected.value)
        assert weights.shape == (inputs, units)
        assert weights.dtype == np.float64
        variance, count = expected.variance(inputs, units), inputs * units
        assert abs(weights.mean() - expected.mean) <= 5 * np.sqrt(variance / count)
        assert weights.var() == pytest.approx(variance, rel=5 * np.sqrt(2 / count))
        bound = expected.bound(inputs, units)
        assert np.abs(weights).max() <= bound
        if 0 < bound < np.inf:
            assert np.abs(weights).max() > 0.98 * bound
            within = (np.abs(weights) < bound / 2).mean()
            assert within == pytest.approx(expected.within, abs=5 * np.sqrt(0.25 / count))


def test_biases_start_at_zero():
    """Whatever the weights."""
    for name, value in network().parameters.items():
        assert value.any() == name.endswith("weights")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Network([Dense(3)], inputs=2), r"the last layer must be Softmax\(\). Received: Dense"),
        (lambda: Network([], inputs=2), "Received: no layers"),
        (lambda: Network([Softmax()], inputs=2), "at least one layer with parameters"),
        (lambda: Network([Dense(3), Softmax()], inputs=0), "inputs must be at least 1. Received: 0"),
        (
            lambda: Network([Dense(3), Softmax()], inputs=2, dtype="float16"),
            "dtype must be 'float32' or 'float64'. Received: 'float16'",
        ),
        (lambda: network().predict_proba(np.zeros((1, 3))), r"x must have shape \(n_samples, 2\). Received: \(1, 3\)"),
        (lambda: network().predict_proba(np.zeros(2)), r"Received: \(2,\)"),
        (lambda: Predictor([Dense(3), Softmax()], 2, {}), "0_dense/bias: missing"),
        (
            lambda: Predictor(
                [Dense(3), Softmax()], 2, {"0_dense/weights": np.zeros((3, 2)), "0_dense/bias": np.zeros(3)}
            ),
            r"0_dense/weights: expected shape \(2, 3\), found \(3, 2\)",
        ),
        (lambda: Predictor([Dense(1), Softmax()], 1, {"x/y": np.zeros(1)}), "0_dense/bias: missing"),
        (lambda: NamedVector({"a/b": (2,)}, np.zeros(3)), r"the vector must have shape \(2,\). Received: \(3,\)"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    """With what was expected and what was received."""
    with pytest.raises(ValueError, match=message):
        make()


def test_a_workspace_hands_out_the_same_memory_in_the_same_order():
    """Smaller requests get the beginning of each buffer, and another order is refused."""
    workspace = Workspace("float32")
    first = [workspace.array((4, 8)), workspace.array((3,), np.intp)]
    workspace.rewind()
    again = [workspace.array((4, 5)), workspace.array((2,), np.intp)]
    assert all(np.shares_memory(one, other) for one, other in zip(first, again, strict=True))
    assert all(array.flags.c_contiguous for array in again)
    workspace.rewind()
    with pytest.raises(ValueError, match="the largest first"):
        workspace.array((9, 9))


def test_random_streams_continue_from_their_state():
    """A state that is stored as JSON and restored gives the same next numbers."""
    import json

    generator = stream(5, "order")
    generator.random(7)
    restored = generator_from_state(json.loads(json.dumps(generator_state(generator))))
    assert restored.permutation(50).tolist() == generator.permutation(50).tolist()


def test_streams_of_one_seed_are_independent():
    """Each purpose has a separate stream of random numbers."""
    assert len({stream(0, purpose).random() for purpose in ("weights", "order", "split")}) == 3
