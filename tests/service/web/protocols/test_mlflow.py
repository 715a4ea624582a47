"""MLflow's scoring protocol, and what a container of SageMaker answers: as ``/predict``, in their forms."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from service.settings import Settings
from service.web.app import create_app
from testing.harness import Answer, Client, Server, eventually
from testing.samples import CLASSES, CSV, LABELS, ROWS, a_model, a_training, fresh
from tests.service.conftest import Trained
from tests.service.web.protocols.conftest import Tabled

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[4]
PROBABILITIES = {"predict_method": "predict_proba"}


def native(client: Client, model: str, **members: Any) -> dict[str, Any]:
    answer = client.post("/predict", {"model": model, **members})
    assert answer.status == 200, answer
    return dict(answer.json)


def post(client: Client, model: str, body: Any, kind: str = "application/json", accept: str | None = None) -> Answer:
    headers = {"Content-Type": kind} | ({} if accept is None else {"Accept": accept})
    return client.post(f"/invocations?model={model}", body, headers=headers)


def ask(client: Client, model: str, body: Any, kind: str = "application/json") -> Any:
    answer = post(client, model, body, kind)
    assert answer.status == 200, answer
    assert answer.json.keys() == {"predictions"}
    return answer.json["predictions"]


def refused(answer: Answer, status: int = 400, code: str = "BAD_REQUEST") -> str:
    """The sentence of an error."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    assert answer.json.keys() == {"error_code", "message"}
    assert answer.json["error_code"] == code
    return str(answer.json["message"])


def csv_of(rows: list[dict[str, Any]]) -> bytes:
    """The rows as pandas writes them."""
    text: str = pd.DataFrame(rows).to_csv(index=False)
    return text.encode()


def split_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"columns": list(rows[0]), "index": list(range(len(rows))), "data": [[*row.values()] for row in rows]}


class TestForms:
    """Every form of the same rows is answered alike."""

    def test_a_table(self, client: Client, visits: Tabled) -> None:
        expected = native(client, visits.name, rows=visits.rows)
        columns = {name: [row[name] for row in visits.rows] for name in visits.rows[0]}
        forms: list[dict[str, Any]] = [
            {"dataframe_records": visits.rows},
            {"dataframe_split": split_of(visits.rows)},
            {"instances": visits.rows},
            {"inputs": columns},
        ]
        for form in forms:
            assert ask(client, visits.name, form) == expected["predictions"]
            assert ask(client, visits.name, {**form, "params": PROBABILITIES}) == expected["probabilities"]
        assert ask(client, visits.name, csv_of(visits.rows), "text/csv") == expected["predictions"]

    def test_a_model_without_columns(self, client: Client, trained: Trained) -> None:
        expected = native(client, trained.name, inputs=ROWS)["predictions"]
        records = [{"x": x, "y": y} for x, y in ROWS]
        forms: list[dict[str, Any]] = [
            {"inputs": ROWS},
            {"inputs": {"inputs": ROWS}},
            {"instances": ROWS},
            {"dataframe_records": records},
            {"dataframe_split": split_of(records)},
            {"dataframe_split": {"columns": [0, 1], "data": ROWS}},
            {"dataframe_split": {"data": ROWS}},
        ]
        for form in forms:
            assert ask(client, trained.name, form) == expected
        frame = pd.DataFrame(ROWS)
        for header in (False, True):
            text = frame.to_csv(index=False, header=["x", "y"] if header else False)
            assert ask(client, trained.name, text.encode(), "text/csv; charset=utf-8") == expected

    def test_columns_stand_in_any_order_and_some_may_be_missing(self, client: Client, visits: Tabled) -> None:
        rows: list[dict[str, Any]] = [{"sex": "male", "age": 30.25}, {"sex": "female", "age": None}]
        expected = native(client, visits.name, rows=rows)["predictions"]
        assert ask(client, visits.name, csv_of(rows), "text/csv") == expected
        assert ask(client, visits.name, {"dataframe_split": split_of(rows)}) == expected

    def test_numbers_without_names_are_in_the_models_order(self, client: Client, sizes: Tabled) -> None:
        expected = native(client, sizes.name, rows=sizes.rows)["predictions"]
        data = [[*row.values()] for row in sizes.rows]
        text = "".join(f"{x},{y}\n" for x, y in data).encode()
        assert ask(client, sizes.name, text, "text/csv") == expected
        assert ask(client, sizes.name, {"dataframe_split": {"columns": [0, 1], "data": data}}) == expected
        assert ask(client, sizes.name, {"instances": data}) == expected

    def test_the_index_of_a_data_frame_is_left_out(self, client: Client, sizes: Tabled) -> None:
        expected = native(client, sizes.name, rows=sizes.rows)["predictions"]
        text = pd.DataFrame(sizes.rows).to_csv().encode()
        assert text.startswith(b",length,width\n0,")
        assert ask(client, sizes.name, text, "text/csv") == expected

    def test_whether_there_is_a_header_may_be_said(self, client: Client, visits: Tabled, sizes: Tabled) -> None:
        rows = [{"age": 30.5, "sex": "male", "member": True, "day": "2020-05-01", "notes": "rain again"}]
        expected = native(client, visits.name, rows=rows)["predictions"]
        text = csv_of(rows).partition(b"\n")[2]
        assert ask(client, visits.name, text, "text/csv; header=absent") == expected
        text = b"length,width\n3.5,2\n"
        expected = native(client, sizes.name, rows=[{"length": 3.5, "width": 2}])["predictions"]
        assert ask(client, sizes.name, text, "text/csv; header=present") == expected

    @pytest.mark.parametrize(
        "row",
        [
            {"age": 30, "sex": "male", "member": True, "day": "2020-05-01", "notes": "rain again"},
            {"age": 30.0, "sex": "unseen, and quoted", "member": False, "day": "2020-05-01T08:30:00", "notes": "7"},
            {"age": 1e-3, "sex": "1", "member": None, "day": None, "notes": None},
            {"age": None, "sex": None, "member": None, "day": "2020-05-01T08:30:00Z", "notes": '"'},
        ],
    )
    def test_csv_and_json_are_typed_alike(self, client: Client, visits: Tabled, row: dict[str, Any]) -> None:
        """By the model's columns, whatever the cells look like."""
        expected = native(client, visits.name, rows=[row])["probabilities"]
        assert ask(client, visits.name, {"dataframe_records": [row], "params": PROBABILITIES}) == expected
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(row)
        writer.writerow(["" if value is None else json.dumps(value).strip('"') for value in row.values()])
        if "\\" not in out.getvalue():
            answer = post(client, visits.name, out.getvalue().encode(), "text/csv", "text/csv")
            assert answer.body.decode() == native(client, visits.name, rows=[row])["predictions"][0] + "\n"

    def test_missing_numbers_as_python_writes_them(self, client: Client, sizes: Tabled) -> None:
        rows = [{"length": None, "width": 2.5}, {"length": 3.5, "width": None}]
        expected = native(client, sizes.name, rows=rows)["predictions"]
        frame = pd.DataFrame(rows)
        body = json.dumps({"dataframe_split": frame.to_dict(orient="split")})
        assert "NaN" in body
        assert ask(client, sizes.name, body.encode()) == expected
        assert ask(client, sizes.name, frame.to_csv(index=False).encode(), "text/csv") == expected

    def test_large_csv(self, client: Client, sizes: Tabled) -> None:
        numbers = np.random.default_rng(3).uniform(0, 9, (20_000, 2)).round(3)
        expected = native(client, sizes.name, inputs=numbers.tolist())["predictions"]
        text = pd.DataFrame(numbers, columns=["length", "width"]).to_csv(index=False)
        assert ask(client, sizes.name, text.encode(), "text/csv") == expected


class TestAnswers:
    """What may be asked for."""

    def test_classes_or_probabilities(self, client: Client, sizes: Tabled) -> None:
        expected = native(client, sizes.name, rows=sizes.rows)
        body = {"dataframe_records": sizes.rows}
        assert ask(client, sizes.name, body) == expected["predictions"]
        for params, member in (({}, "predictions"), ({"predict_method": "predict"}, "predictions")):
            assert ask(client, sizes.name, {**body, "params": params}) == expected[member]
        assert ask(client, sizes.name, {**body, "params": PROBABILITIES}) == expected["probabilities"]

    def test_csv(self, client: Client, trained: Trained) -> None:
        expected = native(client, trained.name, inputs=ROWS)
        answer = post(client, trained.name, {"inputs": ROWS}, accept="text/csv")
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.body.decode().splitlines() == expected["predictions"]
        answer = post(client, trained.name, {"inputs": ROWS, "params": PROBABILITIES}, accept="text/csv")
        rows = [[float(cell) for cell in row] for row in csv.reader(answer.body.decode().splitlines())]
        assert rows == expected["probabilities"]

    @pytest.mark.parametrize("accept", ["*/*", "application/json, text/csv", "image/png", "text/csv;q=0.1, */*"])
    def test_json_otherwise(self, client: Client, trained: Trained, accept: str) -> None:
        answer = post(client, trained.name, {"inputs": ROWS}, accept=accept)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")

    @pytest.mark.parametrize(("wanted", "version"), [("", "3"), ("&version=1", "1"), ("&version=latest", "3")])
    def test_versions(self, client: Client, trained: Trained, wanted: str, version: str) -> None:
        answer = client.post(f"/invocations?model={trained.name}{wanted}", {"inputs": ROWS})
        assert answer.headers["x-model-version"] == version
        expected = native(client, trained.name, inputs=ROWS, version=int(version))["predictions"]
        assert answer.json == {"predictions": expected}

    def test_an_endpoint_names_the_model(self, client: Client, trained: Trained) -> None:
        """As MLflow's deployments client asks."""
        expected = native(client, trained.name, inputs=ROWS)["predictions"]
        answer = client.post(f"/endpoints/{trained.name}/invocations", {"inputs": ROWS})
        assert (answer.status, answer.json) == (200, {"predictions": expected})
        answer = client.post(f"/endpoints/{trained.name}/invocations?version=2", {"inputs": ROWS})
        assert answer.headers["x-model-version"] == "2"

    def test_what_the_documentation_sends_with_curl(self, client: Client, trained: Trained) -> None:
        curl = shutil.which("curl")
        assert curl is not None
        command = [curl, "-s", f"{client.base}/invocations?model={trained.name}", "-H"]
        body = '{"inputs": [[1, 2], [3, 4], [5, 6]]}'
        done = subprocess.run(
            [*command, "Content-Type:application/json", "--data", body], capture_output=True, check=True
        )
        assert len(json.loads(done.stdout)["predictions"]) == 3


class TestRefusals:
    """What is refused names its place."""

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ([], "the request: must be an object with one of instances, inputs, dataframe_records, dataframe_split"),
            ({}, "the request: must have one of instances, inputs, dataframe_records, dataframe_split. Received: none"),
            ({"inputs": [[1, 2]], "instances": [[1, 2]]}, "the request: must have one of instances, inputs"),
            ({"dataframe_spilt": {}}, "/dataframe_spilt: is not a known field; did you mean 'dataframe_split'?"),
            ({"inputs": [[1]]}, "/inputs/0: must hold 2 numbers, one per input of the model. Received: 1"),
            ({"inputs": [1, 2]}, "/inputs: must be a list of rows"),
            ({"inputs": [[1, 2]], "params": 3}, "/params: must be an object. Received: 3"),
            ({"inputs": [[1, 2]], "params": {"method": 3}}, "/params/method: is not a known field"),
            (
                {"inputs": [[1, 2]], "params": {"predict_method": "score"}},
                "/params/predict_method: must be predict or predict_proba. Received: 'score'",
            ),
            ({"dataframe_split": [[1, 2]]}, '/dataframe_split: must be an object, {"columns": [name, …], "data":'),
            ({"dataframe_split": {"data": [[1, "b"]]}}, "/dataframe_split/data/0/1: must be a number. Received: 'b'"),
            ({"dataframe_split": {"data": [[3.4e38, 3.4e38]]}}, "/dataframe_split/data/0: is so large"),
            ({"dataframe_records": [[1, 2]]}, "/dataframe_records: must be a list of at least one object"),
            ({"dataframe_records": [{"x": 1, "y": "2"}]}, "/dataframe_records/0/y: must be a number. Received: '2'"),
            (
                {"dataframe_records": [{"x": 1, "y": 2}, {"x": 1}]},
                "/dataframe_records/1: must be an object with the members of the first one: x, y. Received: members x",
            ),
            ({"dataframe_records": [{"x": 1}]}, "/dataframe_records/0: must hold 2 numbers"),
        ],
    )
    def test_of_a_model_without_columns(self, client: Client, trained: Trained, body: Any, message: str) -> None:
        assert refused(post(client, trained.name, body)).startswith(message)

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (
                {"dataframe_split": {"columns": ["aeg"], "data": [[1]]}},
                "/dataframe_split/columns/0: is not a column of the model (did you mean 'age'?)",
            ),
            (
                {"dataframe_split": {"columns": ["sex", "age"], "data": [["male", 1], ["male", "old"]]}},
                "/dataframe_split/data/1/1: must be a number, because the column is a number. Received: 'old'",
            ),
            (
                {"dataframe_split": {"columns": ["sex", "age"], "data": [["male"]]}},
                "/dataframe_split/data/0: must be a list of 2 values, one per column. Received: 1",
            ),
            (
                {"dataframe_split": {"columns": [0, 1], "data": [["male", 1]]}},
                "/dataframe_split/columns: must be the names of columns",
            ),
            ({"dataframe_split": {"columns": ["age"], "data": []}}, "/dataframe_split"),
            ({"dataframe_records": [{"age": "old"}]}, "/dataframe_records/0/age: must be a number"),
        ],
    )
    def test_of_a_table(self, client: Client, visits: Tabled, body: Any, message: str) -> None:
        assert refused(post(client, visits.name, body)).startswith(message)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (b"", "the file: must have at least one row"),
            (b"x,y\n", "the file: must have at least one row under the names of columns"),
            (b"1,2\n3\n", "row 2, line 2: must have 2 cells, one for each input. Received: 1"),
            (b"x,y\n\n1,2\n3,b\n", "row 2, line 4, column 'y': must be a number. Received: 'b'"),
            (b"1,1e39\n", "row 1, line 1, column '2': is too large for float32. Received: 1e+39"),
            (b"1,\n", "row 1, line 1, column '2': must not be missing. Received: ''"),
            (b"3.4e38,3.4e38\n", "row 1, line 1: is so large"),
            (b'x,y\n1,"2\n', "line 2: is not CSV: unexpected end of data"),
            (b"x,y\n1,\xff\n", "the body is not UTF-8, at byte 6"),
        ],
    )
    def test_of_csv_of_a_model_without_columns(
        self, client: Client, trained: Trained, text: bytes, message: str
    ) -> None:
        assert refused(post(client, trained.name, text, "text/csv")).startswith(message)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (b"aeg\n1\n", "row 0, column 'aeg': is not a column of the model (did you mean 'age'?)"),
            (b"sex,age\nmale,1\nmale,old\n", "row 2, line 3, column 'age': must be a number"),
            (b"sex,age\nmale\n", "row 1, line 2: must be a list of 2 values"),
            (
                b"1,2\n",
                "row 1, line 1: must have the names of columns, or a value for each of them in this order: age,",
            ),
        ],
    )
    def test_of_csv_of_a_table(self, client: Client, visits: Tabled, text: bytes, message: str) -> None:
        assert refused(post(client, visits.name, text, "text/csv")).startswith(message)

    def test_of_types(self, client: Client, trained: Trained) -> None:
        for kind in ("application/xml", "text/csv; charset=latin-1", "text/csv; header=maybe"):
            message = refused(post(client, trained.name, b"1,2\n", kind), 415, "BAD_REQUEST")
            assert "Received:" in message

    def test_of_models(self, client: Client, trained: Trained) -> None:
        # Of the models of all tests, the sentence names the first in alphabetical order.
        known = client.define(a_model(fresh("0")))["name"]
        message = refused(client.post("/invocations", {"inputs": ROWS}))
        assert message.startswith("/model: must name the model: ?model=NAME, or the setting TRAINYARD_DEFAULT_MODEL")
        assert known in message
        for path in ("/invocations?model=absent", "/endpoints/absent/invocations"):
            message = refused(client.post(path, {"inputs": ROWS}), 404, "RESOURCE_DOES_NOT_EXIST")
            assert message == "there is no model 'absent'"
        message = refused(client.post(f"/invocations?modle={trained.name}", {"inputs": ROWS}))
        assert message.startswith("/model: must name the model")
        message = refused(client.post(f"/endpoints/{trained.name}/invocations?model=a", {"inputs": ROWS}))
        assert message.startswith("/model: is not a known field")


def test_the_service_says_that_it_is_ready(client: Client) -> None:
    for path in ("/ping", "/health"):
        answer = client.get(path)
        assert (answer.status, answer.json) == (200, {"status": "ready"})


def test_the_service_is_not_ready_without_its_default_model(tmp_path: Path) -> None:
    """If everybody is let in; otherwise each owner has models of its own."""
    for keys, status in (("off", 503), ("auto", 200)):
        own = {"DATA": str(tmp_path), "TRAINER": "external", "KEYS": keys, "DEFAULT_MODEL": "absent"}
        app = create_app(Settings.read({f"TRAINYARD_{name}": value for name, value in own.items()}))
        answer = app.test_client().get("/ping")
        assert answer.status_code == status
        if keys == "off":
            assert answer.get_json()["detail"] == "TRAINYARD_DEFAULT_MODEL: there is no model 'absent'"


def test_a_container_of_sagemaker(make_server: Callable[..., Server], tmp_path: Path) -> None:
    """``serve`` listens on its port with a model from where SageMaker unpacks it, which cannot be written to."""
    trainer = make_server("training")
    client = trainer.start_ready()
    client.define(a_model("colours"))
    client.run(a_training("colours"))
    expected = native(client, "colours", inputs=ROWS)["predictions"]
    model = tmp_path / "model"
    backed_up = trainer.run_to_end(Path(sys.executable), "-m", "service", "backup", model)
    assert backed_up.returncode == 0, backed_up
    assert all(path.stat().st_mode & 0o044 for path in model.rglob("*")), "another user can read it"
    trainer.close()
    served = Container(tmp_path, model)
    try:
        client = served.start()
        answer = client.post("/invocations", {"instances": ROWS}, headers={"X-Amzn-SageMaker-Custom-Attributes": "a=b"})
        assert (answer.status, answer.json) == (200, {"predictions": expected})
        text = CSV.partition("\n")[2].encode()
        rows = b"\n".join(line.rpartition(b",")[0] for line in text.splitlines())
        answer = client.post("/invocations", rows, headers={"Content-Type": "text/csv", "Accept": "text/csv"})
        assert answer.body.decode().splitlines() == expected
        assert set(expected) <= set(CLASSES) == set(LABELS)
    finally:
        served.stop()


class Container:
    """The command ``serve`` of the image, with the directories that it has there."""

    def __init__(self, place: Path, model: Path) -> None:
        (link,) = re.findall(r"ln -s /app/(\S+) /usr/local/bin/serve$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
        self._command = ROOT / link
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TRAINYARD_")}
        scripts = str(Path(sys.executable).parent)
        self._port_file = place / "container.log"
        self._environment = {
            **clean,
            "PATH": f"{scripts}:{clean['PATH']}",
            "SM_MODEL_DIR": str(model),
            "SAGEMAKER_BIND_TO_PORT": "0",
            "TRAINYARD_DATA": str(place / "data"),
            "TRAINYARD_BIND": "0.0.0.0:8000",
            "TRAINYARD_KEYS": "off",
            "TRAINYARD_DEFAULT_MODEL": "colours",
            "TRAINYARD_WORKERS": "1",
            "TRAINYARD_LOG_FORMAT": "text",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Client:
        """Start, and wait until ``/ping`` says that the model can answer."""
        with self._port_file.open("wb") as log:
            self._process = subprocess.Popen([self._command], cwd=ROOT, env=self._environment, stdout=log, stderr=log)

        def address() -> str | None:
            assert self._process is not None
            text = self._port_file.read_text()
            assert self._process.poll() is None, text
            found = re.search(r"Listening at: http://0\.0\.0\.0:(\d+)", text)
            return found and f"http://127.0.0.1:{found[1]}"

        client = Client(eventually(address, what="an address") or "")
        eventually(lambda: client.get("/ping").status == 200, what="a ping")
        return client

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
