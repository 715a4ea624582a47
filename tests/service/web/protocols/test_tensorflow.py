"""TensorFlow Serving's REST API and KServe's V1 protocol: the same answers as ``/predict``, in their forms."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
import subprocess
from typing import Any

import numpy as np
import pytest

from service.web.protocols.tensorflow import reader_of
from testing.harness import Answer, Client, Server
from testing.samples import CLASSES, ROWS, fresh
from tests.service.conftest import Trained
from tests.service.web.protocols.conftest import Tabled

pytestmark = pytest.mark.processes


def native(client: Client, model: str, **members: Any) -> dict[str, Any]:
    answer = client.post("/predict", {"model": model, **members})
    assert answer.status == 200, answer
    return dict(answer.json)


def ask(client: Client, path: str, body: Any, **options: Any) -> Any:
    answer = client.post(f"/v1/models/{path}", body, **options)
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "application/json"
    return answer.json


def refused(client: Client, path: str, body: Any, status: int = 400) -> str:
    """The sentence of an error, which is its only member."""
    answer = client.post(f"/v1/models/{path}", body)
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    assert answer.json.keys() == {"error"}
    return str(answer.json["error"])


class TestPredict:
    """``:predict``."""

    def test_rows_are_answered_with_probabilities(self, client: Client, trained: Trained) -> None:
        expected = native(client, trained.name, inputs=ROWS)
        answer = ask(client, f"{trained.name}:predict", {"instances": ROWS})
        assert answer == {"predictions": expected["probabilities"]}

    def test_columns_are_answered_as_outputs(self, client: Client, trained: Trained) -> None:
        expected = native(client, trained.name, inputs=ROWS)["probabilities"]
        for inputs in (ROWS, {"inputs": ROWS}):
            assert ask(client, f"{trained.name}:predict", {"inputs": inputs}) == {"outputs": expected}

    def test_the_only_input_may_be_named_in_each_row(self, client: Client, trained: Trained) -> None:
        expected = native(client, trained.name, inputs=ROWS)["probabilities"]
        body = {"instances": [{"inputs": row} for row in ROWS]}
        assert ask(client, f"{trained.name}:predict", body) == {"predictions": expected}

    @pytest.mark.parametrize(
        ("signature", "member"),
        [("serving_default", "probabilities"), ("probabilities", "probabilities"), ("predictions", "predictions")],
    )
    def test_a_signature_selects_the_output(self, client: Client, sizes: Tabled, signature: str, member: str) -> None:
        expected = native(client, sizes.name, rows=sizes.rows)[member]
        body = {"signature_name": signature, "instances": sizes.rows}
        assert ask(client, f"{sizes.name}:predict", body) == {"predictions": expected}

    def test_numbers_are_rows_of_a_model_with_one_input(self, client: Client, single: str) -> None:
        """As in the documentation's example: ``{"instances": [1.0,2.0,5.0]}``."""
        expected = native(client, single, inputs=[[1.0], [2.0], [5.0]])["probabilities"]
        assert ask(client, f"{single}:predict", {"instances": [1.0, 2.0, 5.0]})["predictions"] == expected
        assert ask(client, f"{single}:predict", {"inputs": [1.0, 2.0, 5.0]})["outputs"] == expected
        assert ask(client, f"{single}:predict", {"instances": [[1.0], [2.0], [5.0]]})["predictions"] == expected

    def test_objects_and_columns_of_a_table(self, client: Client, visits: Tabled) -> None:
        expected = native(client, visits.name, rows=visits.rows)["probabilities"]
        assert ask(client, f"{visits.name}:predict", {"instances": visits.rows}) == {"predictions": expected}
        columns = {name: [row[name] for row in visits.rows] for name in visits.rows[0]}
        assert ask(client, f"{visits.name}:predict", {"inputs": columns}) == {"outputs": expected}
        nested = {name: [[value] for value in values] for name, values in columns.items()}
        assert ask(client, f"{visits.name}:predict", {"inputs": nested}) == {"outputs": expected}

    def test_a_column_left_out_is_missing(self, client: Client, visits: Tabled) -> None:
        rows = [{"age": 30.5}, {"sex": "male"}]
        expected = native(client, visits.name, rows=rows)["probabilities"]
        assert ask(client, f"{visits.name}:predict", {"instances": rows})["predictions"] == expected
        columns = {"age": [30.5, None], "sex": [None, "male"]}
        assert ask(client, f"{visits.name}:predict", {"inputs": columns})["outputs"] == expected

    def test_a_table_of_numbers_takes_rows_too(self, client: Client, sizes: Tabled) -> None:
        expected = native(client, sizes.name, rows=sizes.rows)["probabilities"]
        rows = [[*row.values()] for row in sizes.rows]
        for inputs in (rows, {"inputs": rows}):
            answer = ask(client, f"{sizes.name}:predict", {"inputs": inputs})["outputs"]
            np.testing.assert_allclose(answer, expected, rtol=1e-6)

    def test_text_may_be_base64(self, client: Client, visits: Tabled) -> None:
        note = {"b64": base64.b64encode(b"very fine day").decode()}
        expected = native(client, visits.name, rows=[{"notes": "very fine day"}] * 2)["probabilities"]
        body: Any = {"instances": [{"notes": note}, {"notes": [note]}]}
        assert ask(client, f"{visits.name}:predict", body)["predictions"] == expected
        body = {"inputs": {"notes": [note, note]}}
        assert ask(client, f"{visits.name}:predict", body)["outputs"] == expected

    def test_nan_as_python_writes_it_is_a_missing_value(self, client: Client, visits: Tabled) -> None:
        expected = native(client, visits.name, rows=[{"age": None, "sex": "NaN is no number"}])["probabilities"]
        body = json.dumps({"instances": [{"age": float("nan"), "sex": "NaN is no number"}]}).encode()
        assert ask(client, f"{visits.name}:predict", body)["predictions"] == expected

    @pytest.mark.parametrize("wanted", ["/versions/1", "/versions/2", "/labels/latest", "/labels/default", ""])
    def test_versions_and_labels(self, client: Client, trained: Trained, wanted: str) -> None:
        name = wanted.rpartition("/")[2]
        version = int(name) if name.isdecimal() else name or None
        expected = native(client, trained.name, inputs=ROWS, version=version)
        answer = client.post(f"/v1/models/{trained.name}{wanted}:predict", {"instances": ROWS})
        assert answer.json["predictions"] == expected["probabilities"]
        assert answer.headers["x-model-version"] == str(expected["version"])

    def test_many_rows(self, client: Client, trained: Trained) -> None:
        rows = np.random.default_rng(5).normal(size=(5_000, 2)).tolist()
        expected = native(client, trained.name, inputs=rows)["probabilities"]
        assert ask(client, f"{trained.name}:predict", {"instances": rows})["predictions"] == expected
        assert ask(client, f"{trained.name}:predict", {"inputs": rows})["outputs"] == expected

    def test_a_body_may_be_compressed(self, client: Client, trained: Trained) -> None:
        expected = native(client, trained.name, inputs=ROWS)["probabilities"]
        body = gzip.compress(json.dumps({"instances": ROWS}).encode())
        answer = ask(client, f"{trained.name}:predict", body, headers={"Content-Encoding": "gzip"})
        assert answer["predictions"] == expected

    def test_what_the_documentation_sends_with_curl(self, client: Client, single: str) -> None:
        curl = shutil.which("curl")
        assert curl is not None
        command = [curl, "-s", "-d", '{"instances": [1.0,2.0,5.0]}', "-X", "POST"]
        done = subprocess.run([*command, f"{client.base}/v1/models/{single}:predict"], capture_output=True, check=True)
        assert len(json.loads(done.stdout)["predictions"]) == 3


class TestClassify:
    """``:classify``."""

    def test_each_class_has_its_score(self, client: Client, trained: Trained) -> None:
        expected = native(client, trained.name, inputs=ROWS)["probabilities"]
        body = {"examples": [{"inputs": row} for row in ROWS]}
        (results,) = ask(client, f"{trained.name}:classify", body).values()
        assert results == [[list(pair) for pair in zip(CLASSES, row, strict=True)] for row in expected]

    def test_labels_are_text(self, client: Client, sizes: Tabled) -> None:
        (results,) = ask(client, f"{sizes.name}:classify", {"examples": sizes.rows[:1]}).values()
        assert [label for label, _ in results[0]] == ["0", "1"]

    def test_a_context_is_shared(self, client: Client, visits: Tabled) -> None:
        rows = [{"age": 20, "sex": "male"}, {"age": 71, "sex": "male"}]
        body = {"context": {"sex": "male"}, "examples": [{"age": [20]}, {"age": 71}], "signature_name": "classify"}
        (results,) = ask(client, f"{visits.name}/versions/1:classify", body).values()
        scores = [[score for _, score in pairs] for pairs in results]
        assert scores == native(client, visits.name, rows=rows)["probabilities"]
        assert ask(client, f"{visits.name}/labels/latest:classify", body)["results"] == results

    def test_a_context_repeats_nothing(self, client: Client, visits: Tabled) -> None:
        body = {"context": {"sex": "male"}, "examples": [{"age": 2}, {"sex": "male"}]}
        error = refused(client, f"{visits.name}:classify", body)
        assert error == "/examples/1/sex: must be left out, because context has it for all"

    def test_regression_is_refused(self, client: Client, trained: Trained) -> None:
        for place in (trained.name, f"{trained.name}/versions/1"):
            error = refused(client, f"{place}:regress", {"examples": [{"inputs": ROWS[0]}]}, 404)
            assert error == "models here are classifiers, which regress nothing; use :classify or :predict"


class TestRefusals:
    """What is refused names its place."""

    @pytest.mark.parametrize(
        ("body", "error"),
        [
            ([], "the request: must be an object. Received: []"),
            ({}, "the request: must have instances, a list of rows, or inputs, columns. Received: neither"),
            (
                {"instances": [[1, 2]], "inputs": [[1, 2]]},
                "the request: must have instances, a list of rows, or inputs, columns. Received: both",
            ),
            ({"instance": [[1, 2]], "inputs": [[1, 2]]}, "/instance: is not a known field; did you mean 'instances'?"),
            ({"instances": []}, "/instances: must be a list of at least one row. Received: an empty list"),
            ({"instances": "abc"}, "/instances: must be a list of at least one row. Received: 'abc'"),
            # A missing batch dimension.
            (
                {"instances": [0.8, 0.2]},
                "/instances: must be a list of rows, [[…], …], each of 2 numbers; one row is [[…]]. Received: [0.8,",
            ),
            ({"inputs": [0.8, 0.2]}, "/inputs: must be a list of rows, [[…], …], each of 2 numbers"),
            ({"inputs": {"inputs": [0.8, 0.2]}}, "/inputs/inputs: must be a list of rows"),
            (
                {"instances": [[1, 2], [1]]},
                "/instances/1: must hold 2 numbers, one per input of the model. Received: 1",
            ),
            ({"instances": [[1, "2"]]}, "/instances/0/1: must be a number. Received: '2'"),
            ({"instances": [[1, 2], [1, None]]}, "/instances/1/1: must be a number. Received: null"),
            ({"instances": [[1, 1e300]]}, "/instances/0/1: is too large for float32. Received: 1e+300"),
            ({"instances": [[1, 2], [3.4e38, 3.4e38]]}, "/instances/1: is so large that the model's float32 numbers"),
            ({"instances": [{"x": [1, 2]}]}, '/instances/0: must be an object {"inputs": […]}, as the model has no'),
            ({"instances": [{"inputs": [1, True]}]}, "/instances/0/inputs/1: must be a number. Received: true"),
            ({"instances": [{"inputs": [1]}]}, "/instances/0/inputs: must hold 2 numbers"),
            ({"inputs": {"x": [1, 2]}}, "/inputs/x: is not a known field; known are inputs"),
            ({"inputs": {}}, '/inputs: must be an object with the member "inputs". Received: an empty object'),
            ({"signature_name": 3, "instances": [[1, 2]]}, "/signature_name: must be one of serving_default,"),
            ({"signature_name": "regress", "instances": [[1, 2]]}, "/signature_name: must be one of serving_default,"),
        ],
    )
    def test_of_a_model_without_columns(self, client: Client, trained: Trained, body: Any, error: str) -> None:
        assert refused(client, f"{trained.name}:predict", body).startswith(error)

    @pytest.mark.parametrize(
        ("body", "error"),
        [
            (
                {"instances": [[1, "male"]]},
                "/instances: must be objects by column, because not all columns are numbers",
            ),
            ({"instances": [{"aeg": 1}]}, "/instances/0/aeg: is not a column of the model (did you mean 'age'?)"),
            ({"instances": [{"age": "old"}]}, "/instances/0/age: must be a number, because the column is a number"),
            ({"instances": [{"age": [1, 2]}]}, "/instances/0/age: must be one value, or a list of one"),
            ({"instances": [{"notes": {"b65": ""}}]}, '/instances/0/notes: must be a value, or {"b64": "…"} for text'),
            ({"instances": [{"notes": {"b64": "!"}}]}, "/instances/0/notes/b64: must be the base64 of text in UTF-8"),
            (
                {"instances": [{"notes": {"b64": "/w=="}}]},
                "/instances/0/notes/b64: must be the base64 of text in UTF-8",
            ),
            # Columns of different lengths.
            (
                {"inputs": {"age": [1, 2], "sex": ["male"], "member": [True, True, False]}},
                (
                    "/inputs/sex: must have 2 values, as many as /inputs/age. Received: 1; "
                    "/inputs/member: must have 2 values"
                ),
            ),
            ({"inputs": {"age": 22}}, "/inputs/age: must be a list with a value for each row. Received: 22"),
            ({"inputs": {"aeg": [22]}}, "/inputs/aeg: is not a column of the model (did you mean 'age'?)"),
            ({"inputs": {"sex": ["male"], "age": ["old"]}}, "/inputs/age/0: must be a number"),
            ({"inputs": {"age": [2, [3, 4]]}}, "/inputs/age/1: must be one value, or a list of one"),
            ({"inputs": {}}, "/inputs: must have a list of values for each column: age, sex, member, day, notes"),
        ],
    )
    def test_of_a_table(self, client: Client, visits: Tabled, body: Any, error: str) -> None:
        assert refused(client, f"{visits.name}:predict", body).startswith(error)

    @pytest.mark.parametrize(
        ("path", "error"),
        [
            ("absent:predict", "there is no model 'absent'"),
            ("{name}/versions/99:predict", "model '{name}' has no version 99"),
            ("{name}/labels/none:predict", "model '{name}' has no alias 'none'"),
            ("{name}/versions/latest:predict", "a version is a number; an alias is a label, /labels/latest"),
        ],
    )
    def test_of_what_does_not_exist(self, client: Client, trained: Trained, path: str, error: str) -> None:
        found = refused(client, path.format(name=trained.name), {"instances": ROWS}, 404)
        assert found.startswith(error.format(name=trained.name))

    def test_of_a_body_that_is_no_json(self, client: Client, trained: Trained) -> None:
        assert "not valid JSON" in refused(client, f"{trained.name}:predict", b'{"instances": [[1, Infinity]]}')
        answer = client.post(f"/v1/models/{trained.name}:predict", b"1,2", headers={"Content-Type": "text/csv"})
        assert (answer.status, answer.json) == (415, {"error": "the body must be application/json. Received: text/csv"})

    def test_of_other_methods(self, client: Client, trained: Trained) -> None:
        answer = client.put(f"/v1/models/{trained.name}:predict", {})
        assert answer.status == 405
        assert answer.json.keys() == {"error"}


class TestStatus:
    """Lists, states and metadata."""

    def test_names_are_listed(self, client: Client, trained: Trained) -> None:
        names = client.get("/v1/models").json["models"]
        assert trained.name in names
        assert names == sorted(names)

    def test_a_model_with_versions_is_ready(self, client: Client, trained: Trained) -> None:
        good = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        states = [{"version": version, **good} for version in ("3", "2", "1")]
        answer = client.get(f"/v1/models/{trained.name}")
        assert (answer.status, answer.json) == (
            200,
            {"name": trained.name, "ready": True, "model_version_status": states},
        )
        for place, version in (("versions/2", "2"), ("labels/latest", "3")):
            only = client.get(f"/v1/models/{trained.name}/{place}").json["model_version_status"]
            assert only == [{"version": version, **good}]

    def test_a_model_without_versions_is_not(self, client: Client) -> None:
        name = fresh("untrained")
        client.define({"name": name, "inputs": 2, "classes": 2})
        answer = client.get(f"/v1/models/{name}")
        assert (answer.status, answer.json) == (404, {"name": name, "ready": False, "model_version_status": []})
        error = refused(client, f"{name}:predict", {"instances": ROWS}, 404)
        assert error.startswith(f"model '{name}' has no version yet")

    @pytest.mark.parametrize("place", ["absent", "absent/versions/1", "absent/metadata", "absent/labels/a/metadata"])
    def test_what_does_not_exist(self, client: Client, place: str) -> None:
        answer = client.get(f"/v1/models/{place}")
        assert (answer.status, answer.json) == (404, {"error": "there is no model 'absent'"})

    @pytest.mark.parametrize(("place", "version"), [("", "3"), ("/versions/1", "1"), ("/labels/latest", "3")])
    def test_metadata(self, client: Client, trained: Trained, place: str, version: str) -> None:
        document = client.get(f"/v1/models/{trained.name}{place}/metadata").json
        assert document["model_spec"] == {"name": trained.name, "signature_name": "", "version": version}
        signatures = document["metadata"]["signature_def"]["signature_def"]
        (name, tensor), *others = signatures["serving_default"]["inputs"].items()
        assert (name, tensor["dtype"], shape_of(tensor), others) == ("inputs", "DT_FLOAT", ["-1", "2"], [])
        outputs = signatures["serving_default"]["outputs"]
        assert {name: shape_of(tensor) for name, tensor in outputs.items()} == {"probabilities": ["-1", "3"]}
        assert signatures["predictions"]["outputs"]["predictions"]["dtype"] == "DT_STRING"
        assert signatures["classify"]["method_name"] == "tensorflow/serving/classify"

    def test_metadata_of_a_table_has_an_input_for_each_column(
        self, client: Client, visits: Tabled, sizes: Tabled
    ) -> None:
        def signature(model: Tabled) -> Any:
            document = client.get(f"/v1/models/{model.name}/metadata").json
            return document["metadata"]["signature_def"]["signature_def"]["predictions"]

        inputs = {name: tensor["dtype"] for name, tensor in signature(visits)["inputs"].items()}
        assert inputs == {
            "age": "DT_DOUBLE",
            "sex": "DT_STRING",
            "member": "DT_BOOL",
            "day": "DT_STRING",
            "notes": "DT_STRING",
        }
        assert signature(sizes)["outputs"]["predictions"]["dtype"] == "DT_INT64"


def shape_of(tensor: dict[str, Any]) -> list[str]:
    return [each["size"] for each in tensor["tensor_shape"]["dim"]]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/a",
        "/v1/models/a:regress",
        "/v1/models/a/b:predict",
        "/v1/models/a/versions/:predict",
        "/v1/models/a/versions/b:predict",
        "/v1/models/a:predict/",
        "/v1/models/a:predict\n",
        "/predict",
    ],
)
def test_other_paths_have_no_reader(path: str) -> None:
    assert reader_of(path) is None


def test_a_version_at_fault_is_not_available(client: Client, server: Server) -> None:
    name = fresh("damaged")
    data = {"inputs": ROWS, "labels": [0, 1, 1] * 4}
    model = {"name": name, "inputs": 2, "classes": 2, "hidden": [2]}
    jobs = [client.run({"model": model, "data": data, "epochs": 1, "seed": seed}) for seed in (1, 2)]
    (server.data / "checkpoints" / f"{jobs[1]['checkpoint']}.h5").unlink()
    answer: Answer = client.post(f"/v1/models/{name}/versions/2:predict", {"instances": ROWS})
    assert answer.status == 500, answer
    assert answer.json.keys() == {"error"}
    document = client.get(f"/v1/models/{name}").json
    newest, older = document["model_version_status"]
    assert (newest["state"], newest["status"]["error_code"], older["state"]) == ("END", "DATA_LOSS", "AVAILABLE")
    assert document["ready"]
    assert ask(client, f"{name}:predict", {"instances": ROWS})["predictions"], "the default version is a good one"
    only = client.get(f"/v1/models/{name}/versions/2")
    assert (only.status, only.json["ready"]) == (404, False)
