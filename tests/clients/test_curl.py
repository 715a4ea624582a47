"""The curl lines of each protocol's own documentation, with the names and numbers of a model that is here.

``HOST`` stands for the address that a page has, as ``localhost:8501``.
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from testing.harness import Server, eventually

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing"),
]

ROW = [-1.0, 0.25]
ROWS = [ROW, [1.0, 0.75]]
PERSON = {"age": 31, "city": "Rome", "member": True}


@pytest.fixture
def predicted(served: Server) -> dict[str, Any]:
    """What ``POST /predict`` answers to ``ROWS``."""
    return dict(served.client.post("/predict", {"model": "tour", "inputs": ROWS}).json)


@pytest.fixture
def person(served: Server) -> dict[str, Any]:
    """What ``POST /predict`` answers to ``PERSON``."""
    return dict(served.client.post("/predict", {"model": "people", "rows": [PERSON]}).json)


def run(served: Server, line: str, folder: Path) -> bytes:
    """The output of a shell that runs the line in a folder, which has the files that it names."""
    text = line.replace("HOST", served.client.base.removeprefix("http://"))
    finished = subprocess.run(["bash", "-c", text], cwd=folder, capture_output=True, timeout=60, check=True)
    return finished.stdout


def answered(served: Server, line: str, folder: Path) -> Any:
    return json.loads(run(served, line, folder))


def tensors(served: Server, line: str, folder: Path) -> dict[str, Any]:
    """The raw outputs of an inference, by name; the line says ``-D headers``."""
    body = run(served, line, folder)
    headers = dict(
        each.lower().split(": ", 1) for each in (folder / "headers").read_text().splitlines() if ": " in each
    )
    place = int(headers["inference-header-content-length"])
    found = {}
    for output in json.loads(body[:place])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        found[output["name"]] = (output, body[place : place + size])
        place += size
    assert place == len(body)
    return found


@pytest.mark.parametrize(
    "line",
    [
        """curl -d '{"instances": [[-1.0, 0.25], [1.0, 0.75]]}' -X POST http://HOST/v1/models/tour:predict""",
        """curl -d '{"instances": [[-1.0, 0.25], [1.0, 0.75]]}' http://HOST/v1/models/tour/versions/2:predict""",
        """curl -d '{"inputs": [[-1.0, 0.25], [1.0, 0.75]]}' http://HOST/v1/models/tour:predict""",
        """curl -v -H "Host: tour.example.com" -H "Content-Type: application/json" \\
            "http://HOST/v1/models/tour:predict" -d @./iris-input.json""",
    ],
)
def test_tensorflow_serving_and_kserve_v1(served: Server, line: str, predicted: dict[str, Any], tmp_path: Path) -> None:
    """tensorflow.org/tfx/serving/api_rest, and KServe's "First InferenceService"."""
    (tmp_path / "iris-input.json").write_text(json.dumps({"instances": ROWS}))
    answer = answered(served, line, tmp_path)
    (found,) = answer.values()
    assert [*answer] == ["outputs" if '"inputs"' in line else "predictions"]
    np.testing.assert_allclose(found, predicted["probabilities"], rtol=1e-6)


def test_tensorflow_serving_status(served: Server, tmp_path: Path) -> None:
    answer = answered(served, "curl http://HOST/v1/models/tour/labels/stable", tmp_path)
    (status,) = answer["model_version_status"]
    assert status == {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    metadata = answered(served, "curl http://HOST/v1/models/tour/metadata", tmp_path)
    assert metadata["model_spec"]["name"] == "tour"
    assert "serving_default" in metadata["metadata"]["signature_def"]["signature_def"]


def test_tensorflow_serving_classifies(served: Server, person: dict[str, Any], tmp_path: Path) -> None:
    """A model of a table: pairs of class and score for each example."""
    line = """curl -d '{"context": {"city": "Rome"}, "examples": [{"age": 31, "member": true}]}' \\
        -X POST http://HOST/v1/models/people:classify"""
    ((first, second),) = answered(served, line, tmp_path)["results"]
    assert [first[0], second[0]] == person["classes"]
    np.testing.assert_allclose([first[1], second[1]], person["probabilities"][0], rtol=1e-6)


def test_tensorflow_serving_errors(served: Server, tmp_path: Path) -> None:
    answer = answered(
        served, """curl -d '{"instances": [1, 2]}' http://HOST/v1/models/half_plus_two:predict""", tmp_path
    )
    assert [*answer] == ["error"]
    assert "half_plus_two" in answer["error"]


def test_kserve_v2(served: Server, predicted: dict[str, Any], tmp_path: Path) -> None:
    """KServe's page of the Open Inference Protocol."""
    tensor = {"name": "inputs", "shape": [2, 2], "datatype": "FP32", "data": ROWS}
    (tmp_path / "iris-input-v2.json").write_text(json.dumps({"inputs": [tensor]}))
    line = """curl -v -H "Host: tour.example.com" -H "Content-Type: application/json" \\
        -d @./iris-input-v2.json http://HOST/v2/models/tour/infer"""
    answer = answered(served, line, tmp_path)
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    assert outputs["predictions"] == predicted["predictions"]
    np.testing.assert_allclose(np.reshape(outputs["probabilities"], (2, -1)), predicted["probabilities"], rtol=1e-6)


def test_triton_binary(served: Server, predicted: dict[str, Any], tmp_path: Path) -> None:
    """Triton's page of the binary tensor data extension: JSON, then the raw tensor; the answer likewise."""
    head = json.dumps(
        {
            "inputs": [{"name": "inputs", "shape": [2, 2], "datatype": "FP32", "parameters": {"binary_data_size": 16}}],
            "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}],
        }
    ).encode()
    (tmp_path / "request.bin").write_bytes(head + np.array(ROWS, "<f4").tobytes())
    line = f"""curl -D headers -X POST http://HOST/v2/models/tour/infer \\
        -H "Content-Type: application/octet-stream" -H "Inference-Header-Content-Length: {len(head)}" \\
        --data-binary @request.bin"""
    ((output, content),) = tensors(served, line, tmp_path).values()
    found = np.frombuffer(content, "<f4").reshape(output["shape"])
    np.testing.assert_array_equal(found, np.float32(predicted["probabilities"]))


def test_triton_raw(served: Server, tmp_path: Path) -> None:
    """The same page, "Raw Binary Request": the body is the only tensor, the header is 0, and the answer is raw."""
    (tmp_path / "raw").write_bytes(struct.pack("<2f", *ROW))
    line = """curl -D headers -X POST http://HOST/v2/models/tour/infer \\
        -H "Content-Type: application/octet-stream" -H "Inference-Header-Content-Length: 0" --data-binary @raw"""
    found = tensors(served, line, tmp_path)
    expected = served.client.post("/predict", {"model": "tour", "inputs": [ROW]}).json
    probabilities = np.frombuffer(found["probabilities"][1], "<f4")
    np.testing.assert_array_equal(probabilities, np.float32(expected["probabilities"][0]))
    label = expected["predictions"][0].encode()
    assert found["predictions"][1] == struct.pack("<I", len(label)) + label


def test_triton_health_and_repository(served: Server, tmp_path: Path) -> None:
    """Triton's quick start waits for 200 from this address."""
    line = "curl -s -o /dev/null -w '%{http_code}' HOST/v2/health/ready"
    eventually(lambda: run(served, line, tmp_path) == b"200", what="a service that is ready")
    index = answered(served, "curl -X POST HOST/v2/repository/index", tmp_path)
    assert {"tour", "people"} <= {each["name"] for each in index}


@pytest.mark.parametrize(
    "line",
    [
        """curl http://HOST/invocations -H "Content-Type:application/json" \\
            --data '{"inputs": [[-1, 0.25], [1, 0.75]]}'""",
        """curl http://HOST/invocations -H 'Content-Type: application/json; format=pandas-split' \\
            -d '{"dataframe_split": {"columns": ["x", "y"], "data": [[-1, 0.25], [1, 0.75]]}}'""",
        """curl -X POST http://HOST/invocations -H "Content-Type: application/json" \\
            -d '{"instances": [[-1, 0.25], [1, 0.75]]}'""",
        """curl http://HOST/invocations -H 'Content-Type: application/json' \\
            -d '{"dataframe_records": [{"x": -1, "y": 0.25}, {"x": 1, "y": 0.75}]}'""",
        """curl http://HOST/invocations -H "Content-Type: text/csv" --data-binary $'x,y\\n-1,0.25\\n1,0.75'""",
    ],
)
def test_mlflow(served: Server, line: str, predicted: dict[str, Any], tmp_path: Path) -> None:
    """mlflow.org, "Deploy MLflow Model as a Local Inference Server"."""
    assert answered(served, line, tmp_path) == {"predictions": predicted["predictions"]}


def test_mlflow_health(served: Server, tmp_path: Path) -> None:
    for path in ("ping", "health"):
        assert run(served, f"curl -s -o /dev/null -w '%{{http_code}}' HOST/{path}", tmp_path) == b"200"
    assert run(served, "curl -s HOST/version", tmp_path)


def test_sagemaker(served: Server, predicted: dict[str, Any], tmp_path: Path) -> None:
    """The container's contract: 200 from /ping, and /invocations with the type of the body, answered as Accept says."""
    (tmp_path / "payload.csv").write_text("".join(f"{x},{y}\n" for x, y in ROWS))
    assert run(served, "curl -s -o /dev/null -w '%{http_code}' http://HOST/ping", tmp_path) == b"200"
    line = """curl --data-binary @payload.csv -H "Content-Type: text/csv" -H "Accept: text/csv" \\
        -H "X-Amzn-SageMaker-Custom-Attributes: trace=1" -v http://HOST/invocations"""
    lines = run(served, line, tmp_path).decode().split()
    assert lines[-2:] == predicted["predictions"]


def test_own_page(served: Server, predicted: dict[str, Any], tmp_path: Path) -> None:
    """The service's own protocol, in JSON and as NumPy stores arrays."""
    np.save(tmp_path / "rows.npy", np.array(ROWS, np.float32))
    line = """curl "HOST/predict?model=tour" -H "Content-Type: application/x-npy" --data-binary @rows.npy -o out.npy"""
    run(served, line, tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), np.float32(predicted["probabilities"]))
    line = """curl HOST/predict -d '{"model": "tour", "inputs": [[-1, 0.25], [1, 0.75]]}'"""
    assert answered(served, line, tmp_path)["probabilities"] == predicted["probabilities"]
