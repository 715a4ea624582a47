"""Runs of several members: the same bits however they are interrupted, and what they say of held-out rows."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss

from models.definition.definition import ModelDefinition
from models.formats.checkpoint_file import load_checkpoint
from models.serving.served_model import ServedModel
from models.training.checkpoint import CheckpointKind
from models.training.ensemble_checkpoint import EnsembleCheckpoint
from models.training.ensemble_run import EnsembleRun
from nncore.network import Predictor
from testing.members_journal import MembersRecorder, QuickPool
from testing.runs import a_request, prepare, some_rows
from testing.saving import save_checkpoint

STOPPING = {"monitor": "validation_log_loss", "patience": 3, "patience_steps": 10}


def kind(name: str, units: int, **members: Any) -> dict[str, Any]:
    layers = [
        {"type": "dense", "units": units},
        "relu",
        {"type": "dropout", "rate": 0.1},
        {"type": "dense", "units": 3},
    ]
    rules = {"optimizer": {"type": "adamw", "learning_rate": 0.02, "average": 0.9}, "batch_size": 8, "epochs": 12}
    return {"name": name, "layers": [*layers, "softmax"], "early_stopping": STOPPING, **rules, **members}


def a_definition(folds: int = 3, **members: Any) -> ModelDefinition:
    kinds = [kind("narrow", 4), kind("wide", 9), kind("linear", 1, baseline=True)]
    network = {"folds": folds, "kinds": members.pop("kinds", kinds)}
    return ModelDefinition.load(
        {"name": "many", "inputs": 2, "classes": ["a", "b", "c"], "network": network, **members}
    )


class Journal(MembersRecorder):
    @property
    def newest(self) -> EnsembleCheckpoint:
        newest = super().newest
        assert isinstance(newest, EnsembleCheckpoint)
        return newest


def a_run(
    definition: ModelDefinition | None = None, resume: EnsembleCheckpoint | None = None, places: int = 1, **request: Any
) -> EnsembleRun:
    definition = definition or a_definition()
    asked = a_request(epochs=0, **request)
    prepared = prepare(definition, asked, some_rows(60))
    return EnsembleRun(asked, prepared, QuickPool(places), resume=resume)


def finished(**options: Any) -> EnsembleCheckpoint:
    journal = Journal()
    assert a_run(**options).run(journal)
    assert journal.checkpoints[-1][0] is CheckpointKind.LAST
    return journal.newest


def parameters_of(checkpoint: EnsembleCheckpoint) -> dict[tuple[int, str], Any]:
    return {
        (number, name): array
        for number, member in checkpoint.members.items()
        for name, array in {**member.parameters, **member.checkpoint.parameters}.items()
    }


def assert_same(one: EnsembleCheckpoint, other: EnsembleCheckpoint) -> None:
    mine, theirs = parameters_of(one), parameters_of(other)
    assert mine.keys() == theirs.keys()
    for place, array in mine.items():
        assert np.array_equal(array, theirs[place]), place
    assert one.mixture == other.mixture
    assert one.held_out is not None
    assert other.held_out is not None
    for name in ("rows", "codes", "folds", "probabilities"):
        assert np.array_equal(getattr(one.held_out, name), getattr(other.held_out, name)), name


@pytest.fixture(scope="module")
def whole() -> EnsembleCheckpoint:
    return finished()


def test_each_member_holds_out_its_fold(whole: EnsembleCheckpoint) -> None:
    assert sorted(whole.members) == list(range(1, 10))
    folds = [set(whole.members[number].checkpoint.rows.tolist()) for number in (1, 2, 3)]
    held = [set(range(60)) - rows for rows in folds]
    assert set().union(*held) == set(range(60))
    assert sum(map(len, held)) == 60
    assert [member.kind for _, member in sorted(whole.members.items())] == [
        *["narrow"] * 3,
        *["wide"] * 3,
        *["linear"] * 3,
    ]


def test_an_epoch_of_a_member_has_the_rows_of_its_task() -> None:
    run = a_run()
    tasks = [run._task(number) for number in range(1, run.ensemble.members + 1)]
    assert [run.rows_of(task.number) for task in tasks] == [len(task.training) for task in tasks]
    assert all(0 < len(task.training) < len(run.rows) for task in tasks)


@pytest.mark.parametrize("places", [1, 2, 5])
def test_order_and_places_change_no_bit(whole: EnsembleCheckpoint, places: int) -> None:
    assert_same(whole, finished(places=places))


@pytest.mark.parametrize("pauses", [[1], [7], [40], [90], [200], [13, 50, 3, 70]])
def test_an_interrupted_run_ends_with_the_same_bits(
    whole: EnsembleCheckpoint, pauses: list[int], tmp_path: Path
) -> None:
    state = None
    for place, pause in enumerate(pauses):
        journal = Journal(stop_at=pause)
        assert not a_run(resume=state, places=2).run(journal)
        assert journal.checkpoints[-1][0] is CheckpointKind.INTERRUPTED
        save_checkpoint(tmp_path / f"{place}.h5", journal.newest)
        loaded = load_checkpoint(tmp_path / f"{place}.h5")
        assert isinstance(loaded, EnsembleCheckpoint)
        state = loaded
    assert_same(whole, finished(resume=state))


def test_held_out_rows_are_predicted_by_members_that_did_not_see_them(whole: EnsembleCheckpoint) -> None:
    data, mixture, held_out = some_rows(60), whole.mixture, whole.held_out
    assert mixture is not None
    assert held_out is not None
    assert sum(mixture.weights.values()) == pytest.approx(1.0)
    expected = np.zeros((60, 3))
    for number, member in whole.members.items():
        if member.kind == "linear":
            continue
        rows = np.setdiff1d(np.arange(60), member.checkpoint.rows)
        layers = a_definition().of_kind(whole.definition.ensemble.kind_of(number)).layers  # type: ignore[union-attr]
        predictor = Predictor(layers, 2, {**member.parameters, **member.statistics})
        expected[rows] += mixture.weights[member.kind] * predictor.predict_proba(data.inputs[rows])
    powers = expected ** (1.0 / mixture.temperature)
    np.testing.assert_allclose(held_out.probabilities, powers / powers.sum(axis=1, keepdims=True), rtol=2e-5)


def test_the_report_agrees_with_scikit_learn(whole: EnsembleCheckpoint) -> None:
    run = a_run()
    journal = Journal()
    run.run(journal)
    report = run.details()["held_out"]
    held_out = journal.newest.held_out
    assert held_out is not None
    codes, probabilities = held_out.codes, held_out.probabilities.astype(float)
    probabilities /= probabilities.sum(axis=1, keepdims=True)  # scikit-learn warns of sums that float32 rounds
    assert report["log_loss"] == pytest.approx(log_loss(codes, probabilities, labels=[0, 1, 2]), rel=1e-5)
    assert report["accuracy"] == accuracy_score(codes, probabilities.argmax(axis=1))
    by_fold = [
        log_loss(codes[held_out.folds == fold], probabilities[held_out.folds == fold], labels=[0, 1, 2])
        for fold in range(3)
    ]
    assert [fold["log_loss"] for fold in report["folds"]] == pytest.approx(by_fold, rel=1e-5)
    assert report["standard_error"]["log_loss"] == pytest.approx(np.std(by_fold, ddof=1) / np.sqrt(3), rel=1e-4)
    assert set(report["to_beat"]) == {"majority", "linear"}
    assert report["log_loss"] < report["to_beat"]["majority"]["log_loss"]


def test_a_file_serves_the_mixture(whole: EnsembleCheckpoint, tmp_path: Path) -> None:
    path = tmp_path / "members.h5"
    save_checkpoint(path, whole)
    x = np.random.default_rng(3).normal(size=(7, 2)).astype(np.float32)
    served = ServedModel(path)
    found = np.zeros((7, 3))
    with h5py.File(path) as file:
        import json

        weights = json.loads(file["mixture"].attrs["weights"])
        temperature = file["mixture"].attrs["temperature"]
        for group in file["members"].values():
            if group.attrs["kind"] == "linear":
                continue
            best = group["best/parameters"]
            hidden = np.maximum(x @ best["0_dense/weights"][()] + best["0_dense/bias"][()], 0)
            logits = hidden @ best["3_dense/weights"][()] + best["3_dense/bias"][()]
            exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
            found += weights[group.attrs["kind"]] / 3 * exponentials / exponentials.sum(axis=1, keepdims=True)
    powers = found ** (1.0 / temperature)
    np.testing.assert_allclose(served.predict_proba(x), powers / powers.sum(axis=1, keepdims=True), rtol=1e-5)
    many = np.repeat(x, 500, axis=0)
    np.testing.assert_allclose(served.predict_proba(many)[::500], served.predict_proba(x), rtol=1e-5)


def test_time_that_is_up_publishes_what_has_ended() -> None:
    ticks = count()
    definition = a_definition()
    asked = a_request(epochs=0, max_seconds=150.0)
    prepared = prepare(definition, asked, some_rows(60))
    run = EnsembleRun(asked, prepared, QuickPool(1), clock=lambda: float(next(ticks)))
    journal = Journal()
    assert run.run(journal)
    ended = [member for member in journal.newest.members.values() if member.ended in ("epochs", "early_stopping")]
    assert 0 < len(ended) < 9
    assert run.stopped_by == "max_seconds"
    assert journal.newest.mixture is not None


def test_time_that_is_up_at_once_publishes_a_member_under_way() -> None:
    ticks = count()
    asked = a_request(epochs=0, max_seconds=1.0)
    run = EnsembleRun(
        asked, prepare(a_definition(), asked, some_rows(60)), QuickPool(1), clock=lambda: float(next(ticks))
    )
    journal = Journal()
    assert run.run(journal)
    assert [member.ended for member in journal.newest.members.values()] == ["max_seconds"]
    assert journal.newest.mixture is not None


def test_validation_rows_of_the_request_judge_the_mixture() -> None:
    asked = a_request(epochs=0)
    prepared = prepare(a_definition(), asked, some_rows(60), some_rows(50, seed=9))
    run = EnsembleRun(asked, prepared, QuickPool(1))
    journal = Journal()
    run.run(journal)
    report = run.details()["held_out"]["validation"]
    assert report["rows"] == 50
    assert run.metrics()["validation_loss"] == pytest.approx(report["log_loss"], rel=1e-5)  # type: ignore[index]


def test_a_definition_of_members_survives_its_text() -> None:
    definition = a_definition()
    assert ModelDefinition.parse(definition.canonical()) == definition
    whole = replace(definition, ensemble=definition.ensemble.with_inputs(5, 2))  # type: ignore[union-attr]
    assert ModelDefinition.parse(whole.canonical()) == whole
