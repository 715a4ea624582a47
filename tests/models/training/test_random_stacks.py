"""Random stacks of all layers, under all optimizers, schedules and losses: saved, served, repeated, cut and resumed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.definition.definition import ModelDefinition
from models.formats.checkpoint_file import load_checkpoint
from models.formats.mapped_parameters import map_parameters
from models.training.request import TrainingRequest
from models.training.run import TrainingRun
from nncore import Dense, Dropout, Optimizer, Softmax
from nncore.network import Predictor
from nncore.stopping import EarlyStopping
from testing import cases
from testing.runs import Recorder, a_request, prepare, some_rows
from testing.saving import save_checkpoint
from tests.models.training.test_run import assert_same_bits

pytestmark = pytest.mark.slow

#: Cases that keep the numbers finite for a few epochs in any combination.
MILD = [layer for layer in cases.every(cases.LAYERS) if not isinstance(layer, Softmax)]
EPOCHS = 4


@st.composite
def runs(draw: st.DrawFn) -> dict[str, Any]:
    """The arguments of a training run over 43 rows in batches of 8, six an epoch."""
    layers = draw(st.lists(st.sampled_from(MILD), min_size=1, max_size=5))
    rule: Optimizer = draw(st.sampled_from(cases.every(cases.OPTIMIZERS)))
    optimizer = type(rule)(
        **{
            **{name: getattr(rule, name) for name in type(rule).__dataclass_fields__},
            "learning_rate": min(rule.learning_rate, 0.01),
            "schedule": draw(st.sampled_from(cases.every(cases.SCHEDULES))),
            "clip_norm": draw(st.sampled_from([None, 1.0])),
            "average": draw(st.sampled_from([None, 0.9])),
            "accumulate": draw(st.sampled_from([1, 2])),
        }
    )
    definition = ModelDefinition(
        name="random",
        inputs=2,
        classes=("a", "b", "c"),
        layers=(*layers, Dense(3), Softmax()),
        loss=draw(st.sampled_from(cases.every(cases.LOSSES))),
        dtype=draw(st.sampled_from(["float32", "float64"])),
    )
    request = a_request(
        epochs=EPOCHS,
        optimizer=optimizer,
        seed=draw(st.integers(0, 100)),
        validation_fraction=draw(st.sampled_from([None, 0.25])),
        class_weights=draw(st.sampled_from([None, "balanced"])),
        early_stopping=draw(st.sampled_from([None, EarlyStopping(patience=1)])),
    )
    return {"definition": definition, "request": request}


def run_of(arguments: dict[str, Any], **more: Any) -> TrainingRun:
    definition: ModelDefinition = arguments["definition"]
    request: TrainingRequest = arguments["request"]
    return TrainingRun(request, prepare(definition, request, some_rows()), **more)


@given(arguments=runs(), place=st.integers(0, 6 * EPOCHS - 1))
@settings(max_examples=60, derandomize=True)
def test_cut_at_any_batch_it_ends_in_the_same_bits(arguments: dict[str, Any], place: int) -> None:
    """Parameters, moments, statistics, history, learning rates and streams; and an identical run gives the same."""
    with tempfile.TemporaryDirectory() as folder:
        whole, again, cut = (Recorder(folder=Path(folder, name)) for name in ("whole", "again", "cut"))
        for recorder in (whole, again, cut):
            assert recorder.folder is not None
            recorder.folder.mkdir()
        run_of(arguments).run(whole)
        run_of(arguments).run(again)
        assert_same_bits(again.newest(), whole.newest())
        cut.stop_after = place
        if not run_of(arguments).run(cut):
            cut.stop_after = None
            assert run_of(arguments, resume=cut.newest()).run(cut)
        assert_same_bits(cut.newest(), whole.newest())


@given(arguments=runs())
@settings(max_examples=40, derandomize=True)
def test_what_is_saved_is_what_is_served(arguments: dict[str, Any]) -> None:
    """A version mapped from its file predicts bit for bit what the trained network predicts."""
    run = run_of(arguments)
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(folder=Path(folder))
        run.run(recorder)
        mapped = map_parameters(recorder.files[-1])
        definition, arrays = mapped.definition, mapped.parameters
        checkpoint = load_checkpoint(recorder.files[-1])
        x = some_rows(17, seed=3).inputs
        served = Predictor(definition.layers, definition.inputs, arrays).predict_proba(x)
        loaded = Predictor(
            definition.layers, definition.inputs, {**checkpoint.evaluated, **checkpoint.evaluated_statistics}
        ).predict_proba(x)
        assert served.tobytes() == loaded.tobytes()
        np.testing.assert_allclose(served.sum(axis=1), 1.0, rtol=1e-5)
        # Loading and saving again changes nothing.
        copy = Path(folder) / "copy.h5"
        save_checkpoint(copy, checkpoint)
        assert_same_bits(load_checkpoint(copy), checkpoint)
        if run.request.early_stopping is None:
            trained = {**run.training.evaluated, **run.training.evaluated_statistics}
            assert Predictor(definition.layers, 2, trained).predict_proba(x).tobytes() == served.tobytes()


def test_a_run_whose_noise_were_not_restored_would_end_otherwise() -> None:
    """The control: with the random stream left out, the bits differ."""
    definition = ModelDefinition("noise", 2, ("a", "b", "c"), (Dense(8), Dropout(0.5), Dense(3), Softmax()))
    arguments = {"definition": definition, "request": a_request(epochs=3)}
    with tempfile.TemporaryDirectory() as folder:
        whole, cut = Recorder(folder=Path(folder)), Recorder(stop_after=8, folder=Path(folder))
        run_of(arguments).run(whole)
        expected = whole.newest()
        assert not run_of(arguments).run(cut)
        half = cut.newest()
        half.state.streams["noise"] = run_of(arguments).training.state().streams["noise"]
        cut.stop_after = None
        run_of(arguments, resume=half).run(cut)
        assert cut.newest().parameters["0_dense/weights"].tobytes() != expected.parameters["0_dense/weights"].tobytes()
