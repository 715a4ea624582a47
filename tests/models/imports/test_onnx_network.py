"""ONNX files predict what ONNX Runtime predicts with them; what is no multilayer perceptron is refused by its place."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
import skl2onnx
import torch
from onnx import TensorProto, helper

from models.errors import InvalidError, UnreadableError
from models.imports.onnx_network import onnx_network
from models.imports.onnx_operators import OPERATORS
from nncore.arrays import Array
from tests.models.imports import test_sklearn_network as sklearn_cases
from tests.models.imports.cases import CASES, INPUTS, ML, W1, a_model, keras_like, node, number, torch_like
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


def edited(change: Callable[[Any], object], content: bytes | None = None) -> bytes:
    """A good file that was changed."""
    model = onnx.ModelProto.FromString(torch_like() if content is None else content)
    change(model)
    edited: bytes = model.SerializeToString()
    return edited


def _external(model: Any) -> None:
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    model.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")


def _dims(*sizes: int) -> Callable[[Any], object]:
    def change(model: Any) -> None:
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend(sizes)

    return change


def _input(*sizes: int | None, kind: int = TensorProto.FLOAT) -> Callable[[Any], object]:
    return lambda model: model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", kind, sizes))


def _loop(model: Any) -> None:
    model.graph.node[0].input[0] = "y"


REFUSED: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "a convolution": (
        lambda: torch_like(node("Conv", "h w1", "a")), "/graph/node/1", "the node 'Conv a' must be an operator of a mul"
    ),
    "a tree": (
        lambda: keras_like(node("TreeEnsembleClassifier", "z", "y", domain=ML)), "/graph/node/5", "ai.onnx.ml.Tree"
    ),
    "an operator of its own": (lambda: torch_like(node("Relu", "h", "a", domain="my.own")), "/graph/node/1", "my.own"),
    "quantized": (lambda: torch_like(node("DequantizeLinear", "h b1", "a")), "/graph/node/1", "DequantizeLinear"),
    "a subgraph": (lambda: torch_like(node("If", "h", "a")), "/graph/node/1", "Received: If"),
    "ReLU6": (lambda: torch_like(node("Clip", "h l u", "a"), constants={"l": number(0), "u": number(6)}),
              "/graph/node/1", "one of the activations relu"),
    "another activation": (lambda: torch_like(node("Exp", "h", "a")), "/graph/node/1", "one of the activations relu"),
    "a slope for each unit": (
        lambda: torch_like(node("PRelu", "h s", "a"), constants={"s": np.full(5, 0.1, "f4")}), "/graph/node/1", "shape"
    ),
    "a steep slope": (lambda: torch_like(node("LeakyRelu", "h", "a", alpha=2.0)), "/graph/node/1", "activations"),
    "a branch": (
        lambda: torch_like(node("Relu", "h", "r"), node("Gemm", "r b c", "g"), node("Add", "h g", "a"),
                           constants={"b": np.eye(5, dtype="f4"), "c": np.zeros(5, "f4")}),
        "/graph/node/3", "must follow one another",
    ),
    "one regression": (lambda: keras_like(node("Identity", "z", "y"), width=1), "/graph/output", "one number a row"),
    "several labels a row": (lambda: torch_like(end="Sigmoid"), "/graph/output/0", "Sigmoid of 3 labels a row"),
    "two networks": (
        lambda: keras_like(node("Gemm", "a w2", "q"), node("Softmax", "q", "r"), SOFTMAX, outputs="y r"),
        "/graph/output", "as one output. Received: y, r",
    ),
    "an input as output": (lambda: a_model([], {}, outputs="x"), "/graph/output", "must be made by a layer"),
    "no output": (lambda: edited(lambda model: model.graph.ClearField("output")), "/graph/output", "no output"),
    "an output that nothing makes": (
        lambda: edited(lambda model: model.graph.output.add(name="w")), "/graph/output/1", "nothing"
    ),
    "no input": (lambda: edited(lambda model: model.graph.ClearField("input")), "/graph/input", "none"),
    "texts": (lambda: edited(_input(None, 4, kind=TensorProto.STRING)), "/graph/input/0", "type 8"),
    "an input of any width": (lambda: edited(_input(None, None)), "/graph/input/0", "that the file states"),
    "an input of no width": (lambda: edited(_input(None, 0)), "/graph/input/0", "that the file states"),
    "a huge input": (lambda: edited(_input(None, 2**40, 2**40)), "/graph/input/0", "1 to 1000000"),
    "a negative width": (lambda: edited(_input(None, -4)), "/graph/input/0", "that the file states"),
    "one dimension": (lambda: edited(_input(4)), "/graph/input/0", "the shape (rows, numbers)"),
    "pictures as they are": (lambda: edited(_input(None, 2, 2)), "/graph/node/0", "input of 3 dimensions"),
    "another width": (lambda: edited(_input(None, 5)), "/graph/node/0", "must have the shape (5, units)"),
    "external data": (lambda: edited(_external), "/graph/initializer/0", "without external data"),
    "2 GB": (lambda: edited(_dims(2**14, 2**15)), "/graph/initializer/0", "must have 2147483648 bytes"),
    "more than all memory": (lambda: edited(_dims(2**40, 2**40)), "/graph/initializer/0", "bytes"),
    "a negative size": (lambda: edited(_dims(-5, -4)), "/graph/initializer/0", "a size in each dimension"),
    "another size": (lambda: edited(_dims(4, 4)), "/graph/initializer/0", "must have 64 bytes"),
    "complex weights": (
        lambda: edited(lambda model: setattr(model.graph.initializer[0], "data_type", TensorProto.COMPLEX64)),
        "/graph/initializer/0", "type 14 of TensorProto",
    ),
    "weights that are not finite": (
        lambda: torch_like(node("Gemm", "h n", "a"), constants={"n": np.full((5, 5), np.nan, "f4")}),
        "/graph/node/1", "must be finite",
    ),
    "whole weights": (
        lambda: a_model([node("MatMul", "x w", "y")], {"w": np.ones((4, 3), "i8")}), "/graph/node/0", "int64 of (4, 3)"
    ),
    "a cycle": (lambda: edited(_loop), "/graph/node/0", "an earlier node makes. Received: 'y'"),
    "a name that is made twice": (
        lambda: torch_like(node("Relu", "h", "h")), "/graph/node/1", "names of its own. Received: 'h'"
    ),
    "weights times rows": (lambda: a_model([node("MatMul", "w x", "y")], {"w": W1}), "/graph/node/0", "as input 1"),
    "a transposed input": (lambda: torch_like(node("Gemm", "h w1", "a", transA=1)), "/graph/node/1", "transA"),
    "a softmax of columns": (
        lambda: keras_like(node("Softmax", "z", "y", axis=0)), "/graph/node/5", "must have axis = 1 or -1. Received: 0"
    ),
    "training": (
        lambda: torch_like(node("Dropout", "h - t", "a"), constants={"t": np.array(True)}), "/graph/node/1", "training"
    ),
    "half of a normalization": (
        lambda: torch_like(node("ReduceMean", "h", "m", axes=[-1]), node("Sub", "m h", "a"), opset=16),
        "/graph/node/2", "a part of a layer normalization",
    ),
    "no operators' version": (
        lambda: edited(lambda model: model.ClearField("opset_import")), "/opsetImport", "nothing"
    ),
    "no graph": (lambda: onnx.ModelProto(ir_version=9).SerializeToString(), "/graph", "nothing"),
    "too many layers": (
        lambda: a_model(
            [node("Gemm", f"y{index} w", f"y{index + 1}") for index in range(2000)],
            {"w": np.eye(4, dtype="f4")}, inputs="y0", outputs="y2000",
        ),
        "/graph/node/1024", "at most 1024 layers",
    ),
    "more layers than a definition has": (
        lambda: a_model(
            [node("Gemm", f"y{index} w", f"y{index + 1}") for index in range(300)],
            {"w": np.eye(4, dtype="f4")}, inputs="y0", outputs="y300",
        ),
        "/definition/layers", "256",
    ),
}  # fmt: skip
SOFTMAX = node("Softmax", "z", "y", axis=1)


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
