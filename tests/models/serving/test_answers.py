"""What a version answers beside probabilities, and why: by versions of several members and of one, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import InvalidError
from models.serving.asked import NOTHING, Asked
from models.serving.column_importance import importance_document, sampled_rows
from models.serving.evaluation import sets_document
from models.serving.served_model import ServedModel
from models.trust.conformal import FEW, PredictionSets, scores_of
from models.trust.disagreement import disagreement
from models.trust.draws import draws_of
from models.trust.mixture import mixed
from models.trust.temperature import sharpened
from nncore.network import PREDICTION_ROWS
from service.serving.inference import EXPLAINED, Prediction, infer, require_asked
from service.serving.resolution import ServedVersion
from testing.runs import a_run as a_single_run
from testing.runs import some_rows
from testing.saving import save_checkpoint
from tests.models.training.test_ensemble_run import finished

EVERYTHING = Asked(0.8, uncertainty=True, distance=True)


def version(path: Path) -> ServedVersion:
    return ServedVersion("m", 1, ServedModel(path), "ckpt_1")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> ServedVersion:
    """A version of two kinds with three members each."""
    path = tmp_path_factory.mktemp("many") / "many.h5"
    save_checkpoint(path, finished())
    return version(path)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> ServedVersion:
    """A single network."""
    path = tmp_path_factory.mktemp("one") / "one.h5"
    save_checkpoint(path, a_single_run().checkpoint())
    return version(path)


def rows_of(count: int) -> Any:
    return some_rows(max(count, 3)).inputs[:count].astype(np.float32)


@pytest.mark.parametrize("count", [1, 40, PREDICTION_ROWS + 3])
def test_probabilities_are_the_plain_ones_whatever_is_asked_for(many: ServedVersion, count: int) -> None:
    rows = rows_of(count)
    plain, more = infer(many, rows), infer(many, rows, EVERYTHING)
    assert np.array_equal(plain.probabilities, more.probabilities)
    assert (plain.sets, plain.uncertainty, plain.distance, plain.explanations) == (None,) * 4
    assert more.sets is not None
    assert more.uncertainty is not None
    assert more.distance is not None
    assert (more.sets.shape, more.uncertainty.shape, more.distance.shape) == ((count, 3), (count,), (count,))
    assert ((more.uncertainty >= 0) & (more.uncertainty <= 1)).all()


def test_it_is_what_trust_says_in_one_pass(many: ServedVersion) -> None:
    """The functions of ``models.trust`` by themselves, on the members' probabilities."""
    network, rows = many.network, rows_of(30)
    assert network.ensemble is not None
    assert network.trust is not None
    members = network.ensemble.members(rows, rows)
    mixture = mixed(members, network.ensemble.weights)
    probabilities = sharpened(mixture, network.ensemble.temperature)
    expected = (
        probabilities,
        network.trust.sets.sets(probabilities, draws_of(rows), 0.8),
        disagreement(members, mixture, network.ensemble.weights),
        network.trust.distance.of_rows(rows),
    )
    found = network.answer(rows, EVERYTHING)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours is not None
        assert theirs is not None
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("classes", [1, 2, 5, 16])
def test_a_loop_over_few_rows_finds_the_same_sets(classes: int) -> None:
    random = np.random.default_rng(classes)
    fitted = PredictionSets.fit(
        random.dirichlet(np.ones(classes), 200).astype(np.float32),
        random.integers(classes, size=200),
        random.random(200),
    )
    count = FEW // classes
    new, draws = random.dirichlet(np.ones(classes), count).astype(np.float32).round(2), random.random(count)
    for by_class in (False, True):
        thresholds = fitted.thresholds(0.7, by_class=by_class)
        expected = scores_of(new, draws) <= thresholds
        assert np.array_equal(fitted.sets(new, draws, 0.7, by_class=by_class), expected)


def test_the_lists_of_sets_have_the_likeliest_class_first() -> None:
    prediction = Prediction("m", 1, ("a", "b", "c"), np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [0.1, 0.1, 0.8]]))
    sets = np.array([[True, True, False], [True, True, True], [False, False, False]])
    assert prediction._replace(sets=sets).set_lists() == [["b", "a"], ["a", "b", "c"], []]
    assert prediction._replace(distance=np.array([0.5, 1.0, 1.5])).unusual() == [False, False, True]


def pointers(asked: Asked, network: ServedModel) -> list[str]:
    with pytest.raises(InvalidError) as refusal:
        require_asked(asked, network)
    assert all("folds" in problem.detail for problem in refusal.value.problems)
    return [problem.pointer for problem in refusal.value.problems]


def test_a_single_network_knows_neither_sets_nor_uncertainty(one: ServedVersion, many: ServedVersion) -> None:
    assert pointers(Asked(0.9), one.network) == ["/coverage"]
    assert pointers(Asked(uncertainty=True), one.network) == ["/uncertainty"]
    assert pointers(Asked(0.9, uncertainty=True), one.network) == ["/coverage", "/uncertainty"]
    for asked in (NOTHING, Asked(distance=True, explain=True)):
        require_asked(asked, one.network)
    require_asked(EVERYTHING, many.network)
    assert infer(one, rows_of(3), Asked(distance=True)).distance is None


class TestExplanations:
    @pytest.mark.parametrize("label", [None, "a", "c"])
    def test_they_are_complete(self, one: ServedVersion, many: ServedVersion, label: str | None) -> None:
        for each in (one, many):
            rows = rows_of(20)
            found = infer(each, rows, Asked(explain=True, explained=label))
            assert found.explanations is not None
            baseline = infer(each, found.explanations.baseline.inputs[np.newaxis]).probabilities[0]
            for row, explained in enumerate(found.explanations.rows):
                code = explained.code
                assert found.classes[code] == (label or found.labels()[row])
                assert explained.log_probability == pytest.approx(np.log(found.probabilities[row, code]), abs=1e-4)
                assert explained.at_baseline == pytest.approx(np.log(baseline[code]), abs=1e-4)
                difference = explained.log_probability - explained.at_baseline
                assert explained.contributions.sum() == pytest.approx(difference, abs=1e-6)

    def test_baselines_without_features(self, one: ServedVersion, many: ServedVersion) -> None:
        assert one.network.explainer.baseline.kind == "zeros"
        assert one.network.explainer.baseline.values == [0.0, 0.0]
        assert many.network.explainer.baseline.kind == "mean"
        np.testing.assert_allclose(many.network.explainer.baseline.values, some_rows(60).inputs.mean(axis=0), atol=1e-5)

    def test_an_unknown_class(self, one: ServedVersion) -> None:
        with pytest.raises(InvalidError, match="must be one of 'a', 'b', 'c'") as refusal:
            infer(one, rows_of(1), Asked(explain=True, explained="d"))
        assert refusal.value.problems[0].pointer == "/explain/class"

    def test_too_many_rows(self, one: ServedVersion) -> None:
        with pytest.raises(InvalidError, match="at most 100 rows") as refusal:
            infer(one, rows_of(EXPLAINED + 1), Asked(explain=True))
        assert refusal.value.problems[0].pointer == "/explain"


class TestImportance:
    def test_the_rows_are_the_same_every_time_and_not_too_many(self) -> None:
        assert np.array_equal(sampled_rows(30, 4, 4), np.arange(30))
        found = sampled_rows(100_000, 4, 4)
        assert len(found) == 2000
        assert (np.diff(found) > 0).all()
        assert np.array_equal(found, sampled_rows(100_000, 4, 4))
        assert len(sampled_rows(100_000, 1000, 1000)) == 200
        assert len(sampled_rows(100_000, 1, 1_000_000)) == 16

    def test_more_columns_are_refused(self) -> None:
        with pytest.raises(InvalidError, match="at most 1000 columns") as refusal:
            sampled_rows(10, 1001, 1001)
        assert refusal.value.problems[0].pointer == "/importance"

    def test_a_column_that_is_not_read_has_none(self) -> None:
        random = np.random.default_rng(0)
        x = random.normal(size=(300, 3))
        codes = (x[:, 0] > 0).astype(int)

        def predict_proba(rows: Any) -> Any:
            return np.stack([1 / (1 + np.exp(3 * rows[:, 0])), 1 / (1 + np.exp(-3 * rows[:, 0]))], axis=1)

        document = importance_document(predict_proba, x, codes, ["first", "pair"], [1, 2])
        first, pair = document["columns"]
        assert (document["rows"], first["column"], pair["column"]) == (300, "first", "pair")
        zero = {"mean": 0.0, "standard_error": 0.0}
        assert (pair["log_loss"], pair["accuracy"]) == (zero, zero)
        # Shuffled labels are right half of the time.
        assert first["accuracy"]["mean"] == pytest.approx(0.5, abs=0.06)
        assert 0 < first["log_loss"]["standard_error"] < first["log_loss"]["mean"] / 5


def test_what_sets_cover() -> None:
    sets = np.array([[True, False, False], [True, True, False], [False, False, False], [False, True, True]])
    found = sets_document(sets, np.array([0, 1, 1, 0]), ("a", "b", "c"), 0.9, by_class=True)
    assert found == {
        "coverage": 0.9,
        "by_class": True,
        "covered": 0.5,
        "mean_size": 1.25,
        "empty": 0.25,
        "per_class": [
            {"class": "a", "support": 2, "covered": 0.5},
            {"class": "b", "support": 2, "covered": 0.5},
            {"class": "c", "support": 0, "covered": None},
        ],
    }
