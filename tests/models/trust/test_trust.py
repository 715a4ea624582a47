"""All that is fitted as one value: what it says is what its parts say, and nothing but its own arrays is taken."""

import numpy as np
import pytest

from models.trust.conformal import PredictionSets
from models.trust.disagreement import disagreement
from models.trust.distance import MAXIMUM_CELLS, Distance
from models.trust.draws import draws_of
from models.trust.mixture import mixed, mixture_weights
from models.trust.temperature import fit_temperature, sharpened
from models.trust.trust import Trust
from nncore.batches import MatrixRows, with_ones
from nncore.metrics import evaluate

KINDS, ROWS, CLASSES, INPUTS = 2, 2500, 3, 5


def held_out(seed=0, rows=ROWS, inputs=INPUTS):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, inputs)).astype(np.float32)
    logits = x @ np.random.default_rng(9).normal(size=(inputs, CLASSES))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    codes = (true.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1).clip(0, CLASSES - 1)
    kinds = np.stack([np.exp(sharpness * logits + 0.3 * rng.normal(size=logits.shape)) for sharpness in (0.5, 2.0)])
    kinds /= kinds.sum(axis=2, keepdims=True)
    return kinds.astype(np.float32), codes, x


FITTED = Trust.fit(*held_out(), common=True)


def members_of(kinds):
    """Four members of the first kind, two of the second, each a little off."""
    numbers = np.array([0, 0, 0, 0, 1, 1])
    members = kinds[numbers] + np.random.default_rng(5).uniform(0, 0.1, (6, *kinds.shape[1:])).astype(np.float32)
    return numbers, members / members.sum(axis=2, keepdims=True)


def test_it_is_its_parts():
    kinds, codes, x = held_out()
    weights = mixture_weights(kinds, codes)
    mixture = mixed(kinds, weights)
    temperature = fit_temperature(mixture, codes)
    sharp = sharpened(mixture, temperature)
    np.testing.assert_array_equal(FITTED.weights, weights)
    assert FITTED.temperature == temperature
    errors = [evaluate(each, codes).calibration_error for each in (mixture, sharp)]
    assert FITTED.calibration.tolist() == errors
    sets, distance = PredictionSets.fit(sharp, codes, draws_of(x)), Distance.fit(x, common=True)

    new, _, inputs = held_out(1)
    numbers, members = members_of(new)
    shares = FITTED.shares(numbers)
    answer = FITTED.apply(members, shares, inputs, coverage=0.8, uncertainty=True, distance=True)
    by_kind = mixed(np.stack([members[:4].mean(axis=0), members[4:].mean(axis=0)]), weights)
    np.testing.assert_allclose(answer.probabilities, sharpened(by_kind, temperature), rtol=1e-5)
    draws = draws_of(inputs)
    np.testing.assert_array_equal(answer.sets, sets.sets(answer.probabilities, draws, 0.8))
    np.testing.assert_array_equal(answer.distance, distance.of_rows(inputs))
    np.testing.assert_allclose(answer.uncertainty, disagreement(members, by_kind, shares), atol=1e-5)
    classwise = FITTED.apply(members, shares, inputs, coverage=0.8, by_class=True)
    np.testing.assert_array_equal(classwise.sets, sets.sets(answer.probabilities, draws, 0.8, by_class=True))
    assert FITTED.apply(members, shares)[1:] == (None, None, None)


def test_held_out_rows_are_calibrated_and_covered():
    """Better than before, and on other rows too."""
    before, after = FITTED.calibration
    assert after < before
    kinds, codes, x = held_out(2)
    answer = FITTED.apply(kinds, FITTED.shares(np.arange(KINDS)), x, coverage=0.9, distance=True)
    assert answer.sets[np.arange(ROWS), codes].mean() == pytest.approx(0.9, abs=0.02)
    assert (answer.distance > 1).mean() == pytest.approx(0.01, abs=0.01)
    assert evaluate(answer.probabilities, codes).calibration_error < before


def test_shares_are_of_a_kind():
    shares = FITTED.shares(np.array([1, 0, 1, 1]))
    assert shares[1] == pytest.approx(FITTED.weights[0])
    np.testing.assert_allclose(shares[[0, 2, 3]], FITTED.weights[1] / 3)
    np.testing.assert_allclose(FITTED.shares(np.array([1, 1])), 0.5)


def test_a_source_of_rows_is_as_good_as_a_matrix():
    """Also if it has so many inputs that the distance gets a sample."""
    kinds, codes, x = held_out()
    source = MatrixRows(with_ones(x, np.dtype("float32")))
    for name, array in Trust.fit(kinds, codes, source, common=True).arrays().items():
        np.testing.assert_array_equal(array, FITTED.arrays()[name], name)
    wide = np.random.default_rng(0).normal(size=(ROWS, 2 * MAXIMUM_CELLS // ROWS)).astype(np.float32)
    fitted = Trust.fit(kinds, codes, wide, common=True)
    np.testing.assert_array_equal(fitted.distance.mean, Distance.fit(wide[::2], common=True).mean)


def test_what_is_kept_is_what_was_fitted():
    arrays = {name: array.copy() for name, array in FITTED.arrays().items()}
    again = Trust.of(arrays, KINDS, CLASSES, INPUTS)
    kinds, _, x = held_out(3)
    ours, theirs = (
        each.apply(kinds, each.shares(np.arange(KINDS)), x, coverage=0.7, uncertainty=True, distance=True)
        for each in (FITTED, again)
    )
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_few_rows_are_enough_to_have_all_arrays():
    for rows in (1, 2, 7):
        kinds, codes, x = held_out(rows=rows)
        fitted = Trust.fit(kinds, codes, x, common=False)
        Trust.of(fitted.arrays(), KINDS, CLASSES, INPUTS)
        assert fitted.apply(kinds, fitted.weights, x, coverage=0.99).sets.all()


def changed(name, change):
    arrays = {each: array.copy() for each, array in FITTED.arrays().items()}
    arrays[name] = change(arrays[name]) if name in arrays else change(None)
    return arrays


@pytest.mark.parametrize("name", FITTED.arrays())
def test_every_array_is_needed_in_its_form(name):
    """None may be missing, of another type or shape, or not finite."""
    arrays = FITTED.arrays()
    del arrays[name]
    with pytest.raises(ValueError, match=rf"^/trust/{name}: expected .* found nothing$"):
        Trust.of(arrays, KINDS, CLASSES, INPUTS)
    changes = [lambda a: a.astype("float16"), lambda a: a[np.newaxis], lambda a: a.astype(str)]
    if FITTED.arrays()[name].dtype.kind == "f":
        changes += [lambda a: a * np.array(np.nan, a.dtype), lambda a: a + np.array(np.inf, a.dtype)]
    for change in changes:
        with pytest.raises(ValueError, match=f"^/trust/{name}: expected "):
            Trust.of(changed(name, change), KINDS, CLASSES, INPUTS)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("other", lambda _: np.zeros(1), "/trust/other: expected nothing, found float64"),
        ("sets", lambda _: np.zeros(1), "/trust/sets: expected nothing"),
        ("sets/other", lambda _: np.zeros(1), "/trust/sets/other: expected nothing"),
        ("distance/a/b", lambda _: np.zeros(1), "/trust/distance/a/b: expected nothing"),
        ("weights", lambda a: a * 2, "/trust/weights: expected positive numbers that sum to 1"),
        ("weights", lambda a: np.array([2.0, -1.0]), "/trust/weights: expected positive"),
        ("temperature", lambda a: a * 0, "/trust/temperature: expected a number from"),
        ("temperature", lambda a: a * 0 + 5, "/trust/temperature: expected a number from"),
        ("calibration", lambda a: -a, "/trust/calibration: expected numbers from 0 to 1"),
        ("sets/starts", lambda a: a + 1, "/trust/sets/starts: expected ascending numbers"),
        ("sets/starts", lambda a: a[::-1].copy(), "/trust/sets/starts: expected ascending numbers"),
        ("sets/starts", lambda a: a[:-1], r"/trust/sets/starts: expected int64 of \(4\), found int64 of \(3,\)"),
        ("sets/scores", lambda a: a[::-1].copy(), "/trust/sets/scores: expected ascending numbers within each class"),
        ("sets/scores", lambda a: a + 1, "/trust/sets/scores: expected numbers from 0 to 1"),
        ("sets/scores", lambda a: a[:-1], "/trust/sets/starts: expected ascending numbers"),
        ("distance/scale", lambda a: -a, "/trust/distance/scale: expected numbers of at least 0"),
        ("distance/directions", lambda a: a[:, :-1], r"expected float32 of \(5, 5\), found float32 of \(5, 4\)"),
    ],
)
def test_what_cannot_have_been_fitted_is_refused(name, change, message):
    with pytest.raises(ValueError, match=message):
        Trust.of(changed(name, change), KINDS, CLASSES, INPUTS)


def test_rows_and_codes_must_match():
    kinds, codes, x = held_out()
    for rows, labels in ((x[:-1], codes), (x[:0], codes[:0])):
        with pytest.raises(ValueError, match="as many rows as codes"):
            Trust.fit(kinds[:, : len(labels)], labels, rows, common=True)
