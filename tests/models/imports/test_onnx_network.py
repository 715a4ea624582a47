"""ONNX files predict what ONNX Runtime predicts with them; what is no multilayer perceptron is refused by its place."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
import skl2onnx
import torch

from models.errors import InvalidError, UnreadableError
from models.imports.onnx_network import onnx_network
from models.imports.onnx_operators import OPERATORS
from nncore.arrays import Array
from tests.models.imports import test_sklearn_network as sklearn_cases
from tests.models.imports.cases import CASES, INPUTS, torch_like
from tests.models.imports.refused import REFUSED, edited
from tests.models.imports.support import by_runtime, imported, predict


def test_every_operator_has_a_case() -> None:
    found = set[tuple[str, str]]()
    for make in CASES.values():
        found |= {(each.domain, each.op_type) for each in onnx.ModelProto.FromString(make()).graph.node}
    assert found == set(OPERATORS)


def probabilities(content: bytes, rows: Array, classes: Sequence[Any]) -> Array:
    """The probabilities of ONNX Runtime, whatever the last output is; a map has them by their classes."""
    given, last = by_runtime(content, rows)[-1], onnx.ModelProto.FromString(content).graph.node[-1]
    if isinstance(given, list):
        return np.array([[each[label] for label in classes] for each in given])
    if given.shape[1] == 1:
        return np.concatenate([1 - given, given], axis=1)
    kinds = {each.op_type for each in onnx.ModelProto.FromString(content).graph.node if "y" in each.output}
    if kinds & {"Softmax", "Concat"}:
        return np.asarray(given)
    # Of logits, or of their logarithms of a softmax, the softmax is the same.
    assert last.op_type in ("Gemm", "Add", "LogSoftmax")
    powers = np.exp(given.astype("f8"))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("name", CASES)
def test_it_predicts_what_the_runtime_predicts(name: str) -> None:
    content = CASES[name]()
    rows = np.random.default_rng(5).normal(size=(50, INPUTS)) * 2
    version = imported(onnx_network(content))
    rows = np.round(rows) if name == "a whole-number input" else rows
    expected = probabilities(content, rows, version.definition.classes)
    tolerance = 1e-12 if version.definition.dtype == "float64" else 2e-6
    assert (version.definition.dtype == "float64") == (name == "float64")
    np.testing.assert_allclose(predict(version, rows), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "classes"),
    {
        "logits": (0, 1, 2),
        "two classes of skl2onnx": (3, -4),
        "three classes of skl2onnx": ("a", "b", "ü"),
        "maps of skl2onnx": ("a", "b", "ü"),
        "maps of numbers": (7, 5, 6),
        "labels by a table": ("a", "b", "c"),
        "labels by gather": ("a", "b", "ü"),
        "one logistic unit": (0, 1),
    }.items(),
)
def test_classes(name: str, classes: tuple[Any, ...]) -> None:
    assert imported(onnx_network(CASES[name]())).definition.classes == classes


@pytest.mark.parametrize("name", sorted(sklearn_cases.CLASSIFIERS.keys() - {"two scalers"}))  # one is left out
@pytest.mark.parametrize("maps", [True, False])
def test_what_skl2onnx_converts(name: str, maps: bool) -> None:
    model, rows, labels = sklearn_cases.CLASSIFIERS[name]
    model = sklearn_cases.fitted(model, rows, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = skl2onnx.to_onnx(model, rows[:1].astype("f4"), options={"zipmap": maps}).SerializeToString()
    version = imported(onnx_network(content))
    expected = by_runtime(content, rows)[-1]
    if maps:
        expected = np.array([list(each.values()) for each in expected])
    np.testing.assert_allclose(predict(version, rows), expected, rtol=0, atol=2e-6)
    given = [int(each) if isinstance(each, float | bool) else each for each in model.classes_.tolist()]
    assert list(version.definition.classes) == given


def names_of_columns() -> tuple[str, ...]:
    return tuple(imported(onnx_network(CASES["columns"]())).definition.metadata["feature_names"])


def test_several_inputs_are_columns_by_name() -> None:
    assert names_of_columns() == ("p", "q", "r", "s")


@pytest.mark.parametrize("name", REFUSED)
def test_another_graph_is_refused_at_its_place(name: str) -> None:
    make, place, detail = REFUSED[name]
    with pytest.raises(InvalidError) as raised:
        imported(onnx_network(make()))
    problem = raised.value.problems[0]
    assert problem.pointer == place
    assert detail in problem.detail
    assert place == "/definition/layers" or "Received: " in problem.detail


def test_every_cut_of_a_file_is_refused() -> None:
    content = edited(lambda model: model.opset_import.pop(), torch_like(end="Softmax"))
    imported(onnx_network(content))
    for size in range(len(content)):
        with pytest.raises((InvalidError, UnreadableError)):
            imported(onnx_network(content[:size]))


def test_changed_bytes_are_read_or_refused() -> None:
    """Whatever they are, nothing else is raised."""
    random, good = np.random.default_rng(11), [make() for make in CASES.values()]
    read = 0
    for turn in range(1500):
        content = bytearray(good[turn % len(good)])
        for place in random.integers(0, len(content), random.integers(1, 4)):
            content[place] = random.integers(0, 256)
        try:
            imported(onnx_network(bytes(content)))
            read += 1
        except (InvalidError, UnreadableError):
            continue
    assert 0 < read < 1500


@pytest.mark.parametrize("opset", [11, 17, 20])
def test_what_torch_exports(opset: int) -> None:
    """Activations and normalizations come in one node or in several, by the version of the operators."""
    torch.manual_seed(0)
    stack = [
        *(torch.nn.Flatten(), torch.nn.Linear(INPUTS, 8), torch.nn.GELU(), torch.nn.LayerNorm(8)),
        *(torch.nn.Linear(8, 6, bias=False), torch.nn.BatchNorm1d(6), torch.nn.SiLU(), torch.nn.Dropout()),
        *(torch.nn.Linear(6, 6), torch.nn.GELU(approximate="tanh"), torch.nn.Linear(6, 3), torch.nn.LogSoftmax(dim=1)),
    ]
    network = torch.nn.Sequential(*stack)
    network[5].running_mean.uniform_()
    network[5].running_var.uniform_(0.5, 2.0)
    network.eval()
    file, rows = io.BytesIO(), torch.randn(30, 2, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch has a newer exporter, which needs one more package.
        options = {"dynamic_axes": {"x": {0: "rows"}}, "input_names": ["x"], "opset_version": opset}
        torch.onnx.export(network, (rows[:1],), file, dynamo=False, **options)
        expected = network(rows).exp().detach().numpy()
    version = imported(onnx_network(file.getvalue()))
    np.testing.assert_allclose(predict(version, rows.numpy().reshape(-1, INPUTS)), expected, rtol=0, atol=2e-6)
