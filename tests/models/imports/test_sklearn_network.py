"""skops files of scikit-learn's classifiers predict what scikit-learn predicts; other files are refused by name."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, Normalizer, RobustScaler, StandardScaler

from models.errors import InvalidError, UnreadableError
from models.imports.network import Found
from models.imports.sklearn_network import sklearn_network
from models.imports.skops_file import SkopsFile
from nncore.arrays import Array
from tests.models.imports.support import imported, predict

RANDOM = np.random.default_rng(7)
ROWS = RANDOM.normal(size=(60, 4)) * np.array([1.0, 20.0, 0.01, 3.0]) + np.array([0.0, 1000.0, 0.0, -5.0])
CODES = RANDOM.integers(0, 3, 60)
THREE, TWO = np.array(["setosa", "é", "c"])[CODES], CODES == 0


def read(content: bytes, folder: Path) -> Found:
    """The network in a file with this content."""
    place = folder / "file.skops"
    place.write_bytes(content)
    with io.FileIO(place) as file:
        return sklearn_network(SkopsFile(file))


def fitted(model: Any, rows: Any, labels: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It has not converged.
        return model.fit(rows, labels)


def mlp(*hidden: int, **options: Any) -> MLPClassifier:
    return MLPClassifier(hidden or (5,), max_iter=15, random_state=0, **options)


#: Texts, booleans, whole numbers, whole numbers as floating-point ones, texts as objects, and two numbers.
LABELS = (THREE, TWO, CODES, CODES.astype(float), THREE.astype(object), TWO.astype(int))
CLASSIFIERS: dict[str, tuple[Any, Any, Any]] = {
    **{
        f"{activation}, {index}": (
            make_pipeline(StandardScaler(), mlp(activation=activation)),
            ROWS,
            labels,
        )
        for activation in ("identity", "logistic", "tanh", "relu")
        for index, labels in enumerate(LABELS)
    },
    "three hidden layers": (mlp(7, 3, 4), ROWS / 100, THREE),
    "no hidden layer": (MLPClassifier((), max_iter=15), ROWS / 100, TWO),
    "sgd that stops early": (mlp(solver="sgd", early_stopping=True), ROWS / 1000, THREE),
    "lbfgs": (mlp(solver="lbfgs"), ROWS / 1000, THREE),
    "float32": (mlp(), (ROWS / 100).astype("f4"), THREE),
    "without a mean": (make_pipeline(StandardScaler(with_mean=False), mlp()), ROWS, TWO),
    "without a deviation": (make_pipeline(StandardScaler(with_std=False), mlp()), ROWS, TWO),
    "from 0 to 1": (make_pipeline(MinMaxScaler(), mlp()), ROWS, THREE),
    "largest is 1": (make_pipeline(MaxAbsScaler(), mlp()), ROWS, THREE),
    "robust": (make_pipeline(RobustScaler(), mlp()), ROWS, THREE),
    "robust without a center": (make_pipeline(RobustScaler(with_centering=False), mlp()), ROWS, THREE),
    "two scalers": (make_pipeline(RobustScaler(), "passthrough", MinMaxScaler((-1, 1)), mlp()), ROWS, THREE),
    "a pipeline of one": (make_pipeline(mlp()), ROWS / 100, TWO),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_it_predicts_what_scikit_learn_predicts(name: str, tmp_path: Path) -> None:
    model, rows, labels = CLASSIFIERS[name]
    model = fitted(model, rows, labels)
    version = imported(read(skops.io.dumps(model), tmp_path))
    np.testing.assert_allclose(predict(version, rows), model.predict_proba(rows), rtol=0, atol=1e-6)
    expected = model.classes_.tolist()
    assert [type(label) for label in version.definition.classes] == [
        int if isinstance(label, float) else type(label) for label in expected
    ]
    assert list(version.definition.classes) == expected


def test_names_of_columns_are_kept(tmp_path: Path) -> None:
    """In the order in which rows of numbers have them."""
    frame = pd.DataFrame(ROWS, columns=["a", "b/c", "~", "ü"])
    for model in (mlp(), make_pipeline(StandardScaler(), mlp())):
        version = imported(read(skops.io.dumps(fitted(model, frame, THREE)), tmp_path))
        assert version.definition.metadata == {"feature_names": ["a", "b/c", "~", "ü"]}


def test_a_compressed_file_is_read(tmp_path: Path) -> None:
    model = fitted(mlp(), ROWS, THREE)
    version = imported(read(skops.io.dumps(model, compression=zipfile.ZIP_DEFLATED), tmp_path))
    np.testing.assert_allclose(predict(version, ROWS), model.predict_proba(ROWS), rtol=0, atol=1e-6)


OTHERS: dict[str, tuple[Any, Any, str, str]] = {
    "a regressor": (MLPRegressor(max_iter=5), CODES, "", "sklearn.neural_network._multilayer_perceptron.MLPReg"),
    "another classifier": (LogisticRegression(), THREE, "", "sklearn.linear_model._logistic.LogisticRegression"),
    "not fitted": (None, None, "", "nothing of this name"),
    "a pipeline of another": (
        make_pipeline(StandardScaler(), DummyClassifier()),
        THREE,
        "/content/content/steps/content/1/content/1",
        "sklearn.dummy.DummyClassifier",
    ),
    "another scaler": (
        make_pipeline(Normalizer(), mlp()),
        THREE,
        "/content/content/steps/content/0/content/1",
        "sklearn.preprocessing._data.Normalizer",
    ),
    "a scaler that clips": (
        make_pipeline(MinMaxScaler(clip=True), mlp()),
        THREE,
        "/content/content/steps/content/0/content/1",
        "clip=True",
    ),
    "several labels a row": (
        mlp(),
        np.stack([CODES == 0, CODES > 0], axis=1).astype(int),
        "/content/content/out_activation_",
        "a multilabel classifier with 2 labels a row",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_object_is_refused(name: str, tmp_path: Path) -> None:
    model, labels, place, received = OTHERS[name]
    model = mlp() if model is None else fitted(model, ROWS, labels)
    with pytest.raises(InvalidError) as raised:
        read(skops.io.dumps(model), tmp_path)
    assert raised.value.problems[0].pointer == place
    assert f"Received: {received}" in raised.value.problems[0].detail


def changed(change: Callable[[dict[str, Any]], Any], members: dict[str, bytes] | None = None) -> bytes:
    """A good file whose tree of nodes, below the classifier's attributes, was changed."""
    good = io.BytesIO(skops.io.dumps(fitted(mlp(), ROWS, THREE)))
    found = io.BytesIO()
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(found, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            if info.filename == "schema.json":
                tree = json.loads(content)
                change(tree["content"]["content"])
                content = json.dumps(tree).encode()
            new.writestr(info.filename, content)
        for name, content in (members or {}).items():
            new.writestr(name, content)
    return found.getvalue()


def array(values: Array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=values.dtype == object)
    return stream.getvalue()


def header(shape: str, descr: str = "<f8") -> bytes:
    """An array's file that says more than it holds."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(64)


def _weights(tree: dict[str, Any], name: str = "x.npy") -> None:
    tree["coefs_"]["content"][0]["file"] = name


def _json(value: object) -> dict[str, Any]:
    return {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": json.dumps(value)}


def _set(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(tree: dict[str, Any]) -> None:
        tree[name] = value

    return change


class Pickled:
    """What runs code if it is unpickled."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("something was unpickled",)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "pickled weights": lambda: changed(_weights, {"x.npy": array(np.array([Pickled()], object))}),
    "weights of another shape": lambda: changed(_weights, {"x.npy": array(np.zeros((9, 5)))}),
    "weights of one dimension": lambda: changed(_weights, {"x.npy": array(np.zeros(20))}),
    "weights of texts": lambda: changed(_weights, {"x.npy": array(np.array(["a", "b"]))}),
    "weights of dates": lambda: changed(_weights, {"x.npy": array(np.zeros(20, "M8[s]"))}),
    "weights of complex numbers": lambda: changed(_weights, {"x.npy": array(np.zeros((4, 5), complex))}),
    "weights that are not finite": lambda: changed(_weights, {"x.npy": array(np.full((4, 5), np.nan))}),
    "a shape of 2 GB": lambda: changed(_weights, {"x.npy": header("(16384, 16384)")}),
    "a shape beyond all memory": lambda: changed(_weights, {"x.npy": header(f"({10**12}, {10**12})")}),
    "a negative shape": lambda: changed(_weights, {"x.npy": header("(-4, -2)")}),
    "a header that is code": lambda: changed(_weights, {"x.npy": header("__import__('os').abort()")}),
    "a missing member": lambda: changed(lambda tree: _weights(tree, "../../etc/passwd")),
    "a member that is no text": lambda: changed(lambda tree: tree["coefs_"]["content"][0].update(file=[1])),
    "a zip bomb": lambda: _bomb("x.npy"),
    "a large tree": lambda: _bomb("schema.json"),
    "deep JSON": lambda: _with_tree(b"[" * 1_000_000),
    "no JSON": lambda: _with_tree(b"\xff"),
    "a list for a tree": lambda: _with_tree(b"[]"),
    "no tree": lambda: _with_tree(None),
    "no nodes": lambda: _with_tree(b'{"__loader__": "ObjectNode", "content": 3}'),
    "an activation of code": lambda: changed(_set("activation", _json("__import__"))),
    "an activation that is a list": lambda: changed(_set("activation", _json([1]))),
    "no weights": lambda: changed(lambda tree: tree["coefs_"].update(content=[])),
    "fewer biases": lambda: changed(lambda tree: tree["intercepts_"]["content"].pop()),
    "no inputs": lambda: changed(_set("n_features_in_", _json(0))),
    "more inputs": lambda: changed(_set("n_features_in_", _json(10**9))),
    "inputs that are true": lambda: changed(_set("n_features_in_", _json(True))),
    "the same class twice": lambda: _classes(np.array(["a", "a", "b"])),
    "fewer classes": lambda: _classes(np.array(["a", "b"])),
    "long classes": lambda: _classes(np.array(["a" * 300, "b", "c"])),
    "classes in rows": lambda: _classes(np.zeros((3, 3))),
    "another end": lambda: changed(_set("out_activation_", _json("identity"))),
    "an end for one logit": lambda: changed(_set("out_activation_", _json("logistic"))),
}  # fmt: skip


def _classes(labels: Array) -> bytes:
    return changed(lambda tree: tree["classes_"].update(file="y.npy"), {"y.npy": array(labels)})


def _bomb(name: str) -> bytes:
    """A member that unpacks to a thousand times the file."""
    found = io.BytesIO(changed(_weights))
    with zipfile.ZipFile(found, "a", zipfile.ZIP_DEFLATED) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there twice
        file.writestr(name, bytes(40 * 2**20))
    return found.getvalue()


def _with_tree(content: bytes | None) -> bytes:
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", zipfile.ZIP_DEFLATED) as file:
        if content is not None:
            file.writestr("schema.json", content)
    return found.getvalue()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused(name: str, tmp_path: Path) -> None:
    """With its place if it can be opened; nothing in it is run."""
    with pytest.raises((InvalidError, UnreadableError)) as raised:
        imported(read(HOSTILE[name](), tmp_path))
    assert raised.value.detail
    assert "\n" not in raised.value.detail


def test_every_cut_of_a_file_is_refused(tmp_path: Path) -> None:
    content = changed(lambda tree: None)
    for size in range(0, len(content) - 1, 997):
        with pytest.raises(UnreadableError):
            read(content[:size], tmp_path)
