"""Reading an ONNX file without trust: the network of a graph whose nodes are a multilayer perceptron.

The graph is walked once, with a value for each name (``onnx_values``) and a table of operators (``onnx_operators``).
https://onnx.ai/onnx/repo-docs/IR.html describes the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.data.labels import Label
from models.errors import UnreadableError, describe, listed
from models.imports.chain import Chain, refused
from models.imports.network import Found
from models.imports.onnx_operators import OPERATORS, Call
from models.imports.onnx_tensors import FLOATS, INTEGERS, array_of
from models.imports.onnx_values import Column, Curve, Input, Labels, Value, described, is_logistic, settled
from nncore.layers import Softmax

__all__ = ["onnx_network", "small_onnx"]

#: Inputs of a graph together.
MAXIMUM_INPUTS = 1_000_000


def onnx_network(content: bytes) -> Found:
    """The network in the bytes of an ONNX file.

    Raises InvalidError with the place of what is no multilayer perceptron, UnreadableError if the file is damaged, and
    ImportError if the package that parses it is not installed.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from onnx import ModelProto

    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise UnreadableError("invalid_network_file", f"the ONNX file cannot be read: {error}"[:500]) from None
    if not model.HasField("graph"):
        raise refused("/graph", "must be the model's graph", "nothing")
    with np.errstate(all="ignore"):  # Weights that are not finite are refused in the end.
        return _Graph(model).found()


def small_onnx() -> bytes:
    """A small ONNX file, by which a process can import all that reading one needs."""
    from onnx import helper

    rows = [helper.make_tensor_value_info(name, 1, [None, 2]) for name in ("x", "y")]
    weights = helper.make_tensor("w", 1, [2, 2], [1.0, 0.0, 0.0, 1.0])
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Softmax", ["m"], ["y"])]
    graph = helper.make_graph(nodes, "small", rows[:1], rows[1:], [weights])
    content: bytes = helper.make_model(graph).SerializeToString()
    return content


class _Graph:
    """A graph, whose names get their values as its nodes are read in order."""

    def __init__(self, model: Any) -> None:
        self._graph = model.graph
        opsets = [each.version for each in model.opset_import if each.domain in ("", "ai.onnx")]
        if not opsets:
            raise refused("/opsetImport", "must state the version of ONNX's operators", "nothing")
        self._opset = max(opsets)
        self._names: list[str] = []
        self._values: dict[str, Value] = {}

    def found(self) -> Found:
        """The network that the graph's outputs are made of."""
        for index, tensor in enumerate(self._graph.initializer):
            self._values[tensor.name] = array_of(tensor, f"/graph/initializer/{index}")
        self._begin()
        needed = self._needed()
        for index, node in enumerate(self._graph.node):
            if index in needed:
                self._call(node, f"/graph/node/{index}")
        return self._classifier()

    def _begin(self) -> None:
        """Give the graph's inputs their values: one input of rows, or several of one column each."""
        inputs = [
            (f"/graph/input/{index}", each)
            for index, each in enumerate(self._graph.input)
            if each.name not in self._values
        ]
        if not inputs:
            raise refused("/graph/input", "must have an input of rows of numbers", "none")
        sizes = [_sizes(place, each) for place, each in inputs]
        if len(inputs) == 1:
            flat = Chain.begin(int(np.prod(sizes[0], dtype=object)))
            self._values[inputs[0][1].name] = flat if len(sizes[0]) == 1 else Input(flat, sizes[0])
            return
        for index, ((place, each), size) in enumerate(zip(inputs, sizes, strict=True)):
            if size != (1,):
                raise refused(place, "must have one column, as there are several inputs", f"{size} numbers a row")
            self._values[each.name] = Column(index)
        self._names = [each.name for _, each in inputs]

    def _needed(self) -> set[int]:
        """The numbers of the nodes that the outputs depend on."""
        makers = dict[str, int]()
        for index, node in enumerate(self._graph.node):
            for name in filter(None, node.output):
                if name in makers or name in self._values:
                    wanted = "must make names of its own"
                    raise refused(f"/graph/node/{index}", wanted, f"{describe(name)}, which there is already")
                makers[name] = index
        needed, left = set[int](), [makers[each.name] for each in self._graph.output if each.name in makers]
        while left:
            index = left.pop()
            if index not in needed:
                needed.add(index)
                left += [makers[name] for name in self._graph.node[index].input if name in makers]
        return needed

    def _call(self, node: Any, place: str) -> None:
        domain = "" if node.domain == "ai.onnx" else node.domain
        for name in node.input:
            if name and name not in self._values:
                raise refused(place, "must read what the file or an earlier node makes", describe(name))
        inputs = [self._values[name] if name else None for name in node.input]
        call = Call(node, place, inputs, self._opset)
        operator = OPERATORS.get((domain, node.op_type))
        if operator is None:
            known = listed(sorted(name for _, name in OPERATORS), len(OPERATORS))
            kind = f"{node.domain}.{node.op_type}" if domain else node.op_type
            wanted = f"the node {describe(node.name)} must be an operator of a multilayer perceptron: {known}"
            raise refused(place, wanted, kind)
        self._values[node.output[0]] = operator(call)

    def _classifier(self) -> Found:
        """The classifier among the outputs; others may be its labels, or its logits."""
        chains, labels, classes = dict[str, Chain](), list[Labels](), None
        for index, output in enumerate(self._graph.output):
            place = f"/graph/output/{index}"
            value = self._values.get(output.name)
            if isinstance(value, Labels):
                labels.append(value)
                classes = value.classes or classes
                value = value.chain
            if not isinstance(value, Chain | Curve):
                raise refused(place, "must be made by the nodes", "nothing" if value is None else described(value))
            chains[output.name] = _ended(value, place)
        ended = {id(chain): chain for chain in chains.values() if isinstance(chain.last, Softmax)}
        others = {id(chain): chain for chain in chains.values()}
        candidates = list((ended or others).values())
        if len(candidates) != 1:
            raise refused("/graph/output", "must have probabilities as one output", listed(chains) or "no output")
        return Found(self._with_softmax(candidates[0]), _plain(classes), self._names)

    @staticmethod
    def _with_softmax(chain: Chain) -> Chain:
        if isinstance(chain.last, Softmax):
            return chain
        if not chain.steps:
            raise refused("/graph/output", "must be made by a layer", "the graph's input")
        if chain.width == 1:
            wanted = "must be probabilities or logits of two classes or more, or one probability made by Sigmoid"
            raise refused("/graph/output", wanted, "one number a row")
        return chain.softmax("/graph/output")


def _ended(value: Chain | Curve, place: str) -> Chain:
    """The chain of an output; the probability of one logistic unit becomes that of two classes."""
    if isinstance(value, Curve) and is_logistic(value):
        if value.chain.width == 1:
            return value.chain.two_classes(value.place)
        wanted = "the network must give each row one class, with Softmax at its end"
        raise refused(place, wanted, f"Sigmoid of {value.chain.width} labels a row")
    return settled(value)


def _sizes(place: str, given: Any) -> tuple[int, ...]:
    """The sizes of a row of an input, whose first dimension is the rows."""
    kind = given.type.tensor_type
    if given.type.WhichOneof("value") != "tensor_type" or kind.elem_type not in FLOATS | INTEGERS:
        raise refused(place, "must be a tensor of numbers", f"type {kind.elem_type} of TensorProto")
    sizes = tuple(each.dim_value for each in kind.shape.dim)[1:]
    total = int(np.prod(sizes, dtype=object)) if sizes else 0
    if min(sizes, default=0) < 1 or total > MAXIMUM_INPUTS:
        wanted = f"must have the shape (rows, numbers) with 1 to {MAXIMUM_INPUTS} numbers a row that the file states"
        raise refused(place, wanted, f"{len(kind.shape.dim)} dimensions, after the first {sizes}")
    return sizes


def _plain(classes: Sequence[Label] | None) -> Sequence[Label] | None:
    """The classes, if the file has labels: texts or whole numbers."""
    return list(classes) if classes else None
