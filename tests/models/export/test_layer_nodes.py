"""Every layer as operators against its own inference, for ordinary and for extreme rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.export.graph import Graph
from models.export.layer_nodes import LAYER_NODES
from nncore.arrays import Array
from nncore.layers import LAYERS, Layer
from nncore.network import Dtype
from testing.cases import LAYERS as CASES
from testing.cases import every, label
from testing.onnx import answer_of

INPUTS = 5
DTYPES: tuple[Dtype, ...] = ("float32", "float64")
#: What is asked of results: of those of float64, that nothing was computed in float32.
TOLERANCE = {"float32": 1e-5, "float64": 1e-11}


def test_every_layer_can_be_exported() -> None:
    assert set(LAYER_NODES) == set(LAYERS.values())
    assert {type(layer) for layer in every(CASES)} == set(LAYERS.values())


def drawn(layer: Layer, dtype: Dtype, seed: int, members: int = 0) -> dict[str, Array]:
    """Parameters and statistics of a layer that reads ``INPUTS`` numbers; those of several networks are stacked."""
    random = np.random.default_rng(seed)
    shapes = layer.parameter_shapes(INPUTS) | {name: x.shape for name, x in layer.initial_statistics(INPUTS).items()}
    found = {name: random.normal(size=(max(members, 1), *shape)) for name, shape in shapes.items()}
    if "running_variance" in found:
        found["running_variance"] **= 2
    return {name: (array if members else array[0]).astype(dtype) for name, array in found.items()}


def exported(layer: Layer, parameters: Mapping[str, Array], dtype: Dtype, x: Array) -> Array:
    """The layer's output by ONNX Runtime, (rows, units); the rows of several networks follow each other."""
    graph = Graph(np.dtype(dtype), ("x", "y"))
    read = graph.input("x", graph.dtype, x.shape[1])
    y = LAYER_NODES[type(layer)](graph, layer, parameters, read)
    units = layer.output_size(x.shape[1])
    graph.output("y", graph.call("Reshape", y, np.array([-1, units])), graph.dtype, units)
    graph.model.graph.name = "layer"
    onnx.checker.check_model(graph.model, full_check=True)
    return answer_of(graph.model.SerializeToString(), {"x": x})["y"]


def assert_close(found: Array, expected: Array, dtype: Dtype) -> None:
    assert found.dtype == expected.dtype == dtype
    scale = np.maximum(np.abs(expected), 1.0)
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layer", every(CASES), ids=label)
@given(seed=st.integers(0, 2**32 - 1), data=st.data())
@settings(max_examples=6)
def test_a_layer_is_what_it_is_at_prediction(layer: Layer, dtype: Dtype, seed: int, data: st.DataObject) -> None:
    width = 32 if dtype == "float32" else 64
    numbers = st.one_of(st.floats(-4, 4, width=width), st.floats(-1e4, 1e4, width=width))
    rows = data.draw(st.lists(st.lists(numbers, min_size=INPUTS, max_size=INPUTS), min_size=1, max_size=6))
    x, parameters = np.array(rows, dtype), drawn(layer, dtype, seed)
    assert_close(exported(layer, parameters, dtype, x), layer.apply(parameters, x), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layer", [layer for layer in every(CASES) if layer.parameter_shapes(INPUTS)], ids=label)
def test_stacked_parameters_are_those_of_several_networks(layer: Layer, dtype: Dtype) -> None:
    parameters = drawn(layer, dtype, 1, members=3)
    x = np.random.default_rng(2).normal(size=(4, INPUTS)).astype(dtype)
    expected = np.stack([layer.apply({name: each[m] for name, each in parameters.items()}, x) for m in range(3)])
    stacked = {name: each if each.ndim == 3 else each[:, np.newaxis] for name, each in parameters.items()}
    assert_close(exported(layer, stacked, dtype, x), expected.reshape(-1, expected.shape[-1]), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layer", [layer for layer in every(CASES) if layer.elementwise], ids=label)
def test_tiny_and_huge_numbers(layer: Layer, dtype: Dtype) -> None:
    """Near 0, a result has the precision of its own size, and large ones saturate as they do here."""
    tiny = np.array([[0.0, 1e-12, -1e-12, 1e-7, -1e-7]], dtype)
    found, expected = exported(layer, {}, dtype, tiny), layer.apply({}, tiny)
    np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype == "float32" else 1e-11, atol=0)
    huge = np.array([[88.0, -88.0, 700.0, -700.0, -1e9]], dtype)
    assert_close(exported(layer, {}, dtype, huge), layer.apply({}, huge), dtype)
