"""Invalid input: refused with a 4xx that names the place, and nothing is stored."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from testing.harness import Answer, Client, Server
from testing.samples import CLASSES, CSV, DATA, LABELS, PROBLEM, ROWS, a_model, a_training
from tests.models.definition.test_definition import FAULTS, SPIRAL

pytestmark = pytest.mark.processes

LIMITS = {"MAX_BODY_BYTES": 2**20, "MAX_DATASET_BYTES": 2**20, "MAX_PARAMETERS": 10_000, "MAX_BATCH_BYTES": 2**20}


class Prepared(NamedTuple):
    """A server with a few resources and without background work."""

    server: Server
    checkpoint: str


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """Models base and other, datasets colours and wide, one version of other; the trainer has left again."""
    server = Server(tmp_path_factory.mktemp("refusals") / "data", WORKERS=1, TRAINER="external", **LIMITS)
    try:
        client = server.start()
        for name, units in (("base", 8), ("other", 9)):
            layers = [{"type": "dense", "units": units}, {"type": "dense", "units": 3}, {"type": "softmax"}]
            client.define(a_model(name, layers=layers))
        for name, rows in (("colours", ROWS), ("wide", [[*row, 1.0] for row in ROWS])):
            assert client.post("/datasets", {"name": name, "inputs": rows, "labels": LABELS}).status == 201
        odd = ["red", "pink", *LABELS[2:]]
        assert client.post("/datasets", {"name": "odd", "inputs": ROWS, "labels": odd}).status == 201
        trainer = server.run_beside("trainer")
        job = client.run(a_training("other", data={"dataset": "colours"}))
        trainer.terminate()
        assert trainer.wait(30) == 0
        yield Prepared(server, job["checkpoint"])
    finally:
        server.close()


@pytest.fixture
def client(prepared: Prepared) -> Iterator[Client]:
    """A client of that server; checks that the test has changed nothing there."""
    before, logged = prepared.server.stored(), len(prepared.server.log)
    yield prepared.server.client
    assert prepared.server.stored() == before
    assert not re.search(r"request failed|Error handling request", prepared.server.log[logged:])


def problem_of(answer: Answer, status: int) -> dict[str, Any]:
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json
    assert document.keys() == PROBLEM
    assert document["status"] == status
    assert document["request_id"] == answer.headers["x-request-id"]
    assert document["detail"]
    return document


def pointers(answer: Answer, status: int = 422, code: str = "validation_failed") -> list[str]:
    document = problem_of(answer, status)
    assert document["code"] == code
    assert all(fault["detail"] for fault in document["errors"])
    return [fault["pointer"] for fault in document["errors"]]


# Bodies that are not JSON.

NOT_JSON = {
    "empty": b"",
    "blank": b"  \n",
    "broken": b'{"model": "base", ',
    "text": b"hello",
    "python": b"{'model': 'base'}",
    "trailing comma": b'{"model": "base",}',
    "two documents": b"{}{}",
    "200,000 brackets": b"[" * 200_000,
    "200,000 closed brackets": b"[" * 200_000 + b"]" * 200_000,
    "100,000 objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "NaN": b'{"inputs": [[NaN, 1]]}',
    "Infinity": b'{"inputs": [[Infinity, 1]]}',
    "-Infinity": b'{"inputs": [[-Infinity, 1]]}',
    "1e999": b'{"inputs": [[1e999, 1]]}',
    "duplicate key": b'{"model": "base", "model": "other"}',
    "duplicate key within": b'{"model": "base", "data": {"labels": [1], "labels": [2]}}',
    "duplicate key in escapes": b'{"model": "base", "\\u006dodel": "other"}',
    "duplicate key within lists": b'{"layers": [[{"a": 1, "a": 2}]]}',
    "not UTF-8": b'{"model": "\xff"}',
    "UTF-16": '{"model": "base"}'.encode("utf-16"),
    "BOM": b'\xef\xbb\xbf{"model": "base"}',
    "half a surrogate": b'{"model": "\\ud800"}',
    "control character": b'{"model": "\x00"}',
}


@pytest.mark.parametrize(
    "path", ["/models", "/train", "/predict", "/evaluate", "/datasets", "/models/other/aliases/best"]
)
@pytest.mark.parametrize("kind", NOT_JSON)
def test_what_is_not_json(client: Client, path: str, kind: str) -> None:
    method = "PUT" if "aliases" in path else "POST"
    document = problem_of(client.request(method, path, NOT_JSON[kind]), 400)
    assert document["code"] == "invalid_json"


@pytest.mark.parametrize("path", ["/models", "/train", "/predict", "/evaluate", "/datasets"])
@pytest.mark.parametrize("body", [[], [1], "text", 3, None, True, [[]]], ids=repr)
def test_what_is_not_an_object(client: Client, path: str, body: Any) -> None:
    assert pointers(client.post(path, json.dumps(body).encode())) == [""]


@pytest.mark.parametrize("path", ["/models", "/train", "/predict", "/evaluate", "/datasets"])
def test_900_levels_are_an_answer_too(client: Client, path: str) -> None:
    answer = client.post(path, b"[" * 900 + b"]" * 900)
    assert answer.status in (400, 422)
    problem_of(answer, answer.status)
    nested = client.post(path, b'{"a":' * 900 + b'":"' + b"}" * 900)
    assert nested.status in (400, 422)
    problem_of(nested, nested.status)


@pytest.mark.parametrize("path", ["/models", "/train", "/predict", "/evaluate"])
@pytest.mark.parametrize(
    "kind", ["text/csv", "application/xml", "image/png", "multipart/form-data; boundary=x", "text/html; x=a+json"]
)
def test_another_type_of_body(client: Client, path: str, kind: str) -> None:
    if (path, kind) == ("/predict", "text/csv"):
        # A file of rows, whose model the query names.
        assert pointers(client.post(path, b"x", headers={"Content-Type": kind})) == ["/model"]
        return
    document = problem_of(client.post(path, b"x", headers={"Content-Type": kind}), 415)
    assert document["code"] == "unsupported_media_type"
    assert kind.partition(";")[0] in document["detail"]


# Definitions.


@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - {"learning rate NaN"}))
def test_a_bad_definition(client: Client, fault: str) -> None:
    document, pointer = FAULTS[fault]
    assert pointers(client.post("/models", json.dumps(document).encode())) == [pointer]


@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - {"learning rate NaN", "no inputs", "no classes"}))
def test_a_bad_definition_within_a_training(client: Client, fault: str) -> None:
    document, pointer = FAULTS[fault]
    assert pointers(client.post("/train", a_training(document))) == [f"/model{pointer}"]


def test_too_many_parameters(client: Client) -> None:
    large = {**SPIRAL, "layers": None, "hidden": [2000]}
    del large["layers"]
    assert pointers(client.post("/models", large), code="too_many_parameters") == ["/hidden"]
    assert pointers(client.post("/train", a_training(large)), code="too_many_parameters") == ["/model/hidden"]
    written_out = a_model("large", layers=[{"type": "dense", "units": 5000}, *a_model("large")["layers"]])
    assert pointers(client.post("/models", written_out), code="too_many_parameters") == ["/layers"]
    assert pointers(client.post("/train", a_training(written_out)), code="too_many_parameters") == ["/model/layers"]


def test_a_definition_of_astronomical_size(client: Client) -> None:
    layers = [{"type": "dense", "units": 65_536}] * 100 + [{"type": "dense", "units": 3}, {"type": "softmax"}]
    document = problem_of(client.post("/models", {**SPIRAL, "inputs": 1_000_000, "layers": layers}), 422)
    assert "10,000 parameters" in document["detail"]


# Trainings.

TOO_LARGE = [[1.0, 2.0], [3.0, 1e39], *ROWS[2:]]


def with_data(**members: Any) -> dict[str, Any]:
    return a_training("base", data={**DATA, **members})


def with_validation(**members: Any) -> dict[str, Any]:
    return a_training("base", validation={"inputs": ROWS, "labels": LABELS, **members})


TRAININGS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({"data": DATA}, "/model"),
    "no data": ({"model": "base"}, "/data"),
    "unknown field": (a_training("base", epoch=3), "/epoch"),
    "model a number": (a_training(3), "/model"),
    "model null": (a_training(None), "/model"),
    "model a list": (a_training([]), "/model"),
    "model with capitals": (a_training("Base"), "/model"),
    "model empty": (a_training(""), "/model"),
    **{
        f"epochs {value!r}": (a_training("base", epochs=value), "/epochs")
        for value in (-1, 1.5, "10", True, None, 10_000_001, 10**30, [1])
    },
    **{
        f"batch_size {value!r}": (a_training("base", batch_size=value), "/batch_size")
        for value in (0, -1, 1.5, "32", "half", True, None, 1_000_001, 10**30, {})
    },
    **{
        f"seed {value!r}": (a_training("base", seed=value), "/seed")
        for value in (-1, 0.5, "0", False, None, 2**53, 10**30)
    },
    **{f"shuffle {value!r}": (a_training("base", shuffle=value), "/shuffle") for value in (0, 1, "true", None, [])},
    **{f"publish {value!r}": (a_training("base", publish=value), "/publish") for value in (0, "no", None)},
    **{
        f"fraction {value!r}": (a_training("base", validation={"fraction": value}), "/validation/fraction")
        for value in (0, 0.0, 1, 1.0, -0.2, 1.5, "0.2", True, None, [0.2], 1e-9)
    },
    "validation empty": (a_training("base", validation={}), "/validation"),
    "validation 1": (a_training("base", validation=1), "/validation"),
    "validation 1.5": (a_training("base", validation=1.5), "/validation"),
    "validation a share of no row": (a_training("base", validation=0.01), "/validation"),
    "validation true": (a_training("base", validation=True), "/validation"),
    "validation an unknown dataset": (a_training("base", validation="none"), "/validation"),
    "data an unknown dataset": (a_training("base", data="none"), "/data"),
    "data a number": (a_training("base", data=0.5), "/data"),
    "data an empty name": (a_training("base", data=""), "/data"),
    "validation with unknown field": (
        a_training("base", validation={"fraction": 0.2, "stratify": True}),
        "/validation/stratify",
    ),
    "validation twice": (a_training("base", validation={"fraction": 0.2, "dataset": "colours"}), "/validation"),
    "validation without labels": (a_training("base", validation={"inputs": ROWS}), "/validation"),
    "validation of another width": (with_validation(inputs=[[1, 2, 3]] * 12), "/validation/inputs"),
    "validation ragged": (with_validation(inputs=[*ROWS[:5], [1], *ROWS[6:]]), "/validation/inputs/5"),
    "validation label outside": (with_validation(labels=[*LABELS[:11], "pink"]), "/validation/labels/11"),
    "validation too large": (with_validation(inputs=TOO_LARGE), "/validation/inputs/1/1"),
    "validation dataset unknown": (a_training("base", validation={"dataset": "none"}), "/validation/dataset"),
    "validation dataset of another width": (a_training("base", validation={"dataset": "wide"}), "/validation/dataset"),
    "optimizer unknown": (a_training("base", optimizer={"type": "lbfgs"}), "/optimizer/type"),
    "optimizer without type": (a_training("base", optimizer={}), "/optimizer/type"),
    "optimizer an unknown name": (a_training("base", optimizer="adams"), "/optimizer"),
    "optimizer with unknown field": (
        a_training("base", optimizer={"type": "sgd", "beta1": 0.5}),
        "/optimizer/beta1",
    ),
    **{
        f"learning_rate {value!r}": (
            a_training("base", optimizer={"type": "sgd", "learning_rate": value}),
            "/optimizer/learning_rate",
        )
        for value in (0, -1, "0.1", True, None, 1e7)
    },
    "momentum 1": (a_training("base", optimizer={"type": "sgd", "momentum": 1}), "/optimizer/momentum"),
    "nesterov a number": (a_training("base", optimizer={"type": "sgd", "nesterov": 1}), "/optimizer/nesterov"),
    "checkpoint unknown field": (a_training("base", checkpoint={"every": 1}), "/checkpoint/every"),
    "checkpoint a number": (a_training("base", checkpoint=10), "/checkpoint"),
    "every_epochs 0": (a_training("base", checkpoint={"every_epochs": 0}), "/checkpoint/every_epochs"),
    "every_epochs a string": (a_training("base", checkpoint={"every_epochs": "1"}), "/checkpoint/every_epochs"),
    "every_seconds 0": (a_training("base", checkpoint={"every_seconds": 0}), "/checkpoint/every_seconds"),
    "keep -1": (a_training("base", checkpoint={"keep": -1}), "/checkpoint/keep"),
    "keep true": (a_training("base", checkpoint={"keep": True}), "/checkpoint/keep"),
    "start_from unknown": (a_training("base", start_from="ckpt_0"), "/start_from"),
    "start_from a number": (a_training("base", start_from=3), "/start_from"),
    "metadata a list": (a_training("base", metadata=[]), "/metadata"),
    "metadata large": (a_training("base", metadata={"a": "x" * 20_000}), "/metadata"),
    "data null": (a_training("base", data=None), "/data"),
    "data a list": (a_training("base", data=[ROWS, LABELS]), "/data"),
    "data empty": (a_training("base", data={}), "/data"),
    "data without labels": (a_training("base", data={"inputs": ROWS}), "/data"),
    "data twice": (a_training("base", data={**DATA, "dataset": "colours"}), "/data"),
    "data with unknown field": (a_training("base", data={**DATA, "features": []}), "/data/features"),
    "weights empty": (a_training("base", data={**DATA, "weights": []}), "/data/weights"),
    "weights null": (a_training("base", data={**DATA, "weights": None}), "/data/weights"),
    "weights of a string": (a_training("base", data={**DATA, "weights": ["1"] * 12}), "/data/weights/0"),
    "weights negative": (a_training("base", data={**DATA, "weights": [1.0] * 11 + [-1]}), "/data/weights/11"),
    "weights beyond float32": (a_training("base", data={**DATA, "weights": [1.0, 1e300] * 6}), "/data/weights/1"),
    "weights below float32": (a_training("base", data={**DATA, "weights": [1e-300] * 12}), "/data/weights/0"),
    "class_weights all 0": (a_training("base", class_weights=[0, 0, 0]), "/class_weights"),
    "weights all 0": (a_training("base", data={**DATA, "weights": [0] * 12}), "/data/weights"),
    "weights of a dataset": (a_training("base", data={"dataset": "colours", "weights": [1] * 12}), "/data"),
    "weights of validation": (a_training("base", validation={**DATA, "weights": [1] * 12}), "/validation/weights"),
    "class_weights of another class": (a_training("base", class_weights={"pink": 2}), "/class_weights"),
    "class_weights too few": (a_training("base", class_weights=[1, 2]), "/class_weights"),
    "class_weights negative": (a_training("base", class_weights=[1, -2, 1]), "/class_weights/1"),
    "class_weights of a string": (a_training("base", class_weights={"red": "1"}), "/class_weights/red"),
    "class_weights of a word": (a_training("base", class_weights="even"), "/class_weights"),
    "loss unknown": (a_training("base", loss={"type": "hinge"}), "/loss/type"),
    "label_smoothing 1": (
        a_training("base", loss={"type": "categorical_crossentropy", "label_smoothing": 1}),
        "/loss/label_smoothing",
    ),
    "early_stopping true": (a_training("base", early_stopping=True), "/early_stopping"),
    "early_stopping with unknown field": (
        a_training("base", early_stopping={"patients": 3}),
        "/early_stopping/patients",
    ),
    "monitor without validation": (
        a_training("base", early_stopping={"monitor": "validation_loss"}),
        "/early_stopping/monitor",
    ),
    "monitor unknown": (a_training("base", early_stopping={"monitor": "f1"}), "/early_stopping/monitor"),
    "patience 0": (a_training("base", early_stopping={"patience": 0}), "/early_stopping/patience"),
    "patience_steps below 0": (
        a_training("base", early_stopping={"patience_steps": -1}),
        "/early_stopping/patience_steps",
    ),
    "validate_every 0": (a_training("base", validate_every=0), "/validate_every"),
    "validate_every null": (a_training("base", validate_every=None), "/validate_every"),
    "the log loss without validation": (
        a_training("base", early_stopping={"monitor": "validation_log_loss"}),
        "/early_stopping/monitor",
    ),
    "a layer's rate below 0": (
        a_training({"name": "rated", "layers": [{"type": "dense", "units": 3, "rate": -0.1}, {"type": "softmax"}]}),
        "/model/layers/0/rate",
    ),
    "max_seconds 0": (a_training("base", max_seconds=0), "/max_seconds"),
    "publish the first": (a_training("base", publish="first"), "/publish"),
    "publish 1": (a_training("base", publish=1), "/publish"),
    "reinitialize alone": (a_training("base", reinitialize=["0_dense"]), "/reinitialize"),
    "dry_run a string": (a_training("base", dry_run="yes"), "/dry_run"),
    "dry run of what cannot be": (a_training("base", dry_run=True, batch_size=0), "/batch_size"),
    "schedule unknown": (
        a_training("base", optimizer={"type": "sgd", "schedule": {"type": "random"}}),
        "/optimizer/schedule/type",
    ),
    "warmup -1": (
        a_training("base", optimizer={"type": "sgd", "schedule": {"type": "constant", "warmup": -1}}),
        "/optimizer/schedule/warmup",
    ),
    "clip_norm 0": (a_training("base", optimizer={"type": "sgd", "clip_norm": 0}), "/optimizer/clip_norm"),
    "average 1": (a_training("base", optimizer={"type": "sgd", "average": 1}), "/optimizer/average"),
    "accumulate 0": (a_training("base", optimizer={"type": "sgd", "accumulate": 0}), "/optimizer/accumulate"),
    "dataset unknown": (a_training("base", data={"dataset": "none"}), "/data/dataset"),
    "dataset a number": (a_training("base", data={"dataset": 3}), "/data/dataset"),
    "dataset of another width": (a_training("base", data={"dataset": "wide"}), "/data/dataset"),
    "inputs null": (with_data(inputs=None), "/data/inputs"),
    "no rows": (a_training("base", data={"inputs": [], "labels": []}), "/data/inputs"),
    "empty rows": (with_data(inputs=[[]] * 12), "/data/inputs/0"),
    "flat rows": (with_data(inputs=[1, 2]), "/data/inputs/0"),
    "ragged rows": (with_data(inputs=[*ROWS[:7], [1, 2, 3], *ROWS[8:]]), "/data/inputs/7"),
    "rows of another width": (with_data(inputs=[[1]] * 12), "/data/inputs"),
    "numeric string": (with_data(inputs=[*ROWS[:4], [1, "2"], *ROWS[5:]]), "/data/inputs/4/1"),
    "boolean": (with_data(inputs=[[True, 1], *ROWS[1:]]), "/data/inputs/0/0"),
    "null within": (with_data(inputs=[[0, None], *ROWS[1:]]), "/data/inputs/0/1"),
    "too large for float32": (with_data(inputs=TOO_LARGE), "/data/inputs/1/1"),
    "labels null": (with_data(labels=None), "/data/labels"),
    "fewer labels": (with_data(labels=LABELS[:11]), "/data/labels"),
    "more labels": (with_data(labels=[*LABELS, "red"]), "/data/labels"),
    "label outside the classes": (with_data(labels=[*LABELS[:3], "pink", *LABELS[4:]]), "/data/labels/3"),
    "labels of another kind": (with_data(labels=[7, 8, 9] * 4), "/data/labels/0"),
    "label a boolean": (with_data(labels=[*LABELS[:5], True, *LABELS[6:]]), "/data/labels/5"),
    "label a float": (with_data(labels=[0.5] * 12), "/data/labels/0"),
    "labels of two kinds": (with_data(labels=[*LABELS[:5], 1, *LABELS[6:]]), "/data/labels/5"),
    "one class only": (with_data(labels=["red"] * 12), "/data/labels"),
    "one-hot of another width": (with_data(labels=[[1, 0], [0, 1]] * 6), "/data/labels"),
    "one-hot with two ones": (with_data(labels=[[1, 0, 1]] + [[0, 1, 0]] * 11), "/data/labels/0"),
    "one row": (a_training("base", data={"inputs": [[1, 2]], "labels": ["red"]}), "/data/labels"),
    "units other than the classes of the data": (
        {**a_training({"name": "new", "layers": [{"type": "dense", "units": 2}, {"type": "softmax"}]})},
        "/model/layers/0/units",
    ),
    "inputs other than the width of the data": (
        a_training({"name": "new", "inputs": 3, "hidden": [4]}),
        "/data/inputs",
    ),
    "classes that the data is not of": (
        a_training({"name": "new", "classes": ["red", "green"], "hidden": [4]}),
        "/data/labels/2",
    ),
}


@pytest.mark.parametrize("fault", TRAININGS)
def test_a_bad_training(client: Client, fault: str) -> None:
    body, pointer = TRAININGS[fault]
    assert pointers(client.post("/train", body)) == [pointer]


def test_a_label_of_a_dataset_outside_the_classes_names_its_row(client: Client) -> None:
    document = problem_of(client.post("/train", a_training("base", data={"dataset": "odd"})), 422)
    (fault,) = document["errors"]
    assert (fault["pointer"], fault["row"]) == ("/data/dataset", 2)
    assert "'pink'" in fault["detail"]


def test_several_faults_are_reported_at_once(client: Client) -> None:
    body = a_training("base", epochs=-1, batch_size=0, optimizer={"type": "none"}, checkpoint={"keep": -1}, lr=1)
    told = pointers(client.post("/train", body))
    assert sorted(told) == ["/batch_size", "/checkpoint/keep", "/epochs", "/lr", "/optimizer/type"]


def test_an_unknown_model(client: Client) -> None:
    assert problem_of(client.post("/train", a_training("none")), 404)["code"] == "not_found"


def test_a_start_of_another_model(client: Client, prepared: Prepared) -> None:
    answer = client.post("/train", a_training("base", start_from=prepared.checkpoint))
    assert pointers(answer) == ["/start_from"]
    assert "layers" in answer.json["detail"]


@pytest.mark.parametrize("batch_size", ["full", 100_000])
def test_a_batch_beyond_the_memory_bound(client: Client, batch_size: Any) -> None:
    rows = 12_000
    data = {"inputs": [[0, 1], [1, 0], [1, 1]] * (rows // 3), "labels": CLASSES * (rows // 3)}
    body = a_training("base", data=data, batch_size=batch_size)
    assert pointers(client.post("/train", body)) == ["/batch_size"]


def test_a_taken_name_with_another_definition(client: Client) -> None:
    body = a_model("base", metadata={"another": True}, exact=True)
    assert problem_of(client.post("/models", body), 409)["code"] == "name_taken"


# Predictions.

PREDICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no model": ({"inputs": [[1, 2]]}, "/model"),
    "model a number": ({"model": 1, "inputs": [[1, 2]]}, "/model"),
    "no inputs": ({"model": "other"}, "/inputs"),
    "inputs null": ({"model": "other", "inputs": None}, "/inputs"),
    "inputs an object": ({"model": "other", "inputs": {}}, "/inputs"),
    "inputs a string": ({"model": "other", "inputs": "1,2"}, "/inputs"),
    "no rows": ({"model": "other", "inputs": []}, "/inputs"),
    "an empty row": ({"model": "other", "inputs": [[]]}, "/inputs/0"),
    "one row too wide": ({"model": "other", "inputs": [[1, 2], [1, 2, 3]]}, "/inputs/1"),
    "one row too narrow": ({"model": "other", "inputs": [[1]]}, "/inputs/0"),
    "flat and too wide": ({"model": "other", "inputs": [1, 2, 3]}, "/inputs"),
    "flat with a string": ({"model": "other", "inputs": [1, "2"]}, "/inputs/1"),
    "flat with a row": ({"model": "other", "inputs": [1, [2]]}, "/inputs/1"),
    "numeric string": ({"model": "other", "inputs": [[1, 2], ["3", 4]]}, "/inputs/1/0"),
    "boolean": ({"model": "other", "inputs": [[1, True]]}, "/inputs/0/1"),
    "null within": ({"model": "other", "inputs": [[None, 1]]}, "/inputs/0/0"),
    "three levels": ({"model": "other", "inputs": [[[1], 2]]}, "/inputs/0/0"),
    "rows and numbers": ({"model": "other", "inputs": [[1, 2], 3]}, "/inputs/1"),
    "too large for float32": ({"model": "other", "inputs": [[1, 2], [3, -1e39]]}, "/inputs/1/1"),
    "unknown field": ({"model": "other", "inputs": [[1, 2]], "topk": 1}, "/topk"),
    "unknown field with a slash": ({"model": "other", "inputs": [[1, 2]], "a/b": 1}, "/a~1b"),
    **{
        f"top_k {value!r}": ({"model": "other", "inputs": [[1, 2]], "top_k": value}, "/top_k")
        for value in (0, -1, 4, 1.0, "1", True, [])
    },
    **{
        f"version {value!r}": ({"model": "other", "inputs": [[1, 2]], "version": value}, "/version")
        for value in (0, -1, 1.0, "", True, [])
    },
}


@pytest.mark.parametrize("fault", PREDICTIONS)
def test_a_bad_prediction(client: Client, fault: str) -> None:
    body, pointer = PREDICTIONS[fault]
    assert pointers(client.post("/predict", body)) == [pointer]


def test_a_wrong_width_names_expected_and_given(client: Client) -> None:
    for inputs in ([[1, 2, 3]], [1, 2, 3]):
        detail = problem_of(client.post("/predict", {"model": "other", "inputs": inputs}), 422)["detail"]
        assert "2 numbers" in detail
        assert "Received: 3" in detail


@pytest.mark.parametrize(
    ("model", "version", "status", "code"),
    [
        ("none", None, 404, "not_found"),
        ("Other model", None, 404, "not_found"),
        ("", None, 404, "not_found"),
        ("base", None, 409, "no_version"),
        ("base", "latest", 409, "no_version"),
        ("base", "default", 409, "no_version"),
        ("base", "best", 404, "not_found"),
        ("base", 1, 404, "not_found"),
        ("other", 2, 404, "not_found"),
        ("other", 2**53, 404, "not_found"),
        ("other", 2**63, 404, "not_found"),
        ("other", "best", 404, "not_found"),
        ("other", "1", 404, "not_found"),
    ],
)
def test_a_version_that_is_not_there(client: Client, model: str, version: Any, status: int, code: str) -> None:
    body = {"model": model, "inputs": [[1, 2]], **({} if version is None else {"version": version})}
    assert problem_of(client.post("/predict", body), status)["code"] == code


# Evaluations.


def an_evaluation(**members: Any) -> dict[str, Any]:
    return {"model": "other", "data": DATA, **members}


EVALUATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no model": ({"data": DATA}, "/model"),
    "model a number": (an_evaluation(model=1), "/model"),
    "model a definition": (an_evaluation(model=a_model("other")), "/model"),
    "model with capitals": (an_evaluation(model="Other"), "/model"),
    "no data": ({"model": "other"}, "/data"),
    "data null": (an_evaluation(data=None), "/data"),
    "data empty": (an_evaluation(data={}), "/data"),
    "data without labels": (an_evaluation(data={"inputs": ROWS}), "/data"),
    "data twice": (an_evaluation(data={**DATA, "dataset": "colours"}), "/data"),
    "data an unknown name": (an_evaluation(data="none"), "/data"),
    "data a number": (an_evaluation(data=0.5), "/data"),
    "data a share": (an_evaluation(data={"fraction": 0.5}), "/data/fraction"),
    "dataset unknown": (an_evaluation(data={"dataset": "none"}), "/data/dataset"),
    "dataset of another width": (an_evaluation(data={"dataset": "wide"}), "/data/dataset"),
    "dataset with another label": (an_evaluation(data={"dataset": "odd"}), "/data/dataset"),
    "no rows": (an_evaluation(data={"inputs": [], "labels": []}), "/data/inputs"),
    "rows of another width": (an_evaluation(data={**DATA, "inputs": [[1]] * 12}), "/data/inputs"),
    "numeric string": (an_evaluation(data={**DATA, "inputs": [*ROWS[:4], [1, "2"], *ROWS[5:]]}), "/data/inputs/4/1"),
    "too large for float32": (an_evaluation(data={**DATA, "inputs": TOO_LARGE}), "/data/inputs/1/1"),
    "fewer labels": (an_evaluation(data={**DATA, "labels": LABELS[:11]}), "/data/labels"),
    "label outside the classes": (an_evaluation(data={**DATA, "labels": [*LABELS[:11], "pink"]}), "/data/labels/11"),
    "one-hot of another width": (an_evaluation(data={**DATA, "labels": [[1, 0]] * 12}), "/data/labels"),
    "unknown field": (an_evaluation(topk=1), "/topk"),
    **{f"top_k {value!r}": (an_evaluation(top_k=value), "/top_k") for value in (0, -1, 4, 1.0, "1", True, [])},
    **{f"version {value!r}": (an_evaluation(version=value), "/version") for value in (0, -1, 1.0, "", True, [])},
    "more rows than fit in memory": (
        an_evaluation(data={"inputs": [[0, 1]] * 18_000, "labels": ["red"] * 18_000}),
        "/data/inputs",
    ),
}


@pytest.mark.parametrize("fault", EVALUATIONS)
def test_a_bad_evaluation(client: Client, fault: str) -> None:
    body, pointer = EVALUATIONS[fault]
    assert pointers(client.post("/evaluate", body)) == [pointer]


@pytest.mark.parametrize(
    ("model", "version", "status", "code"),
    [
        ("none", None, 404, "not_found"),
        ("base", None, 409, "no_version"),
        ("base", 1, 404, "not_found"),
        ("other", 2, 404, "not_found"),
        ("other", 2**63, 404, "not_found"),
        ("other", "best", 404, "not_found"),
    ],
)
def test_an_evaluation_of_what_is_not_there(client: Client, model: str, version: Any, status: int, code: str) -> None:
    answer = client.post("/evaluate", an_evaluation(model=model, version=version))
    assert problem_of(answer, status)["code"] == code


@pytest.mark.parametrize("row", [[3e38, 3e38], [-3e38, 3e38], [3.4e38, -3.4e38]], ids=str)
def test_an_evaluation_of_numbers_near_the_end_of_the_range(client: Client, row: list[float]) -> None:
    """Figures, or a refusal of the row; never a fault of the service."""
    answer = client.post("/evaluate", an_evaluation(data={"inputs": [[0, 1], row], "labels": ["red", "red"]}))
    assert answer.status == 200 or pointers(answer) == ["/data/inputs/1"]


# Datasets.

JSON_ROWS = {"name": "new", **DATA}
DATASETS: dict[str, tuple[dict[str, Any], str]] = {
    "no name": (DATA, "/name"),
    "bad name": ({**JSON_ROWS, "name": "New Data"}, "/name"),
    "long name": ({**JSON_ROWS, "name": "n" * 64}, "/name"),
    "name null": ({**JSON_ROWS, "name": None}, "/name"),
    "no inputs": ({"name": "new", "labels": LABELS}, "/inputs"),
    "no labels": ({"name": "new", "inputs": ROWS}, "/labels"),
    "unknown field": ({**JSON_ROWS, "feature": ["x", "y"]}, "/feature"),
    "fewer names": ({**JSON_ROWS, "features": ["x"]}, "/features"),
    "equal names": ({**JSON_ROWS, "features": ["x", "x"]}, "/features/1"),
    "a label that is a feature": ({**JSON_ROWS, "features": ["x", "y"], "label": "x"}, "/label"),
    "rows of another type": ({"name": "new", "rows": [{"x": 1}, [2]]}, "/rows/1"),
    "nested values": ({"name": "new", "rows": [{"x": 1}, {"x": {}}]}, "/rows/1/x"),
    "no such label": ({"name": "new", "label": "w", "rows": [{"x": 1}, {"x": 2}]}, "/label"),
    "a label of numbers to estimate": (
        {"name": "new", "label": "x", "rows": [{"x": i / 7, "y": i % 3} for i in range(60)]},
        "/label",
    ),
    "a weight of words": (
        {"name": "new", "label": "y", "weight": "x", "rows": [{"x": "a", "y": 1}, {"x": "b", "y": 2}]},
        "/weight",
    ),
    "an unknown type": ({"name": "new", "rows": [{"x": 1}], "types": {"x": "float"}}, "/types"),
    "a type of no column": ({"name": "new", "rows": [{"x": 1}, {"x": 2}], "types": "z:number"}, "/types/z"),
    "columns and objects": ({"name": "new", "columns": ["x"], "rows": [{"x": 1}]}, "/rows/0"),
    "no other column": ({"name": "new", "label": "y", "rows": [{"y": 1}, {"y": 2}]}, "/rows"),
    "no rows": ({"name": "new", "inputs": [], "labels": []}, "/inputs"),
    "ragged rows": ({**JSON_ROWS, "inputs": [[1], [1, 2], *ROWS[2:]]}, "/inputs/1"),
    "numeric string": ({**JSON_ROWS, "inputs": [["1", 2], *ROWS[1:]]}, "/inputs/0/0"),
    "boolean": ({**JSON_ROWS, "inputs": [[1, False], *ROWS[1:]]}, "/inputs/0/1"),
    "fewer labels": ({**JSON_ROWS, "labels": LABELS[1:]}, "/labels"),
    "labels null": ({**JSON_ROWS, "labels": [None] * 12}, "/labels"),
    "one class only": ({**JSON_ROWS, "labels": ["red"] * 12}, "/labels"),
    "one-hot of one column only": ({**JSON_ROWS, "labels": [[1, 0]] * 12}, "/labels"),
}


@pytest.mark.parametrize("fault", DATASETS)
def test_a_bad_dataset(client: Client, fault: str) -> None:
    body, pointer = DATASETS[fault]
    assert pointers(client.post("/datasets", body)) == [pointer]


CSV_ONE = b"x,y,colour\n1,2,red\n3,4,green\n"


def form(**parts: bytes | list[bytes]) -> bytes:
    """A multipart body; a name that ends in _file is one of a file, without that ending."""
    body = b""
    for name, values in parts.items():
        for value in values if isinstance(values, list) else [values]:
            given = f'name="{name.removesuffix("_file")}"' + ('; filename="a.csv"' if name.endswith("_file") else "")
            body += b"--b\r\nContent-Disposition: form-data; " + given.encode() + b"\r\n\r\n" + value + b"\r\n"
    return body + b"--b--\r\n"


#: Query, content type, body, and the places of contradictory or useless members.
CONTRADICTIONS: dict[str, tuple[str, str, bytes, list[str]]] = {
    "another name in JSON": ("?name=other", "application/json", json.dumps(JSON_ROWS).encode(), ["/name"]),
    "a label with JSON": ("?label=colour", "application/json", json.dumps(JSON_ROWS).encode(), ["/label"]),
    "a label with some JSON": ("?label=colour", "application/x+json", json.dumps(JSON_ROWS).encode(), ["/label"]),
    "name twice": ("?name=new&name=other&label=colour", "text/csv", CSV_ONE, ["/name"]),
    "the same name twice": ("?name=new&name=new&label=colour", "text/csv", CSV_ONE, ["/name"]),
    **{
        f"form with {fault}": (query, "multipart/form-data; boundary=b", form(**parts), places)
        for fault, query, parts, places in (
            ("another name", "?name=new&label=colour", {"file_file": CSV_ONE, "name": b"other"}, ["/name"]),
            ("another label", "?name=new&label=colour", {"file_file": CSV_ONE, "label": b"x"}, ["/label"]),
            ("two files", "?name=new&label=colour", {"file_file": [CSV_ONE, CSV_ONE]}, ["/file"]),
            ("a field file too", "?name=new&label=colour", {"file_file": CSV_ONE, "file": b"x"}, ["/file"]),
            ("another file", "?name=new&label=colour", {"file_file": CSV_ONE, "more_file": CSV_ONE}, ["/more"]),
            ("name twice", "?label=colour", {"file_file": CSV_ONE, "name": [b"new", b"new"]}, ["/name"]),
            ("an unknown field", "?name=new&label=colour", {"file_file": CSV_ONE, "a/b": b"1"}, ["/a~1b"]),
        )
    },
}


@pytest.mark.parametrize("fault", CONTRADICTIONS)
def test_a_dataset_with_contradictions(client: Client, fault: str) -> None:
    query, kind, body, places = CONTRADICTIONS[fault]
    assert pointers(upload(client, body, query, kind)) == places


def test_a_taken_dataset_name(client: Client) -> None:
    assert problem_of(client.post("/datasets", {**JSON_ROWS, "name": "colours"}), 409)["code"] == "name_taken"
    assert problem_of(upload(client, CSV.encode(), "?name=colours&label=colour"), 409)["code"] == "name_taken"


def upload(client: Client, body: bytes, query: str = "?name=new&label=colour", kind: str = "text/csv") -> Answer:
    return client.post(f"/datasets{query}", body, headers={"Content-Type": kind})


CSV_QUERIES = {
    "": "/name",
    "?label=colour": "/name",
    "?name=New&label=colour": "/name",
    "?name=new&label=": "/label",
    "?name=new&label=hue": "/label",
    "?name=new&label=colour&sep=,": "/sep",
}


@pytest.mark.parametrize("query", CSV_QUERIES)
def test_a_csv_file_with_a_bad_query(client: Client, query: str) -> None:
    assert pointers(upload(client, CSV.encode(), query)) == [CSV_QUERIES[query]]


TWO = "x,y,colour\n1,2,red\n3,4,blue\n"
FAR = "x,y,colour\n" + "".join(f"{row % 7},{row * 1.5},{'red' if row % 2 else 'blue'}\n" for row in range(300))
#: A file, and the row, line and column of each fault.
CSV_FILES: dict[str, tuple[bytes, list[tuple[int | None, int | None, str | None]]]] = {
    "empty": (b"", [(None, None, None)]),
    "header alone": (b"x,y,colour\n", [(None, None, None)]),
    "bad cells among numbers": (
        FAR.replace(",7.5,", ",7.S,").replace(",13.5,", ",I3.5,").encode(),
        [(6, 7, "y"), (10, 11, "y")],
    ),
    "short row": (TWO.replace("3,4,blue", "3,blue").encode(), [(2, 3, None)]),
    "long row": (TWO.replace("3,4,blue", "3,4,blue,5").encode(), [(2, 3, None)]),
    "same names": (TWO.replace("y", "x").encode(), [(0, 1, "x")]),
    "labels alone": (b"colour\nred\nblue\n", [(0, None, None)]),
    "labels missing": (b"x,y,colour\n1,2,red\n1,3,\n", [(None, None, "colour")]),
    "one class": (b"x,y,colour\n1,2,red\n3,4,red\n", [(None, None, "colour")]),
    "open quote": (b'x,y,colour\n1,2,red\n1,2,"blue\n', [(2, 3, None)]),
    "a picture": (b"\x89PNG\r\n\x1a\n" + b"\0" * 99, [(None, None, None)]),
}


@pytest.mark.parametrize("fault", CSV_FILES)
def test_a_bad_csv_file(client: Client, fault: str) -> None:
    content, places = CSV_FILES[fault]
    document = problem_of(upload(client, content), 422)
    found = [(entry.get("row"), entry.get("line"), entry.get("column")) for entry in document["errors"]]
    assert found == places
    if places[0][0] is not None:
        assert f"row {places[0][0]}" in document["detail"]


def test_a_form_without_a_file(client: Client) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nnew\r\n--b--\r\n'
    answer = upload(client, body, "?name=new&label=colour", "multipart/form-data; boundary=b")
    assert problem_of(answer, 400)["code"] == "missing_file"


@pytest.mark.parametrize(
    "body", [b"", b"--b", b"nonsense", b"--b\r\n\r\n\r\n--b--", b"--b\r\nContent-Disposition: form-data\r\n\r\nx"]
)
def test_a_broken_form(client: Client, body: bytes) -> None:
    answer = upload(client, body, "", "multipart/form-data; boundary=b")
    assert problem_of(answer, answer.status)["status"] in (400, 422)
    no_boundary = upload(client, body, "", "multipart/form-data")
    assert problem_of(no_boundary, no_boundary.status)["status"] in (400, 415, 422)


def test_a_file_is_known_by_its_content_and_not_by_its_type(client: Client) -> None:
    answer = upload(client, b"%PDF-1.4 \0\0\xff", "?name=new", "text/csv")
    assert "Received: a PDF" in problem_of(answer, 422)["detail"]


# Too large.


def test_a_body_over_the_limit(client: Client) -> None:
    body = json.dumps(a_training("base", metadata={"a": "x" * LIMITS["MAX_BODY_BYTES"]})).encode()
    for path in ("/train", "/models", "/predict"):
        document = problem_of(client.post(path, body), 413)
        assert document["code"] == "too_large"
        assert str(LIMITS["MAX_BODY_BYTES"]) in document["detail"]


def test_a_dataset_over_the_limit(client: Client) -> None:
    """Files and rows of datasets have a limit of their own, which is that of what they unpack to as well."""
    limit = LIMITS["MAX_DATASET_BYTES"]
    large = b"x,y,colour\n" + b"1,2,red\n" * (limit // 8)
    for content in (large, json.dumps({"name": "new", "more": "x" * limit}).encode()):
        kind = "application/json" if content.startswith(b"{") else "text/csv"
        document = problem_of(upload(client, content, kind=kind), 413)
        assert document["code"] == "too_large"
        assert str(limit) in document["detail"]
    assert str(limit) in problem_of(upload(client, gzip.compress(large)), 422)["detail"]


@pytest.mark.parametrize("path", ["/models", "/train", "/predict", "/evaluate"])
def test_a_chunked_body_over_the_limit(client: Client, path: str) -> None:
    answer = chunked(client, path, [b'{"a": "', *[b"x" * 65_536] * 17, b'"}'], "application/json")
    assert problem_of(answer, 413)["code"] == "too_large"


def test_a_chunked_file_over_the_limit_is_not_cut_short(client: Client) -> None:
    # 16 bytes a line, so that the limit falls between two of them.
    lines = [b"x,y,colour,abcd\n", *[b"1,2,red,1234567\n3,4,green,12345\n" * 2048] * 17]
    answer = chunked(client, "/datasets?name=new&label=colour", lines, "text/csv")
    assert problem_of(answer, 413)["code"] == "too_large"


def test_a_chunked_form_over_the_limit(client: Client) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    kind = "multipart/form-data; boundary=b"
    answer = chunked(client, "/datasets?name=new&label=colour", [head, *[b"1,2,red\n" * 8192] * 17], kind)
    assert problem_of(answer, 413)["code"] == "too_large"


def test_a_chunked_body_within_the_limit_is_read(client: Client) -> None:
    body = json.dumps({"model": "other", "inputs": [[1, 2]]}).encode()
    answer = chunked(client, "/predict", [body[:10], body[10:]], "application/json")
    assert answer.status == 200
    assert answer.json["version"] == 1


CSV_PATH = "/datasets?name=new&label=colour"
FORM = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\nx,y,colour\n1,2,red\n3,4,green\n'
JSON_MODEL = b'{"name": "short", "inputs": 1, "classes": 2, "hidden": []}'
#: Path, content type, and a body shorter than its Content-Length; most of them would be valid bodies.
SHORT_BODIES: dict[str, tuple[str, str, bytes]] = {
    "csv": (CSV_PATH, "text/csv", b"x,y,colour\n1,2,red\n3,4,green\n"),
    "form": (CSV_PATH, "multipart/form-data; boundary=b", FORM + b"\r\n--b--\r\n"),
    "form without its end": (CSV_PATH, "multipart/form-data; boundary=b", FORM),
    "rows": ("/datasets", "application/json", json.dumps(JSON_ROWS).encode()),
    "model": ("/models", "application/json", JSON_MODEL),
    "training": ("/train", "application/json", json.dumps(a_training("base")).encode()),
    "prediction": ("/predict", "application/json", b'{"model": "other", "inputs": [[1, 2]]}'),
    "alias": ("/models/other/aliases/best", "application/json", b'{"version": 1}'),
    "nothing": ("/predict", "application/json", b""),
}


@pytest.mark.parametrize("body", SHORT_BODIES)
def test_a_body_that_is_cut_short(client: Client, body: str) -> None:
    path, kind, content = SHORT_BODIES[body]
    method = "PUT" if "aliases" in path else "POST"
    document = problem_of(raw(client, method, path, {"Content-Type": kind, "Content-Length": "5000"}, content), 400)
    assert document["code"] == "invalid_body"
    assert "5000 bytes" in document["detail"]


@pytest.mark.parametrize("path", ["/models", "/train", "/predict", "/datasets", CSV_PATH])
@pytest.mark.parametrize(
    "content",
    [b"zz\r\n{}\r\n0\r\n\r\n", b"5\r\nx,y\n1", b"2\r\n{}\r\n", b"2\r\n{}xx0\r\n\r\n", b"", b"-1\r\n"],
    ids=repr,
)
def test_a_chunked_body_that_is_broken(client: Client, path: str, content: bytes) -> None:
    kind = "text/csv" if "?" in path else "application/json"
    answer = raw(client, "POST", path, {"Content-Type": kind, "Transfer-Encoding": "chunked"}, content)
    assert problem_of(answer, 400)["code"] == "invalid_body"


def raw(client: Client, method: str, path: str, headers: dict[str, str], content: bytes) -> Answer:
    """The response to a request of exactly these bytes."""
    place = urlsplit(client.base)
    with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {place.netloc}", *map(": ".join, headers.items()), "", ""]
        connection.sendall("\r\n".join(lines).encode() + content)
        connection.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(connection, method=method)
        response.begin()
        return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, response.read())


def chunked(client: Client, path: str, chunks: list[bytes], kind: str) -> Answer:
    connection = http.client.HTTPConnection(urlsplit(client.base).netloc, timeout=30)
    try:
        connection.request("POST", path, iter(chunks), {"Content-Type": kind}, encode_chunked=True)
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, response.read())
    finally:
        connection.close()


# Queries and paths.

QUERIES = {
    "/models?limit=0": "/limit",
    "/models?limit=101": "/limit",
    "/models?limit=-1": "/limit",
    "/models?limit=ten": "/limit",
    "/models?limit=": "/limit",
    "/models?limit=1.5": "/limit",
    "/models?limit=" + "9" * 3000: "/limit",
    "/models?page=2": "/page",
    "/datasets?limit=0": "/limit",
    "/jobs?limit=1000": "/limit",
    "/jobs?state=running,queued": "/state",
    "/jobs?state=": "/state",
    "/jobs?order=asc": "/order",
    "/models?after=none": "/after",
    "/models?after=": "/after",
    "/datasets?after=zzz": "/after",
    "/datasets?after=job_{21}": "/after",
    "/jobs?after=zzz": "/after",
    "/jobs?after=": "/after",
    "/jobs?after=job_{20}": "/after",
    "/jobs?after=job_{21}0": "/after",
    "/jobs?after=job_{21}%0A": "/after",
    "/jobs?after=job_{20}u": "/after",
    "/jobs?after=ds_{21}": "/after",
    "/models/other/checkpoints?after=zzz": "/after",
    "/models/other/checkpoints?after=job_{21}": "/after",
    "/jobs/{job}/checkpoints?after=zzz": "/after",
    "/models/other/versions?after=x": "/after",
    "/models/other/versions?after=%D9%A3": "/after",
    "/models/other/versions?after=1%0A": "/after",
    "/jobs/{job}/events?after=%D9%A3": "/after",
    "/jobs?limit=1&limit=2": "/limit",
    "/models?limit=1&limit=1": "/limit",
    "/jobs?state=queued&state=running": "/state",
    "/jobs/{job}?wait=0&wait=0": "/wait",
    "/models/other/versions?limit=0": "/limit",
    "/models/other/checkpoints?limit=x": "/limit",
    "/jobs/{job}?wait=-1": "/wait",
    "/jobs/{job}?wait=soon": "/wait",
    "/jobs/{job}?wait=nan": "/wait",
    "/jobs/{job}?wait=inf": "/wait",
    "/jobs/{job}?timeout=1": "/timeout",
    "/jobs/{job}/events?after=x": "/after",
    "/jobs/{job}/events?after=-1": "/after",
    "/jobs/{job}/events?after=" + "9" * 30: "/after",
    "/jobs/{job}/checkpoints?limit=0": "/limit",
}


@pytest.mark.parametrize("path", QUERIES, ids=lambda path: path[:40])
def test_a_bad_query(client: Client, path: str) -> None:
    job = client.get("/jobs").json["data"][0]["id"]
    filled = path.replace("{job}", job).replace("{21}", "0" * 21).replace("{20}", "0" * 20)
    assert pointers(client.get(filled)) == [QUERIES[path]]


@pytest.mark.parametrize("path", ["/jobs", "/datasets", "/models/other/checkpoints"])
def test_below_an_entry_that_is_gone_there_is_a_page(client: Client, path: str) -> None:
    kind = {"/jobs": "job", "/datasets": "ds"}.get(path, "ckpt")
    assert client.get(f"{path}?after={kind}_{'0' * 21}").json == {"data": [], "has_more": False}
    assert client.get(f"{path}?after={kind}_{'z' * 21}").json == client.get(path).json


def test_a_bad_last_event_id(client: Client) -> None:
    job = client.get("/jobs").json["data"][0]["id"]
    for value in ("x", "-1", "1.5", "9" * 40, "\xb2"):
        headers = {"Accept": "text/event-stream", "Last-Event-ID": value}
        assert pointers(client.get(f"/jobs/{job}/events", headers=headers)) == ["/Last-Event-ID"]


ALIASES: dict[str, tuple[str, Any, int, str]] = {
    "latest": ("other/aliases/latest", {"version": 1}, 409, "reserved_alias"),
    "unknown model": ("none/aliases/best", {"version": 1}, 404, "not_found"),
    "unknown version": ("other/aliases/best", {"version": 7}, 404, "not_found"),
    "huge version": ("other/aliases/best", {"version": 2**53}, 404, "not_found"),
    "version 0": ("other/aliases/best", {"version": 0}, 422, "validation_failed"),
    "version a string": ("other/aliases/best", {"version": "1"}, 422, "validation_failed"),
    "version true": ("other/aliases/best", {"version": True}, 422, "validation_failed"),
    "version beyond": ("other/aliases/best", {"version": 2**53 + 1}, 422, "validation_failed"),
    "no version": ("other/aliases/best", {}, 422, "validation_failed"),
    "unknown field": ("other/aliases/best", {"version": 1, "force": True}, 422, "validation_failed"),
    "a number": ("other/aliases/7", {"version": 1}, 422, "validation_failed"),
    "a number's digits": ("other/aliases/007", {"version": 1}, 422, "validation_failed"),
    "another script's digits": ("other/aliases/%D9%A1", {"version": 1}, 422, "validation_failed"),
    "capital": ("other/aliases/Best", {"version": 1}, 422, "validation_failed"),
    "blank": ("other/aliases/a%20b", {"version": 1}, 422, "validation_failed"),
    "long": ("other/aliases/" + "a" * 64, {"version": 1}, 422, "validation_failed"),
}


@pytest.mark.parametrize("fault", ALIASES)
def test_a_bad_alias(client: Client, fault: str) -> None:
    path, body, status, code = ALIASES[fault]
    assert problem_of(client.put(f"/models/{path}", body), status)["code"] == code


MISSING = [
    "/nothing",
    "/models/none",
    "/models/none/versions",
    "/models/none/versions/1",
    "/models/none/checkpoints",
    "/models/none/aliases",
    "/models/none/aliases/default",
    "/models/none/aliases/latest",
    "/models/other/aliases/best",
    "/models/other/versions/2",
    "/models/other/versions/%D9%A1",
    "/models/other/versions/best",
    "/models/other/versions/" + "9" * 40,
    "/models/other/versions/0",
    "/models/%00",
    "/models/..%2f..%2fetc%2fpasswd",
    "/models/" + "a" * 4000,
    "/models/%F0%9F%98%80",
    "/models/%ff",
    "/datasets/none",
    "/datasets/%00",
    "/jobs/job_none",
    "/jobs/job_none?wait=1",
    "/jobs/job_none/history",
    "/jobs/job_none/events",
    "/jobs/job_none/checkpoints",
    "/checkpoints/ckpt_none",
    "/checkpoints/ckpt_none/file",
    "/checkpoints/..%2ftrainyard.db/file",
    "/docs/none.js",
    "/models/",
]


@pytest.mark.parametrize("path", MISSING, ids=lambda path: path[:40])
def test_what_is_not_there(client: Client, path: str) -> None:
    assert problem_of(client.get(path), 404)["code"] == "not_found"


@pytest.mark.parametrize(
    "path", ["/models/none", "/models/none?force=true", "/datasets/none", "/models/none/aliases/a"]
)
def test_deleting_what_is_not_there(client: Client, path: str) -> None:
    assert problem_of(client.delete(path), 404)["code"] == "not_found"


@pytest.mark.parametrize("wish", ["cancel", "pause", "resume"])
def test_wishes_for_a_job_that_is_not_there(client: Client, wish: str) -> None:
    assert problem_of(client.post(f"/jobs/job_none/{wish}"), 404)["code"] == "not_found"


def test_a_bad_force(client: Client) -> None:
    assert pointers(client.delete("/models/base?force=maybe")) == ["/force"]


def test_large_whole_numbers_as_labels_of_a_file(client: Client, prepared: Prepared) -> None:
    """Labels beyond 64 bits are accepted or refused, and never cause a 5xx."""
    answer = upload(client, b"x,colour\n1,1180591620717411303424\n2,5\n", "?name=big&label=colour")
    assert answer.status in (201, 422), answer
    if answer.status == 201:
        assert client.get("/datasets/big").json["classes"] == answer.json["classes"]
        assert client.delete("/datasets/big").status == 204


def test_a_misspelt_name_is_answered_with_the_nearest_one(client: Client) -> None:
    """In a body, in one that is parsed by hand, and in a query; all of them at once."""
    answer = client.post("/predict", {"model": "other", "inputs": [[1, 2]], "topk": 1, "versoin": 1})
    assert pointers(answer) == ["/topk", "/versoin"]
    details = [error["detail"] for error in answer.json["errors"]]
    assert ["did you mean 'top_k'?" in details[0], "did you mean 'version'?" in details[1]] == [True, True]
    answer = client.get("/jobs?limt=3")
    assert pointers(answer) == ["/limt"]
    assert "did you mean 'limit'?" in answer.json["detail"]
