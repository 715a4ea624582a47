"""What users of other servers complained about in their trackers does not happen here."""

from __future__ import annotations

import json
import socket
from typing import Any

import numpy as np
import pytest

from testing.harness import Answer, Server

pytestmark = pytest.mark.processes

ROWS = [[-1.0, 0.25], [1.0, 0.75]]
HEADER = "Inference-Header-Content-Length"
PEOPLE = [
    {"age": 31, "city": "Rome", "member": True},
    {"age": None, "city": "Oslo", "member": False},
    {"age": 40, "city": None, "member": True},
]


def infer(served: Server, document: dict[str, Any], raw: bytes = b"", model: str = "tour", **headers: str) -> Answer:
    head = json.dumps(document).encode()
    sent = {HEADER: str(len(head)), **headers} if raw else headers
    return served.client.post(f"/v2/models/{model}/infer", head + raw, headers=sent)


def tensor(name: str = "inputs", datatype: str = "FP32", shape: Any = (2, 2), **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [*shape], **more}


def raw_names(answer: Answer) -> list[str]:
    """The outputs that are raw bytes."""
    document = json.loads(answer.body[: int(answer.headers[HEADER.lower()])])
    return [each["name"] for each in document["outputs"] if "binary_data_size" in each.get("parameters", {})]


def refused(answer: Answer, *words: str) -> str:
    """The sentence of a refusal, which has these words."""
    assert answer.status == 400, answer
    said = str(answer.json["error"])
    assert [word for word in words if word not in said] == [], said
    return said


def test_kserve_5907_raw_outputs_by_default(served: Server) -> None:
    """``binary_data_output`` holds for outputs that are listed, unless they say otherwise; FP16 comes raw."""
    content = np.array(ROWS, "<f2").tobytes()
    asked = {
        "inputs": [tensor(datatype="FP16", parameters={"binary_data_size": len(content)})],
        "outputs": [{"name": "probabilities"}, {"name": "predictions", "parameters": {"binary_data": False}}],
        "parameters": {"binary_data_output": True},
    }
    answer = infer(served, asked, content)
    assert answer.status == 200, answer
    assert raw_names(answer) == ["probabilities"]
    del asked["outputs"]
    assert raw_names(infer(served, asked, content)) == ["probabilities", "predictions"]


def test_kserve_5297_what_a_server_speaks(served: Server) -> None:
    """Who has only the address finds the protocols, and in the protocol the server's name and extensions."""
    index = served.client.get("/").json
    assert (index["v2"], index["v1"], index["mlflow"]) == ("/v2", "/v1/models", "/invocations")
    assert served.client.get(index["v2"]).json["name"] == "trainyard"
    assert "tour" in served.client.get(index["v1"]).json["models"]
    model = served.client.get("/v2/models/tour").json
    assert (model["name"], model["platform"]) == ("tour", "trainyard")


def test_kserve_2746_bytes_as_one_text_or_a_list(served: Server) -> None:
    def ask(data: Any, *shape: int) -> Any:
        inputs = [tensor("age", "INT64", [1], data=[31]), tensor("city", "BYTES", shape, data=data)]
        answer = infer(served, {"inputs": [*inputs, tensor("member", "BOOL", [1], data=[True])]}, model="people")
        assert answer.status == 200, answer
        return answer.json["outputs"]

    assert ask("Rome", 1) == ask(["Rome"], 1) == ask([["Rome"]], 1, 1) == ask(["Rome"], 1, 1)


@pytest.mark.parametrize("given", [None, "0", "10", "{short}", "{long}", "4294967400", "-1", "ten", "1e2"])
def test_triton_4244_1822_2563_lengths_of_the_json(served: Server, given: str | None) -> None:
    """A wrong or missing length is named, with the right one if JSON was found; Triton's parser spoke of its root."""
    document = {"inputs": [tensor(parameters={"binary_data_size": 16})]}
    length = len(json.dumps(document).encode())
    raw = np.array(ROWS, "<f4").tobytes()
    body = json.dumps(document).encode() + raw
    header = {} if given is None else {HEADER: given.format(short=length - 1, long=length + 1)}
    answer = served.client.post("/v2/models/tour/infer", body, headers=header)
    if given == "0":
        refused(answer, str(len(body)))
    else:
        said = refused(answer, HEADER)
        found = str(length) in said or str(len(body)) in said or "length of the JSON in bytes" in said
        assert found, said


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ([2**31, 2], 16),
        ([2**32, 2**32], 16),
        ([2**63, 2**63], 16),
        ([2, 2], 2**31),
        ([2, 2], 2**32 + 16),
        ([2, 2], 2**64 + 16),
        ([2**62, 2], 2**64),
    ],
)
def test_triton_5649_sizes_past_what_counters_hold(served: Server, shape: list[int], size: int) -> None:
    """A size that wraps around at 2³¹, 2³² or 2⁶⁴ elsewhere is compared as it is, with what came."""
    document = {"inputs": [tensor(shape=shape, parameters={"binary_data_size": size})]}
    refused(infer(served, document, np.array(ROWS, "<f4").tobytes()), "inputs")
    refused(infer(served, {"inputs": [tensor(shape=shape, data=[1, 2, 3])]}), "inputs")


def test_triton_5649_a_body_of_three_gigabytes(served: Server) -> None:
    """It is refused by its length, before it has come."""
    host, _, port = served.client.base.removeprefix("http://").partition(":")
    head = f"POST /v2/models/tour/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: {3 * 2**30}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(4096)
    assert answer.split(b" ", 2)[1] == b"413"
    assert b'{"error":' in answer


@pytest.mark.parametrize(
    ("body", "words"),
    [
        # A row where rows belong: the batch dimension is missing.
        ({"instances": [-1.0, 0.25]}, ("/instances", "2 numbers")),
        ({"inputs": [-1.0, 0.25]}, ("/inputs", "2 numbers")),
        # Rows of unlike length, and of a wrong one.
        ({"instances": [[-1.0, 0.25], [1.0]]}, ("/instances/1", "2 numbers", "1")),
        ({"instances": [[-1.0, 0.25, 3.0]]}, ("/instances/0", "2 numbers", "3")),
        # Columns where the model takes rows, and both at once.
        ({"inputs": {"x": [-1.0], "y": [0.25]}}, ("/inputs",)),
        ({"instances": [[-1.0, 0.25]], "inputs": [[-1.0, 0.25]]}, ("instances", "inputs", "both")),
    ],
)
def test_tensorflow_2104_1571_1036_rows_and_columns(served: Server, body: Any, words: tuple[str, ...]) -> None:
    """The place and what belongs there are named, not a matrix that cannot be multiplied."""
    refused(served.client.post("/v1/models/tour:predict", body), *words)


def test_tensorflow_1047_columns_of_unlike_length(served: Server) -> None:
    columns = {"age": [31, 40, 50], "city": ["Rome", "Oslo"], "member": [True, False, True]}
    refused(served.client.post("/v1/models/people:predict", {"inputs": columns}), "/inputs/city", "3", "2")
    inputs = [tensor("age", "INT64", [3], data=[31, 40, 50]), tensor("city", "BYTES", [2], data=["Rome", "Oslo"])]
    refused(infer(served, {"inputs": inputs}, model="people"), "age", "city", "3", "2")


def invoked(served: Server, body: Any, kind: str = "application/json") -> Any:
    answer = served.client.post("/endpoints/people/invocations", body, headers={"Content-Type": kind})
    assert answer.status == 200, answer
    return answer.json["predictions"]


def test_mlflow_5525_and_25593_types_do_not_depend_on_the_format(served: Server) -> None:
    """CSV, both kinds of frames and columns have one answer, whole numbers with missing ones included."""
    names = [*PEOPLE[0]]
    expected = served.client.post("/predict", {"model": "people", "rows": PEOPLE}).json["predictions"]
    as_floats = [{**row, "age": None if row["age"] is None else float(row["age"])} for row in PEOPLE]
    for rows in (PEOPLE, as_floats):
        split = {"columns": names, "data": [[row[name] for name in names] for row in rows]}
        csv = "\n".join([",".join(names), *(",".join(_cell(row[name]) for name in names) for row in rows)])
        assert invoked(served, {"dataframe_records": rows}) == expected
        assert invoked(served, {"dataframe_split": split}) == expected
        assert invoked(served, {"inputs": {name: [row[name] for row in rows] for name in names}}) == expected
        assert invoked(served, csv.encode(), "text/csv") == expected
    # What pandas writes for a missing number: the word NaN, which is not JSON.
    written = json.dumps({"dataframe_records": PEOPLE}).replace("null", "NaN", 1).encode()
    assert invoked(served, written) == expected


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def test_mlflow_16537_errors_are_short(served: Server) -> None:
    """One wrong value among thousands is named by its place; neither the other values nor the schema are repeated."""
    rows = [{"age": 20 + number % 50, "city": "secret-town", "member": True} for number in range(3000)]
    rows[1234]["age"] = "many"
    answer = served.client.post("/endpoints/people/invocations", {"dataframe_records": rows})
    assert answer.status == 400
    assert answer.json["error_code"] == "BAD_REQUEST"
    said = answer.json["message"]
    assert "1234" in said
    assert "age" in said
    assert "many" in said
    assert "secret-town" not in said
    assert len(said) < 300
