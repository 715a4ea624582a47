"""The network of a scikit-learn classifier in a skops file: MLPClassifier, alone or behind scalers in a Pipeline.

The attributes are those of scikit-learn's documentation, which every release since 0.24 has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from models.errors import describe
from models.imports.chain import Chain, refused
from models.imports.network import Found
from models.imports.skops_file import Node, SkopsFile
from nncore.arrays import Array
from nncore.layers import Layer, ReLU, Sigmoid, Tanh

__all__ = ["sklearn_network"]

CLASSIFIER = "sklearn.neural_network._multilayer_perceptron.MLPClassifier"
PIPELINE = "sklearn.pipeline.Pipeline"
_READABLE = "MLPClassifier, or a Pipeline of StandardScaler, MinMaxScaler, MaxAbsScaler or RobustScaler and it"
#: Inputs of a network, as a definition may have them.
MAXIMUM_INPUTS = 1_000_000

_ACTIVATIONS: Mapping[str, Layer | None] = {"identity": None, "logistic": Sigmoid(), "tanh": Tanh(), "relu": ReLU()}


def _standard(node: Node, chain: Chain) -> Chain:
    """``(x - mean_)/scale_``; without a mean, mean_ is there and not used."""
    return _centered(node, chain, _used(node, "with_mean", "mean_"), _used(node, "with_std", "scale_"))


def _robust(node: Node, chain: Chain) -> Chain:
    """``(x - center_)/scale_``."""
    return _centered(node, chain, _used(node, "with_centering", "center_"), _used(node, "with_scaling", "scale_"))


def _max_abs(node: Node, chain: Chain) -> Chain:
    """``x/scale_``."""
    return _centered(node, chain, None, _numbers(node.attribute("scale_")))


def _used(node: Node, whether: str, name: str) -> Array | None:
    """An attribute that a scaler uses if its option ``whether`` is true."""
    return _numbers(node.attribute(name)) if node.attribute(whether).value() else None


def _centered(node: Node, chain: Chain, center: Array | None, scale: Array | None) -> Chain:
    with np.errstate(divide="ignore"):  # An infinite factor is refused.
        factor = np.ones(1) if scale is None else 1.0 / scale
    return chain.scaled(node.place, np.zeros(1) if center is None else center, factor)


def _min_max(node: Node, chain: Chain) -> Chain:
    """``x·scale_ + min_``."""
    if node.has("clip") and node.attribute("clip").value():
        raise refused(node.place, "MinMaxScaler must have clip=False", "clip=True")
    by = _numbers(node.attribute("min_"))
    return chain.scaled(node.place, np.zeros(1), _numbers(node.attribute("scale_")), by)


_SCALERS: Mapping[str, Callable[[Node, Chain], Chain]] = {
    "sklearn.preprocessing._data.StandardScaler": _standard,
    "sklearn.preprocessing._data.RobustScaler": _robust,
    "sklearn.preprocessing._data.MaxAbsScaler": _max_abs,
    "sklearn.preprocessing._data.MinMaxScaler": _min_max,
}


def sklearn_network(file: SkopsFile) -> Found:
    """The network of the classifier in a file. Raises InvalidError if it is another object, and UnreadableError."""
    steps = _steps(file.root)
    first, classifier = steps[0], steps[-1]
    if classifier.kind != CLASSIFIER:
        raise refused(classifier.place, f"must be {_READABLE}", classifier.kind)
    inputs = _whole(first.attribute("n_features_in_"), MAXIMUM_INPUTS)
    chain = Chain.begin(inputs)
    for scaler in steps[:-1]:
        if scaler.kind not in _SCALERS:
            raise refused(scaler.place, f"must be {_READABLE}", scaler.kind)
        chain = _SCALERS[scaler.kind](scaler, chain)
    names = _names(first, inputs)
    return Found(_perceptron(classifier, chain), _classes(classifier.attribute("classes_")), names)


def _steps(root: Node) -> list[Node]:
    """The steps of a pipeline that do something, or the only object."""
    if root.kind != PIPELINE:
        return [root]
    found = []
    for step in root.attribute("steps").items():
        pair = list(step.items())
        if len(pair) != 2:
            raise refused(step.place, "must be a name and a step", f"{len(pair)} items")
        if not pair[1].is_text("passthrough"):
            found.append(pair[1])
    if not found:
        raise refused(root.place, f"must be {_READABLE}", "a Pipeline without steps")
    return found


def _perceptron(node: Node, chain: Chain) -> Chain:
    """The layers of an MLPClassifier behind those of its pipeline."""
    name, ends = node.attribute("activation").value(), node.attribute("out_activation_")
    if name not in _ACTIVATIONS:
        raise refused(node.attribute("activation").place, f"must be one of {', '.join(_ACTIVATIONS)}", describe(name))
    weights, biases = (list(node.attribute(each).items()) for each in ("coefs_", "intercepts_"))
    if not weights or len(weights) != len(biases):
        raise refused(node.place, "coefs_ and intercepts_ must be as many", f"{len(weights)} and {len(biases)}")
    activation = _ACTIVATIONS[name]
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        if index and activation is not None:
            chain = chain.then(weight.place, activation)
        chain = chain.dense(weight.place, _numbers(weight), _numbers(bias))
    if ends.value() == "softmax":
        return chain.softmax(node.place)
    if ends.value() == "logistic" and chain.width == 1:
        return chain.two_classes(node.place)
    if ends.value() == "logistic":
        wanted = "the classifier must give each row one class"
        raise refused(ends.place, wanted, f"a multilabel classifier with {chain.width} labels a row")
    raise refused(ends.place, "must be softmax or logistic", describe(ends.value()))


def _numbers(node: Node) -> Array:
    found = node.array()
    if found.dtype.kind not in "iuf":
        raise refused(node.place, "must be an array of numbers", found.dtype)
    return found.astype(np.float64) if found.dtype.kind != "f" else found


def _whole(node: Node, most: int) -> int:
    found = node.value()
    if type(found) is not int or not 1 <= found <= most:
        raise refused(node.place, f"must be a whole number from 1 to {most}", describe(found))
    return found


def _classes(node: Node) -> list[Any]:
    """The labels; whole numbers that were trained on as floating-point ones are whole."""
    found = node.array()
    if found.ndim != 1:
        raise refused(node.place, "must be a list of labels", f"shape {found.shape}")
    return list(found.tolist())


def _names(node: Node, inputs: int) -> list[str]:
    """The names of the columns that the first step was fitted to; none if these had no names."""
    if not node.has("feature_names_in_"):
        return []
    place = node.attribute("feature_names_in_")
    found = list(place.array().reshape(-1))
    if len(found) != inputs or not all(isinstance(name, str) for name in found):
        raise refused(place.place, f"must be the names of {inputs} columns", describe(found))
    return [str(name) for name in found]
