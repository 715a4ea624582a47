"""KServe's ``InferenceRESTClient``: its protocol V1, and V2 in JSON and with raw tensors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx
import numpy as np
import pytest
from kserve import InferenceRESTClient, InferInput, InferOutput, InferRequest, InferResponse, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

Predict = Callable[..., Any]
Value = TypeVar("Value")
ROWS = np.array([[-1.0, 0.25], [0.0, 0.5], [1.0, 0.75]], np.float32)
PEOPLE = {"age": [31, 52], "city": ["Rome", "Oslo"], "member": [True, False]}


def asked(protocol: str, question: Callable[[InferenceRESTClient], Awaitable[Value]]) -> Value:
    """What a client of this protocol answers to one question."""

    async def ask() -> Value:
        async with InferenceRESTClient(RESTConfig(protocol=protocol, retries=0, timeout=60)) as client:
            return await question(client)

    return asyncio.run(ask())


def tensor(values: Any, name: str = "inputs", datatype: str = "FP32", *, binary: bool) -> InferInput:
    given = np.asarray(values)
    made = InferInput(name, list(given.shape), datatype)
    made.set_data_from_numpy(given, binary_data=binary)
    return made


def inferred(base: str, request: InferRequest, model: str = "tour", **options: Any) -> InferResponse:
    return asked("v2", lambda client: client.infer(base, request, model_name=model, **options))


def outputs_of(answer: InferResponse) -> dict[str, InferOutput]:
    return {output.name: output for output in answer.outputs}


def texts(output: InferOutput) -> list[Any]:
    return [each.decode() if isinstance(each, bytes) else each for each in output.as_numpy().tolist()]


def assert_same(answer: InferResponse, expected: Any) -> None:
    outputs = outputs_of(answer)
    probabilities = np.reshape(outputs["probabilities"].as_numpy(), (-1, len(expected["classes"])))
    np.testing.assert_allclose(probabilities, expected["probabilities"], rtol=1e-6)
    assert texts(outputs["predictions"]) == expected["predictions"]


def test_v1_predicts(base: str, predict: Predict) -> None:
    """``instances`` are answered with the probabilities of all classes, as a TensorFlow model with one output does."""
    answer = asked("v1", lambda client: client.infer(base, {"instances": ROWS.tolist()}, model_name="tour"))
    expected = predict(model="tour", inputs=ROWS.tolist())["probabilities"]
    np.testing.assert_allclose(answer["predictions"], expected, rtol=1e-6)


def test_v1_readiness(base: str) -> None:
    assert asked("v1", lambda client: client.is_server_live(base)) is True
    assert asked("v1", lambda client: client.is_model_ready(base, "tour")) is True
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        asked("v1", lambda client: client.is_model_ready(base, "nothing-here"))


def test_v2_readiness(base: str) -> None:
    assert asked("v2", lambda client: client.is_server_live(base)) is True
    assert asked("v2", lambda client: client.is_server_ready(base)) is True
    assert asked("v2", lambda client: client.is_model_ready(base, "tour")) is True
    assert asked("v2", lambda client: client.is_model_ready(base, "nothing-here")) is False


@pytest.mark.parametrize("binary", [False, True])
def test_v2_infers(base: str, predict: Predict, binary: bool) -> None:
    request = InferRequest(model_name="tour", infer_inputs=[tensor(ROWS, binary=binary)], request_id="of-kserve")
    answer = inferred(base, request)
    # The client does not keep the version of an answer.
    assert (answer.id, answer.model_name) == ("of-kserve", "tour")
    assert_same(answer, predict(model="tour", inputs=ROWS.tolist()))


def test_v2_raw_answers(base: str, predict: Predict) -> None:
    """``binary_data_output`` at the top is the default of outputs that are listed, too (kserve/kserve#5907)."""
    for outputs in (None, [RequestedOutput("predictions"), RequestedOutput("probabilities")]):
        request = InferRequest(
            model_name="tour",
            infer_inputs=[tensor(ROWS, binary=True)],
            parameters={"binary_data_output": True},
            request_outputs=outputs,
        )
        headers: dict[str, str] = {}
        answer = inferred(base, request, response_headers=headers)
        assert_same(answer, predict(model="tour", inputs=ROWS.tolist()))
        assert headers["content-type"] == "application/octet-stream"
        assert int(headers["inference-header-content-length"]) < int(headers["content-length"])


def test_v2_half_precision(base: str, predict: Predict) -> None:
    """FP16 has no JSON; it comes raw."""
    rows = ROWS.astype(np.float16)
    request = InferRequest(model_name="tour", infer_inputs=[tensor(rows, datatype="FP16", binary=True)])
    assert_same(inferred(base, request), predict(model="tour", inputs=rows.tolist()))


@pytest.mark.parametrize("binary", [False, True])
def test_v2_tables(base: str, predict: Predict, binary: bool) -> None:
    words = np.array([word.encode() for word in PEOPLE["city"]], np.object_)
    given = [
        tensor(np.array(PEOPLE["age"], np.int64), "age", "INT64", binary=binary),
        tensor(words, "city", "BYTES", binary=binary),
        tensor(np.array(PEOPLE["member"]), "member", "BOOL", binary=binary),
    ]
    rows = [dict(zip(PEOPLE, values, strict=True)) for values in zip(*PEOPLE.values(), strict=True)]
    answer = inferred(base, InferRequest(model_name="people", infer_inputs=given), "people")
    assert_same(answer, predict(model="people", rows=rows))


def test_v2_errors(base: str) -> None:
    request = InferRequest(model_name="tour", infer_inputs=[tensor(ROWS[:, :1], binary=True)])
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        inferred(base, request)


def test_the_line_of_the_readme(line: str, predict: Predict) -> None:
    rows = np.array([[0.8, 0.2]], np.float32)
    request = InferRequest(model_name="tour", infer_inputs=[tensor(rows, binary=True)])
    names = {"InferenceRESTClient": InferenceRESTClient, "RESTConfig": RESTConfig, "request": request}
    answer = asyncio.run(eval(line.removeprefix("await "), names))
    assert_same(answer, predict(model="tour", inputs=[[0.8, 0.2]]))
