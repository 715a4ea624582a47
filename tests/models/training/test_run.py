"""One training run: the same bits despite any interruptions, and the times at which it saves its state."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from models.data.dataset import from_rows
from models.errors import InvalidError
from models.formats.checkpoint_file import load_checkpoint
from models.training.checkpoint import Checkpoint
from models.training.request import TrainingRequest
from models.training.run import activation_bytes
from nncore.optimizers import SGD, Adam, Optimizer, RMSProp
from nncore.training import DivergedError, Epoch
from testing.runs import Recorder, a_definition, a_run, some_rows
from testing.saving import save_checkpoint

OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": SGD(0.3),
    "momentum": SGD(0.1, momentum=0.9, decay=1e-3),
    "nesterov": SGD(0.1, momentum=0.9, nesterov=True),
    "rmsprop": RMSProp(0.01),
    "adam": Adam(0.01, decay=1e-2),
    "adam outside": Adam(0.01, epsilon_mode="outside_sqrt"),
}


def timeless(history: list[Epoch]) -> list[Epoch]:
    """Records without their times, which differ between runs."""
    return [replace(epoch, seconds=0.0) for epoch in history]


def assert_same_bits(one: Checkpoint, other: Checkpoint) -> None:
    """Everything but times is equal to the last bit."""
    assert one.parameters.keys() == other.parameters.keys()
    for name in one.parameters:
        assert one.parameters[name].tobytes() == other.parameters[name].tobytes(), name
    assert one.state.moments.keys() == other.state.moments.keys()
    for moment, arrays in one.state.moments.items():
        for name, array in arrays.items():
            assert array.tobytes() == other.state.moments[moment][name].tobytes(), (moment, name)
    for name in ("epoch", "step", "position", "loss_sum", "hits", "streams", "updates", "schedule"):
        assert getattr(one.state, name) == getattr(other.state, name), name
    assert one.statistics.keys() == other.statistics.keys()
    for name in one.statistics:
        assert one.statistics[name].tobytes() == other.statistics[name].tobytes(), name
    assert one.state.averaged_statistics.keys() == other.state.averaged_statistics.keys()
    for name, array in one.state.averaged_statistics.items():
        assert array.tobytes() == other.state.averaged_statistics[name].tobytes(), name
    assert (one.best is None) == (other.best is None)
    if one.best is not None and other.best is not None:
        for name in ("monitor", "min_delta", "value", "epoch", "waited"):
            assert getattr(one.best, name) == getattr(other.best, name), name
        for name in one.best.parameters:
            assert one.best.parameters[name].tobytes() == other.best.parameters[name].tobytes(), name
    assert one.state.order.tolist() == other.state.order.tolist()
    assert one.rows.tolist() == other.rows.tolist()
    assert timeless(one.history) == timeless(other.history)
    assert (one.definition, one.optimizer) == (other.definition, other.optimizer)


def uncut(folder: Path, **options: Any) -> Checkpoint:
    recorder = Recorder(folder=folder)
    assert a_run(**options).run(recorder)
    return recorder.newest()


def cut(folder: Path, places: list[int], **options: Any) -> Checkpoint:
    """The same run stopped before each of ``places``, batches counted from the last stop, and resumed from the file."""
    recorder = Recorder(places[0], folder)
    finished = a_run(**options).run(recorder)
    for place in [*places[1:], None]:
        assert not finished, "over before it could be cut"
        assert recorder.kinds[-1][0] == "interrupted"
        recorder.stop_after, recorder.asked = place, 0
        finished = a_run(resume=recorder.newest(), **options).run(recorder)
    assert finished
    assert [kind for kind, _, _ in recorder.kinds].count("first") == 1
    return recorder.newest()


class TestResume:
    """Interrupted and resumed from the file of its checkpoint, a run ends in the same bits as uncut."""

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    @pytest.mark.parametrize("seed", range(3))
    def test_at_random_batches(self, tmp_path: Path, optimizer: str, seed: int) -> None:
        options = {"optimizer": OPTIMIZERS[optimizer], "epochs": 6, "validation_fraction": 0.25, "seed": seed}
        steps = 6 * a_run(**options).training.steps_per_epoch
        generator = np.random.default_rng([seed, len(optimizer)])
        places = sorted(generator.choice(steps, 3, replace=False).tolist())
        relative = np.diff(places, prepend=0).tolist()
        whole = uncut(tmp_path, **options)
        assert whole.state.step == steps
        assert_same_bits(cut(tmp_path, relative, **options), whole)

    @pytest.mark.parametrize("place", [0, 5, 6, 12, 35])
    def test_at_the_edges_of_epochs(self, tmp_path: Path, place: int) -> None:
        options: dict[str, Any] = {"epochs": 6}
        assert a_run(**options).training.steps_per_epoch == 6
        assert_same_bits(cut(tmp_path, [place], **options), uncut(tmp_path, **options))

    @pytest.mark.parametrize(
        "options",
        [
            {"shuffle": False},
            {"batch_size": "full"},
            {"batch_size": 1, "epochs": 2},
            {"batch_size": 1000},
            {"dtype": "float64"},
            {"every_epochs": 1, "keep": 0},
        ],
        ids=str,
    )
    def test_with_other_batches(self, tmp_path: Path, options: dict[str, Any]) -> None:
        options = {"epochs": 5, **options}
        assert_same_bits(cut(tmp_path, [1, 2], **options), uncut(tmp_path, **options))

    def test_with_rows_held_out_by_the_client(self, tmp_path: Path) -> None:
        options: dict[str, Any] = {"validation": some_rows(11, 2), "epochs": 3}
        whole = uncut(tmp_path, **options)
        assert all(epoch.validation_loss is not None for epoch in whole.history)
        assert_same_bits(cut(tmp_path, [4, 5], **options), whole)

    def test_with_a_penalty(self, tmp_path: Path) -> None:
        options: dict[str, Any] = {"definition": a_definition(l2=0.01), "epochs": 3, "validation_fraction": 0.3}
        assert_same_bits(cut(tmp_path, [7], **options), uncut(tmp_path, **options))

    def test_from_a_checkpoint_on_the_way(self, tmp_path: Path) -> None:
        recorder = Recorder(folder=tmp_path)
        a_run(epochs=6, every_epochs=2).run(recorder)
        assert [kind for kind, _, _ in recorder.kinds] == ["first", "between", "between", "last"]
        for file in recorder.files[:-1]:
            again = Recorder(folder=tmp_path / f"from {file.name}")
            again.folder.mkdir()
            a_run(epochs=6, every_epochs=2, resume=load_checkpoint(file)).run(again)
            assert_same_bits(again.newest(), recorder.newest())

    def test_a_finished_run_has_nothing_left_to_do(self, tmp_path: Path) -> None:
        whole = uncut(tmp_path, epochs=2)
        recorder = Recorder(folder=tmp_path)
        assert a_run(epochs=2, resume=whole).run(recorder)
        assert recorder.epochs == []
        assert_same_bits(recorder.newest(), whole)

    def test_seeds_make_other_runs(self, tmp_path: Path) -> None:
        one, other = uncut(tmp_path, seed=1), uncut(tmp_path, seed=2)
        again = uncut(tmp_path, seed=1)
        assert_same_bits(one, again)
        assert any((one.parameters[name] != other.parameters[name]).any() for name in one.parameters)
        assert one.state.order.tolist() != other.state.order.tolist()


class TestPolicy:
    """When the state is saved."""

    @pytest.mark.parametrize(
        ("every", "kept"),
        [
            (None, [("first", 0), ("last", 6)]),
            (1, [("first", 0), *(("between", epoch) for epoch in range(1, 6)), ("last", 6)]),
            (4, [("first", 0), ("between", 4), ("last", 6)]),
            (6, [("first", 0), ("last", 6)]),
            (100, [("first", 0), ("last", 6)]),
        ],
    )
    def test_every_so_many_epochs(self, every: int | None, kept: list[tuple[str, int]]) -> None:
        recorder = Recorder()
        assert a_run(epochs=6, every_epochs=every).run(recorder)
        assert [(kind, epoch) for kind, epoch, _ in recorder.kinds] == kept
        assert [epoch.number for epoch in recorder.epochs] == [1, 2, 3, 4, 5, 6]

    def test_every_so_many_seconds(self) -> None:
        now = [0.0]

        class Clock(Recorder):
            """Half a second passes before each batch."""

            def stopping(self) -> bool:
                now[0] += 0.5
                return super().stopping()

        recorder = Clock()
        run = a_run(epochs=3, every_seconds=2.0)
        assert run.run(recorder, clock=lambda: now[0])
        between = [(epoch, position) for kind, epoch, position in recorder.kinds if kind == "between"]
        # 3 epochs of 6 batches: due before the fourth batch, and so on every fourth question after the last saving;
        # a saving asks once more whether to stop, which takes half a second as well.
        assert recorder.kinds[0][0] == "first"
        assert recorder.kinds[-1][0] == "last"
        assert len(between) == 5
        assert between[0] == (0, 3 * 8)
        assert between == sorted(set(between))

    def test_saving_by_the_clock_changes_no_bit(self, tmp_path: Path) -> None:
        ticks = iter(range(10**6))
        recorder = Recorder(folder=tmp_path)
        a_run(epochs=4, every_seconds=3.0).run(recorder, clock=lambda: float(next(ticks)))
        assert len(recorder.kinds) > 4
        whole = uncut(tmp_path, epochs=4)
        assert_same_bits(recorder.newest(), whole)
        again = Recorder(folder=tmp_path)
        a_run(epochs=4, resume=load_checkpoint(recorder.files[2])).run(again)
        assert_same_bits(again.newest(), whole)

    def test_a_stop_wins_over_the_clock(self) -> None:
        recorder = Recorder(stop_after=3)
        assert not a_run(epochs=3, every_seconds=1.0).run(recorder, clock=lambda: 0.0)
        assert recorder.kinds == [("first", 0, 0), ("interrupted", 0, 24)]


class TestStart:
    """Beginning at another run's checkpoint."""

    @pytest.fixture
    def trained(self, tmp_path: Path) -> Checkpoint:
        return uncut(tmp_path, epochs=3, optimizer=Adam(0.01))

    def test_weights_and_moments_of_an_equal_optimizer_are_taken_over(self, trained: Checkpoint) -> None:
        run = a_run(epochs=1, optimizer=Adam(0.01), start=trained, seed=99)
        state = run.checkpoint()
        for name, array in trained.parameters.items():
            assert np.array_equal(state.parameters[name], array)
        for moment, arrays in trained.state.moments.items():
            for name, array in arrays.items():
                assert np.array_equal(state.state.moments[moment][name], array)
                assert array.any()
        assert state.state.step == trained.state.step
        assert (state.state.epoch, state.history) == (0, [])

    @pytest.mark.parametrize("optimizer", [Adam(0.02), SGD(0.1, momentum=0.5), RMSProp(), SGD(0.1)], ids=repr)
    def test_another_optimizer_starts_fresh(self, trained: Checkpoint, optimizer: Optimizer) -> None:
        state = a_run(epochs=1, optimizer=optimizer, start=trained).checkpoint()
        for name, array in trained.parameters.items():
            assert np.array_equal(state.parameters[name], array)
        assert state.state.step == 0
        assert not any(array.any() for arrays in state.state.moments.values() for array in arrays.values())

    def test_epochs_are_what_this_run_adds(self, trained: Checkpoint) -> None:
        recorder = Recorder()
        run = a_run(epochs=2, optimizer=Adam(0.01), start=trained)
        assert run.run(recorder)
        assert [epoch.number for epoch in recorder.epochs] == [1, 2]
        assert run.training.step == trained.state.step + 2 * run.training.steps_per_epoch

    def test_going_on_without_shuffling_is_the_longer_run(self, tmp_path: Path) -> None:
        options: dict[str, Any] = {"optimizer": Adam(0.01, decay=0.01), "shuffle": False}
        whole = uncut(tmp_path, epochs=5, **options)
        start = uncut(tmp_path, epochs=3, **options)
        rest = uncut(tmp_path, epochs=2, start=start, **options)
        for name, array in whole.parameters.items():
            assert array.tobytes() == rest.parameters[name].tobytes()
        assert rest.state.step == whole.state.step
        assert [replace(epoch, number=epoch.number + 3, seconds=0.0) for epoch in rest.history] == timeless(
            whole.history[3:]
        )

    def test_it_resumes_to_the_same_bits(self, tmp_path: Path, trained: Checkpoint) -> None:
        options: dict[str, Any] = {"epochs": 3, "optimizer": Adam(0.01), "start": trained}
        whole = uncut(tmp_path, **options)
        recorder = Recorder(7, tmp_path)
        assert not a_run(**options).run(recorder)
        again = Recorder(folder=tmp_path)
        again.files = list(recorder.files)
        a_run(epochs=3, optimizer=Adam(0.01), resume=recorder.newest()).run(again)
        assert_same_bits(again.newest(), whole)


class TestSplit:
    """Rows held out by a share of each class."""

    def test_a_run_trains_on_the_rest_and_scores_the_share(self) -> None:
        data = some_rows(60)
        run = a_run(data=data, validation_fraction=0.25, epochs=1)
        recorder = Recorder()
        run.run(recorder)
        held_out = np.setdiff1d(np.arange(60), run.rows)
        assert (run.training.samples, len(held_out)) == (45, 15)
        x = data.inputs[held_out].astype(np.float32)
        codes = data.codes_for(("a", "b", "c"), "")[held_out]
        probabilities = run.training.network.predict_proba(x)
        (epoch,) = recorder.epochs
        assert epoch.validation_accuracy == (probabilities.argmax(axis=1) == codes).mean()
        expected = -np.log(probabilities[np.arange(15), codes]).mean(dtype=np.float64)
        assert epoch.validation_loss == pytest.approx(expected, rel=1e-6)


class TestRefusals:
    """Data that does not fit, and numbers that overflow."""

    def test_labels_outside_the_classes(self) -> None:
        with pytest.raises(InvalidError) as refusal:
            a_run(data=from_rows([[1, 2], [3, 4]], ["a", "z"]))
        assert [problem.pointer for problem in refusal.value.problems] == ["/data/labels/1"]

    def test_held_out_labels_outside_the_classes(self) -> None:
        with pytest.raises(InvalidError) as refusal:
            a_run(validation=from_rows([[1, 2], [3, 4]], ["z", "a"]))
        assert [problem.pointer for problem in refusal.value.problems] == ["/validation/labels/0"]

    def test_a_state_of_other_data(self, tmp_path: Path) -> None:
        state = uncut(tmp_path, epochs=1)
        with pytest.raises(ValueError, match="order must hold each of the 40 rows"):
            a_run(data=some_rows(40), resume=state)

    @pytest.mark.parametrize(("batch_size", "step"), [(8, 2), ("full", 1)])
    def test_divergence_names_step_and_parameter(self, batch_size: Any, step: int) -> None:
        # From weights of zero, the first step on inputs this large is beyond float32.
        layers = [{"type": "dense", "units": 3, "initializer": "zeros"}, {"type": "softmax"}]
        data = from_rows([[1e35, 1e35]] * 43, ["abc"[row % 3] for row in range(43)])
        run = a_run(definition=a_definition(layers=layers), batch_size=batch_size, optimizer=SGD(1e6), data=data)
        message = rf"step {step} \(epoch 1\): parameter 0_dense/weights is not finite"
        with pytest.raises(DivergedError, match=message) as found:
            run.run(Recorder())
        assert (found.value.epoch, found.value.step, found.value.parameter) == (1, step, "0_dense/weights")

    def test_no_epoch_is_recorded_whose_loss_is_not_finite(self) -> None:
        # The penalty makes each step multiply the weights by about -10, until their squares are beyond float32.
        recorder = Recorder()
        layers = [{"type": "dense", "units": 3, "l2": 1.0}, {"type": "softmax"}]
        run = a_run(definition=a_definition(layers=layers), batch_size="full", optimizer=SGD(5.5), epochs=100)
        with pytest.raises(DivergedError):
            run.run(recorder)
        assert recorder.epochs
        assert [epoch.number for epoch in recorder.epochs if not math.isfinite(epoch.loss)] == []

    def test_where_all_parameters_are_finite_still_the_gradient_is_named(self) -> None:
        message = r"step \d+ \(epoch 1\): the gradient of 0_dense/weights is not finite"
        with pytest.raises(DivergedError, match=message) as found:
            a_run(optimizer=SGD(1e6, momentum=0.9)).run(Recorder())
        assert found.value.parameter == "0_dense/weights"

    def test_memory_of_a_batch_counts_every_activation_twice(self) -> None:
        definition = a_definition(units=10)
        assert activation_bytes(definition, 7) == 2 * 7 * (2 + 10 + 10 + 3 + 3) * 4
        assert activation_bytes(a_definition(units=10, dtype="float64"), 7) == 2 * activation_bytes(definition, 7)


class TestFilesAlone:
    """A run checked by files: the first checkpoint and the recorded order give the second by the plain equations."""

    @pytest.mark.parametrize("optimizer", ["sgd", "momentum", "rmsprop", "adam"])
    @pytest.mark.parametrize("fraction", [None, 0.25])
    def test_epoch_1_follows_from_epoch_0(self, tmp_path: Path, optimizer: str, fraction: float | None) -> None:
        data = some_rows(50)
        run = a_run(
            definition=a_definition(dtype="float64", l2=0.01),
            data=data,
            epochs=2,
            every_epochs=1,
            optimizer=OPTIMIZERS[optimizer],
            validation_fraction=fraction,
        )
        recorder = Recorder(folder=tmp_path)
        assert run.run(recorder)
        first, second = recorder.files[:2]
        with h5py.File(first) as file:
            parameters = _arrays(file["parameters"])
            rule = json.loads(file["optimizer"].attrs["hyperparameters"])
            kind = file["optimizer"].attrs["type"]
            rows, order = file["training/rows"][()], file["training/permutation"][()]
            classes = json.loads(file.attrs["classes"])
            assert file["optimizer"].attrs["iterations"] == 0
        labels = np.array([classes.index("abc"[code]) for code in data.labels.codes])
        assert len(rows) == (50 if fraction is None else 38)
        x, y = data.inputs[rows][order], labels[rows][order]

        loss, hits = _epoch(parameters, rule, kind, x, y, batch=8, l2=0.01)

        with h5py.File(second) as file:
            found = _arrays(file["parameters"])
            assert file["optimizer"].attrs["iterations"] == -(-len(x) // 8)
            assert file["training"].attrs["epoch"] == 1
            assert file["history/loss"][0] == pytest.approx(loss / len(x), rel=1e-12)
            assert file["history/accuracy"][0] == hits / len(x)
        assert found.keys() == parameters.keys()
        for name, value in parameters.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-10, atol=1e-13, err_msg=name)

    def test_the_data_order_recorded_at_an_epochs_end_is_the_next_one(self, tmp_path: Path) -> None:
        recorder = Recorder(folder=tmp_path)
        a_run(epochs=3, every_epochs=1, dtype="float64").run(recorder)
        orders = []
        for file in recorder.files:
            with h5py.File(file) as opened:
                orders.append(opened["training/permutation"][()].tolist())
        assert len({tuple(order) for order in orders}) == 4


def _arrays(group: h5py.Group) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    group.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def _epoch(
    theta: dict[str, np.ndarray],
    rule: dict[str, Any],
    kind: str,
    x: np.ndarray,
    y: np.ndarray,
    *,
    batch: int,
    l2: float,
) -> tuple[float, int]:
    """One epoch of dense, ReLU, dense, softmax by the equations of DESIGN.md; changes ``theta``."""
    m = {name: np.zeros_like(value) for name, value in theta.items()}
    s = {name: np.zeros_like(value) for name, value in theta.items()}
    loss, hits = 0.0, 0
    for t, start in enumerate(range(0, len(x), batch)):
        xb, yb = x[start : start + batch], y[start : start + batch]
        w1, b1, w2, b2 = (theta[f"{group}/{name}"] for group in ("0_dense", "2_dense") for name in ("weights", "bias"))
        z = xb @ w1 + b1
        h = np.maximum(0, z)
        logits = h @ w2 + b2
        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        loss += -np.log(p[np.arange(len(yb)), yb]).sum() + len(yb) * l2 * (w1**2).sum()
        hits += int((p.argmax(axis=1) == yb).sum())
        dlogits = (p - np.eye(p.shape[1])[yb]) / len(yb)
        dz = (dlogits @ w2.T) * (z > 0)
        gradients = {
            "0_dense/weights": xb.T @ dz + 2 * l2 * w1,
            "0_dense/bias": dz.sum(axis=0),
            "2_dense/weights": h.T @ dlogits,
            "2_dense/bias": dlogits.sum(axis=0),
        }
        rate = rule["learning_rate"] / (1 + rule["decay"] * t)
        for name, g in gradients.items():
            theta[name] = theta[name] + _step(rule, kind, rate, g, name, m, s, t + 1)
    return loss, hits


def _step(
    rule: dict[str, Any],
    kind: str,
    rate: float,
    g: np.ndarray,
    name: str,
    m: dict[str, np.ndarray],
    s: dict[str, np.ndarray],
    t: int,
) -> np.ndarray:
    if kind == "sgd":
        m[name] = rule["momentum"] * m[name] - rate * g
        return m[name]
    if kind == "rmsprop":
        s[name] = rule["rho"] * s[name] + (1 - rule["rho"]) * g * g
        return -rate * g / np.sqrt(s[name] + rule["epsilon"])
    assert kind == "adam"
    m[name] = rule["beta1"] * m[name] + (1 - rule["beta1"]) * g
    s[name] = rule["beta2"] * s[name] + (1 - rule["beta2"]) * g * g
    m_hat, s_hat = m[name] / (1 - rule["beta1"] ** t), s[name] / (1 - rule["beta2"] ** t)
    return -rate * m_hat / np.sqrt(s_hat + rule["epsilon"])


def test_a_saved_state_is_of_its_moment(tmp_path: Path) -> None:
    """Checkpoints hold views of the state; their files do not change with later steps."""
    run = a_run(epochs=2)
    save_checkpoint(tmp_path / "a.h5", run.checkpoint())
    before = load_checkpoint(tmp_path / "a.h5")
    run.run(Recorder())
    save_checkpoint(tmp_path / "b.h5", run.checkpoint())
    after = load_checkpoint(tmp_path / "b.h5")
    assert load_checkpoint(tmp_path / "a.h5").state.step == before.state.step == 0
    assert after.state.step == 2 * run.training.steps_per_epoch
    assert any((before.parameters[name] != after.parameters[name]).any() for name in before.parameters)


def test_a_file_without_the_newer_parts_is_read(tmp_path: Path) -> None:
    """The checkpoint of a model without statistics, noise and schedule may leave out their groups."""
    recorder = Recorder(stop_after=9, folder=tmp_path)
    assert not a_run().run(recorder)
    path, whole = recorder.files[-1], recorder.newest()
    with h5py.File(path, "r+") as file:
        del file["statistics"]
        del file["training"].attrs["schedule"]
        streams = json.loads(file["training"].attrs["streams"])
        file["training"].attrs["streams"] = json.dumps({"order": streams["order"]})
    old = load_checkpoint(path)
    ends = [Recorder(folder=tmp_path) for _ in range(2)]
    for recorder, begin in zip(ends, (whole, old), strict=True):
        a_run(resume=begin).run(recorder)
    for name, array in ends[0].newest().parameters.items():
        assert array.tobytes() == ends[1].newest().parameters[name].tobytes()


def test_a_request_stored_without_the_newer_fields_is_read() -> None:
    stored = {
        "epochs": 3,
        "batch_size": 8,
        "shuffle": True,
        "seed": 0,
        "validation": None,
        "optimizer": {"type": "sgd", "learning_rate": 0.1, "momentum": 0.0, "nesterov": False, "decay": 0.0},
        "checkpoint": {"every_epochs": None, "every_seconds": None, "keep": 3},
        "publish": True,
    }
    request = TrainingRequest.of(stored)
    assert (request.publish, request.loss, request.early_stopping, request.reinitialize) == ("last", None, None, ())
