"""Whole versions by ONNX Runtime against what the service answers: random layers, tables, several members."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.definition.definition import ModelDefinition
from models.errors import ConflictError
from models.export import onnx_file
from models.export.graph import IR_VERSION, OPSET
from models.export.onnx_file import Exported, onnx_bytes, onnx_model
from models.features.features import Feature
from models.formats.mapped_parameters import MappedNetwork, MappedVersion, map_parameters
from models.serving.served_model import ServedModel
from models.version import VERSION
from nncore import Dense, Network, Softmax
from nncore.arrays import Array
from testing import cases
from testing.onnx import answer_of, feeds_of, session_of
from testing.runs import a_run
from testing.saving import save_checkpoint
from testing.table_members import an_ensemble
from testing.tables import a_frame, a_table, a_table_run, of_table
from tests.models.training.test_ensemble_run import finished, kind

WHAT = Exported("points", 3, "ckpt_1")
#: What is asked of results: of those of float64, that nothing was computed in float32.
TOLERANCE = {"float32": 1e-5, "float64": 1e-11}
LAYERS = [layer for layer in cases.every(cases.LAYERS) if not isinstance(layer, Softmax)]


def answered(version: MappedVersion, feeds: dict[str, Array]) -> tuple[Array, Array]:
    """Probabilities and predictions by ONNX Runtime."""
    content = onnx_bytes(version, WHAT)
    onnx.checker.check_model(content, full_check=True)
    found = answer_of(content, feeds)
    return found["probabilities"], found["predictions"]


def assert_same(version: MappedVersion, feeds: dict[str, Array], expected: Array) -> None:
    """Both answer the same; a prediction may be another one if two classes are equally likely up to rounding."""
    probabilities, predictions = answered(version, feeds)
    assert probabilities.dtype == expected.dtype == np.dtype(version.definition.dtype)
    assert probabilities.shape == expected.shape
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=TOLERANCE[version.definition.dtype])
    labels = [version.definition.classes[code] for code in expected.argmax(axis=1)]
    sorted_rows = np.sort(expected, axis=1)
    clear = sorted_rows[:, -1] - sorted_rows[:, -2] > 2e-5
    assert [each for each, sure in zip(predictions.tolist(), clear, strict=True) if sure] == [
        each for each, sure in zip(labels, clear, strict=True) if sure
    ]


@given(
    layers=st.lists(st.sampled_from(LAYERS), min_size=1, max_size=5),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 1000),
    rows=st.integers(1, 9),
    size=st.sampled_from([0.1, 1.0, 30.0]),
)
@settings(max_examples=40, derandomize=True)
def test_a_network_of_random_layers(layers: list[Any], dtype: Any, seed: int, rows: int, size: float) -> None:
    stack = (*layers, Dense(3), Softmax())
    definition = ModelDefinition(name="random", inputs=4, classes=("a", "b", "c"), layers=stack, dtype=dtype)
    network = Network(stack, 4, seed=seed, dtype=dtype)
    random = np.random.default_rng(seed)
    for name, statistic in network.statistics.items():
        drawn = random.normal(size=statistic.shape)
        statistic[...] = drawn**2 + 0.1 if name.endswith("variance") else drawn
    version = MappedVersion(definition, [MappedNetwork("", {**network.parameters, **network.statistics})], None)
    x = (random.normal(size=(rows, 4)) * size).astype(dtype)
    assert_same(version, {"inputs": x}, network.predict_proba(x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_version_of_plain_inputs(tmp_path: Path, dtype: str) -> None:
    """What its file says of it, and that the same version gives the same bytes."""
    save_checkpoint(tmp_path / "one.h5", a_run(dtype=dtype).checkpoint())
    version = map_parameters(tmp_path / "one.h5")
    x = np.random.default_rng(1).normal(size=(7, 2)).astype(dtype)
    assert_same(version, {"inputs": x}, ServedModel(tmp_path / "one.h5").predict_proba(x))
    model = onnx_model(version, WHAT)
    assert (model.ir_version, model.model_version, model.graph.name) == (IR_VERSION, 3, "points")
    assert [each.version for each in model.opset_import if not each.domain] == [OPSET]
    assert (model.producer_name, model.producer_version) == ("trainyard", VERSION)
    assert {each.key: each.value for each in model.metadata_props} == {
        "model": "points",
        "version": "3",
        "checkpoint": "ckpt_1",
        "classes": '["a", "b", "c"]',
    }
    assert {node.op_type for node in model.graph.node} == {"Gemm", "Relu", "Softmax", "ArgMax", "Gather", "Identity"}
    assert onnx_bytes(version, WHAT) == onnx_bytes(version, WHAT) == model.SerializeToString(deterministic=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_version_of_a_table_with_every_kind_of_column(tmp_path: Path, dtype: str) -> None:
    table = a_table(a_frame().drop(columns="notes"))
    definition = of_table(table, features={"age": {"scale": "quantile"}}, dtype=dtype)
    save_checkpoint(tmp_path / "table.h5", a_table_run(table, definition=definition).checkpoint())
    version, served = map_parameters(tmp_path / "table.h5"), ServedModel(tmp_path / "table.h5")
    features, others = _features(version), a_table(a_frame(40, seed=9).drop(columns="notes"))
    assert served.plan is not None
    assert_same(version, feeds_of(features, others), served.predict_proba(served.plan.table(others)))
    facts = {each.key: each.value for each in onnx_model(version, WHAT).metadata_props}
    assert facts["label"] == "label"
    assert [(each["column"], each["type"], each["missing"]) for each in json.loads(facts["columns"])] == [
        ("age", "double", "NaN"),
        ("sex", "string", ""),
        ("member", "int64", -1),
        ("day", "int64", -(2**63)),
    ]
    session = session_of(onnx_bytes(version, WHAT))
    types = {"number": "double", "category": "string", "boolean": "int64", "datetime": "int64"}
    assert [(each.name, each.type, each.shape) for each in session.get_inputs()] == [
        (feature.column, f"tensor({types[feature.reads]})", ["rows", 1]) for feature in features
    ]


def _features(version: MappedVersion) -> list[Feature]:
    assert version.features is not None
    return [feature for feature, width in zip(version.features.features, version.features.widths, strict=True) if width]


def test_columns_that_become_no_number_are_no_inputs(tmp_path: Path) -> None:
    frame = a_frame().drop(columns="notes").assign(same=1.0, aside=2.0)
    table = a_table(frame)
    definition = of_table(table, features={"same": {"scale": "robust_clip"}, "aside": "ignore"})
    save_checkpoint(tmp_path / "table.h5", a_table_run(table, definition=definition).checkpoint())
    session = session_of(onnx_bytes(map_parameters(tmp_path / "table.h5"), WHAT))
    assert [each.name for each in session.get_inputs()] == ["age", "sex", "member", "day"]


def test_a_row_that_the_service_refuses_has_no_probabilities(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.linspace(-1, 1, 40), "y": np.linspace(3, 9, 40)})
    frame["label"] = np.where(frame["x"] > 0, "high", "low").astype(object)
    table = a_table(frame)
    definition = of_table(table, features="raw")
    save_checkpoint(tmp_path / "raw.h5", a_table_run(table, definition=definition).checkpoint())
    feeds = {"x": np.array([[0.5], [np.nan], [0.5]]), "y": np.array([[4.0], [4.0], [np.nan]])}
    probabilities, _ = answered(map_parameters(tmp_path / "raw.h5"), feeds)
    assert np.isnan(probabilities).all(axis=1).tolist() == [False, True, True]
    assert np.isfinite(probabilities[0]).all()


def test_several_members_of_several_kinds(tmp_path: Path) -> None:
    """Their mixture with its temperature; a baseline is no part of it."""
    checkpoint = finished()
    save_checkpoint(tmp_path / "many.h5", checkpoint)
    version, served = map_parameters(tmp_path / "many.h5"), ServedModel(tmp_path / "many.h5")
    assert version.mixture is not None
    assert version.mixture.temperature != 1.0
    assert len(version.networks) == 6
    for rows in (1, 50):
        x = np.random.default_rng(rows).normal(size=(rows, 2)).astype(np.float32) * 2
        assert_same(version, {"inputs": x}, served.predict_proba(x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_members_that_read_bins_and_members_that_do_not(tmp_path: Path, dtype: str) -> None:
    """Of a table; with layers of every kind that has parameters."""
    table = a_table(a_frame().drop(columns="notes"))
    both = ["batch_norm", {"type": "dense", "units": 4}, "gelu", "layer_norm"]
    kinds = [
        {**kind("binned", 4), "layers": [*both, {"type": "dense", "units": 2}, "softmax"]},
        {**kind("plain", 5, bins=False), "layers": [*both, {"type": "dense", "units": 2}, "softmax"]},
    ]
    features = {"age": {"scale": "robust_bins"}}
    checkpoint = an_ensemble(table, name="many", features=features, network={"folds": 3, "kinds": kinds}, dtype=dtype)
    save_checkpoint(tmp_path / "bins.h5", checkpoint)
    version, served = map_parameters(tmp_path / "bins.h5"), ServedModel(tmp_path / "bins.h5")
    assert version.features is not None
    assert version.features.bin_columns.any()
    assert served.plan is not None
    others = a_table(a_frame(40, seed=9).drop(columns="notes"))
    assert_same(version, feeds_of(_features(version), others), served.predict_proba(served.plan.table(others)))


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (("ä", "b", ""), "tensor(string)"),
        ((7, -3, 2**40), "tensor(int64)"),
        ((True, False), "tensor(bool)"),
        ((2**70, 1), "tensor(string)"),
    ],
)
def test_predictions_are_labels_of_the_classes_type(classes: tuple[Any, ...], expected: str) -> None:
    stack = (Dense(len(classes)), Softmax())
    definition = ModelDefinition(name="labels", inputs=2, classes=classes, layers=stack)
    network = Network(stack, 2, seed=4)
    version = MappedVersion(definition, [MappedNetwork("", dict(network.parameters))], None)
    x = np.random.default_rng(3).normal(size=(30, 2)).astype(np.float32)
    _, predictions = answered(version, {"inputs": x})
    wanted = [classes[code] for code in network.predict_proba(x).argmax(axis=1)]
    assert predictions.tolist() == ([*map(str, wanted)] if classes[0] == 2**70 else wanted)
    assert len(set(wanted)) > 1
    outputs = session_of(onnx_bytes(version, WHAT)).get_outputs()
    assert [(each.name, each.type) for each in outputs] == [
        ("probabilities", "tensor(float)"),
        ("predictions", expected),
    ]
    assert [each.shape for each in outputs] == [["rows", len(classes)], ["rows"]]


def test_a_class_that_is_no_text_is_refused() -> None:
    stack = (Dense(2), Softmax())
    definition = ModelDefinition(name="labels", inputs=2, classes=("\ud800", "b"), layers=stack)
    version = MappedVersion(definition, [MappedNetwork("", dict(Network(stack, 2).parameters))], None)
    with pytest.raises(ConflictError, match=r"names that are text\. Received: .*ud800") as refusal:
        onnx_bytes(version, WHAT)
    assert refusal.value.code == "not_exportable"


def test_a_version_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path / "one.h5", a_run().checkpoint())
    version = map_parameters(tmp_path / "one.h5")
    monkeypatch.setattr(onnx_file, "LARGEST", version.nbytes - 1)
    with pytest.raises(ConflictError, match=f"Received: {version.nbytes}") as refusal:
        onnx_bytes(version, WHAT)
    assert refusal.value.code == "not_exportable"
