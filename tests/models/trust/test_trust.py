"""All that is fitted as one value: it is what its parts are, and nothing but its own arrays is taken."""

import numpy as np
import pytest

from models.trust.conformal import PredictionSets
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


def fit(seed=0, rows=ROWS, common=True):
    """What is fitted, with the mixture of the kinds, its temperature, the classes and the rows."""
    kinds, codes, x = held_out(seed, rows)
    mixture = mixed(kinds, mixture_weights(kinds, codes))
    temperature = fit_temperature(mixture, codes)
    return Trust.fit(mixture, temperature, codes, x, common=common), mixture, temperature, codes, x


FITTED, MIXTURE, TEMPERATURE, CODES, X = fit()


def test_it_is_its_parts():
    sharp = sharpened(MIXTURE, TEMPERATURE)
    assert FITTED.calibration.tolist() == [evaluate(each, CODES).calibration_error for each in (MIXTURE, sharp)]
    sets, distance = PredictionSets.fit(sharp, CODES, draws_of(X)), Distance.fit(X, common=True)
    expected = {"sets": sets.arrays(), "distance": distance.arrays()}
    for group, arrays in expected.items():
        for name, array in arrays.items():
            np.testing.assert_array_equal(FITTED.arrays()[f"{group}/{name}"], array)


def test_held_out_rows_are_calibrated_and_covered():
    """Better than before, and on other rows too."""
    before, after = FITTED.calibration
    assert after < before
    kinds, codes, x = held_out(2)
    probabilities = sharpened(mixed(kinds, mixture_weights(*held_out()[:2])), TEMPERATURE)
    sets = FITTED.sets.sets(probabilities, draws_of(x), 0.9)
    assert sets[np.arange(ROWS), codes].mean() == pytest.approx(0.9, abs=0.02)
    assert (FITTED.distance.of_rows(x) > 1).mean() == pytest.approx(0.01, abs=0.01)
    assert evaluate(probabilities, codes).calibration_error < before


def test_a_source_of_rows_is_as_good_as_a_matrix():
    """Also if it has so many inputs that the distance gets a sample."""
    source = MatrixRows(with_ones(X, np.dtype("float32")))
    for name, array in Trust.fit(MIXTURE, TEMPERATURE, CODES, source, common=True).arrays().items():
        np.testing.assert_array_equal(array, FITTED.arrays()[name], name)
    wide = np.random.default_rng(0).normal(size=(ROWS, 2 * MAXIMUM_CELLS // ROWS)).astype(np.float32)
    fitted = Trust.fit(MIXTURE, TEMPERATURE, CODES, wide, common=True)
    np.testing.assert_array_equal(fitted.distance.mean, Distance.fit(wide[::2], common=True).mean)


def test_what_is_kept_is_what_was_fitted():
    arrays = {name: array.copy() for name, array in FITTED.arrays().items()}
    again = Trust.of(arrays, CLASSES, INPUTS)
    kinds, _, x = held_out(3)
    for probabilities in kinds:
        ours, theirs = (each.sets.sets(probabilities, draws_of(x), 0.7) for each in (FITTED, again))
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(FITTED.distance.of_rows(x), again.distance.of_rows(x))


def test_few_rows_are_enough_to_have_all_arrays():
    for rows in (1, 2, 7):
        fitted, mixture, temperature, _, x = fit(rows=rows, common=False)
        Trust.of(fitted.arrays(), CLASSES, INPUTS)
        assert fitted.sets.sets(sharpened(mixture, temperature), draws_of(x), 0.99).all()


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
        Trust.of(arrays, CLASSES, INPUTS)
    changes = [lambda a: a.astype("float16"), lambda a: a[np.newaxis], lambda a: a.astype(str)]
    if FITTED.arrays()[name].dtype.kind == "f":
        changes += [lambda a: a * np.array(np.nan, a.dtype), lambda a: a + np.array(np.inf, a.dtype)]
    for change in changes:
        with pytest.raises(ValueError, match=f"^/trust/{name}: expected "):
            Trust.of(changed(name, change), CLASSES, INPUTS)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("other", lambda _: np.zeros(1), "/trust/other: expected nothing, found float64"),
        ("sets", lambda _: np.zeros(1), "/trust/sets: expected nothing"),
        ("sets/other", lambda _: np.zeros(1), "/trust/sets/other: expected nothing"),
        ("distance/a/b", lambda _: np.zeros(1), "/trust/distance/a/b: expected nothing"),
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
        Trust.of(changed(name, change), CLASSES, INPUTS)


def test_rows_and_codes_must_match():
    for rows, labels in ((X[:-1], CODES), (X[:0], CODES[:0])):
        with pytest.raises(ValueError, match="as many rows as codes"):
            Trust.fit(MIXTURE[: len(labels)], TEMPERATURE, labels, rows, common=True)
