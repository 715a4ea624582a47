"""What this service exports as ONNX comes back as the same network."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.definition.definition import ModelDefinition
from models.export.onnx_file import Exported, onnx_bytes
from models.formats.mapped_parameters import MappedNetwork, MappedVersion
from models.imports.network import version_of
from models.imports.onnx_network import onnx_network
from nncore import BatchNorm, Dense, Dropout, GaussianNoise, Layer, Network, ReLU, Softmax, Tanh
from nncore.network import Dtype
from testing import cases
from tests.models.imports.support import passed_on, predict

LAYERS = [layer for layer in cases.every(cases.LAYERS) if not isinstance(layer, Softmax)]


def _apart(layers: list[Layer]) -> list[Layer]:
    """The layers, with a dense one between activations, which would be one function otherwise."""
    found, activated = list[Layer](), False
    for layer in layers:
        if layer.elementwise and activated:
            found.append(Dense(4))
        found.append(layer)
        activated = layer.elementwise or (activated and isinstance(layer, Dropout | GaussianNoise))
    return found


@example(layers=[Dense(1), ReLU(), BatchNorm()], dtype="float32", seed=1)
@example(layers=[Dense(1), BatchNorm(), Tanh()], dtype="float64", seed=2)
@given(
    layers=st.lists(st.sampled_from(LAYERS), min_size=0, max_size=5),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, derandomize=True, deadline=None)
def test_an_exported_network_comes_back(layers: list[Layer], dtype: Dtype, seed: int) -> None:
    """Its version has the model's definition if the model is there, and another one of the same answers if not."""
    stack = (*_apart(layers), Dense(3), Softmax())
    definition = ModelDefinition(name="random", inputs=4, classes=("a", "b", "c"), layers=stack, dtype=dtype)
    network = Network(stack, 4, seed=seed, dtype=dtype)
    random = np.random.default_rng(seed)
    for name, statistic in network.statistics.items():
        drawn = random.normal(size=statistic.shape)
        statistic[...] = drawn**2 + 0.1 if name.endswith("variance") else drawn
    version = MappedVersion(definition, [MappedNetwork("", {**network.parameters, **network.statistics})], None)
    found = passed_on(onnx_network(onnx_bytes(version, Exported("random", 1, "ckpt_1"))))
    x = (random.normal(size=(20, 4)) * 3).astype(dtype)
    expected = network.predict_proba(x)
    tolerance = 2e-5 if dtype == "float32" else 1e-9
    for model in (None, definition):
        again = version_of(found, "random", model, None)
        assert again.definition.classes == definition.classes
        np.testing.assert_allclose(predict(again, x), expected, rtol=0, atol=tolerance)
