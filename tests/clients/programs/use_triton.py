"""``tritonclient[http]``, whose requests are binary both ways if nothing else is asked of it."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as http
import tritonclient.http.aio as aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

Predict = Callable[..., Any]
ROWS = np.array([[-1.0, 0.25], [0.0, 0.5], [1.0, 0.75]], np.float32)
#: So many rows that an answer in JSON is worth compressing.
MANY = np.tile(ROWS, (2_000, 1))
AS_JSON = [http.InferRequestedOutput(name, binary_data=False) for name in ("probabilities", "predictions")]
PEOPLE = {"age": [31, 52], "city": ["Rome", "Oslo"], "member": [True, False]}


@pytest.fixture
def triton(address: str) -> Iterator[http.InferenceServerClient]:
    with http.InferenceServerClient(address, network_timeout=60.0) as client:
        yield client


def tensor(values: Any, name: str = "inputs", *, binary: bool = True) -> http.InferInput:
    given = np.asarray(values)
    made = http.InferInput(name, list(given.shape), np_to_triton_dtype(given.dtype))
    made.set_data_from_numpy(given, binary_data=binary)
    return made


def columns(*, binary: bool = True) -> list[http.InferInput]:
    """One tensor a column of ``people``, words as objects of bytes."""
    return [
        tensor(np.array(PEOPLE["age"], np.int64).reshape(-1, 1), "age", binary=binary),
        tensor(np.array([word.encode() for word in PEOPLE["city"]], np.object_).reshape(-1, 1), "city", binary=binary),
        tensor(np.array(PEOPLE["member"], np.bool_).reshape(-1, 1), "member", binary=binary),
    ]


def predicted(predict: Predict, model: str = "tour", rows: Any = ROWS, **more: Any) -> Any:
    """What our own client gets for rows of numbers."""
    return predict(model=model, inputs=np.asarray(rows).tolist(), **more)


def assert_same(answer: http.InferResult, expected: Any) -> None:
    probabilities = answer.as_numpy("probabilities")
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, np.float32(expected["probabilities"]), rtol=1e-6)
    labels = [
        label.decode() if isinstance(label, bytes) else label for label in answer.as_numpy("predictions").tolist()
    ]
    assert labels == expected["predictions"]


def outputs_of(answer: http.InferResult) -> dict[str, dict[str, Any]]:
    return {output["name"]: output for output in answer.get_response()["outputs"]}


def test_binary_both_ways(triton: http.InferenceServerClient, predict: Predict) -> None:
    """The default: the request's tensor is raw bytes, and so are both outputs."""
    answer = triton.infer("tour", [tensor(ROWS)])
    assert_same(answer, predicted(predict))
    outputs = outputs_of(answer)
    assert [*outputs] == ["probabilities", "predictions"]
    assert all("data" not in output for output in outputs.values())
    assert outputs["probabilities"]["parameters"]["binary_data_size"] == ROWS.shape[0] * 3 * 4


def test_json_both_ways(triton: http.InferenceServerClient, predict: Predict) -> None:
    answer = triton.infer("tour", [tensor(ROWS, binary=False)], outputs=AS_JSON)
    assert_same(answer, predicted(predict))
    assert all("data" in output for output in outputs_of(answer).values())


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_both_ways(triton: http.InferenceServerClient, predict: Predict, algorithm: str) -> None:
    """The length of the JSON in a request is that of the text before it was compressed."""
    for rows in (ROWS, MANY):
        answer = triton.infer(
            "tour",
            [tensor(rows)],
            outputs=AS_JSON,
            request_compression_algorithm=algorithm,
            response_compression_algorithm=algorithm,
        )
        assert_same(answer, predicted(predict, rows=rows))


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_a_compressed_answer_names_its_encoding(base: str, predict: Predict, algorithm: str) -> None:
    """An answer without the header, as in triton-inference-server/server#5185, could not be read."""
    body, length = http.InferenceServerClient.generate_request_body([tensor(MANY)], outputs=AS_JSON)
    headers = {"Inference-Header-Content-Length": str(length), "Accept-Encoding": algorithm}
    request = urllib.request.Request(f"{base}/v2/models/tour/infer", body, headers)
    with urllib.request.urlopen(request) as response:
        coding, length = response.headers["Content-Encoding"], response.headers["Inference-Header-Content-Length"]
        content = response.read()
    assert coding == algorithm
    assert length is None, "the answer has no raw tensor"
    parsed = http.InferenceServerClient.parse_response_body(content, content_encoding=coding)
    assert len(content) < len(str(parsed.get_response())) / 2
    assert_same(parsed, predicted(predict, rows=MANY))


def test_classification(triton: http.InferenceServerClient, predict: Predict) -> None:
    """``class_count`` asks for texts ``score:index:label``, the likeliest class first."""
    wanted = [http.InferRequestedOutput("probabilities", class_count=2)]
    found = triton.infer("tour", [tensor(ROWS)], outputs=wanted).as_numpy("probabilities")
    assert found.shape == (len(ROWS), 2)
    expected = predicted(predict, top_k=2)
    for row, top in zip(found.tolist(), expected["top"], strict=True):
        for text, likely in zip(row, top, strict=True):
            score, index, label = text.decode().split(":")
            assert label == likely["class"] == expected["classes"][int(index)]
            assert float(score) == pytest.approx(likely["probability"], abs=1e-5)


def test_statistics(triton: http.InferenceServerClient) -> None:
    """They count requests and rows, refused ones too, and add up times."""

    def stats() -> dict[str, Any]:
        (found,) = triton.get_inference_statistics("tour", "2")["model_stats"]
        return found

    before = stats()
    for _ in range(3):
        triton.infer("tour", [tensor(ROWS)], model_version="2")
    with pytest.raises(InferenceServerException):
        triton.infer("tour", [tensor(ROWS[:, :1])], model_version="2")
    after = stats()
    assert after["name"] == "tour"
    assert after["version"] == "2"
    assert after["inference_count"] - before["inference_count"] == 3 * len(ROWS)
    assert after["execution_count"] - before["execution_count"] == 3
    timed, timed_before = after["inference_stats"], before["inference_stats"]
    assert timed["success"]["count"] - timed_before["success"]["count"] == 3
    assert timed["fail"]["count"] - timed_before["fail"]["count"] == 1
    assert timed["success"]["ns"] > timed_before["success"]["ns"]
    assert after["last_inference"] >= before["last_inference"]
    everything = triton.get_inference_statistics()["model_stats"]
    assert ("tour", "2") in {(each["name"], each["version"]) for each in everything}


def test_repository(triton: http.InferenceServerClient, predict: Predict) -> None:
    """The index has an empty body; a model that was unloaded loads again when it is asked."""
    index = {each["name"]: each for each in triton.get_model_repository_index()}
    assert {"tour", "digits", "people"} <= index.keys()
    assert index["tour"]["state"] == "READY"
    assert index["tour"]["version"] == "2"
    triton.load_model("tour")
    triton.unload_model("tour")
    assert triton.is_model_ready("tour")
    assert_same(triton.infer("tour", [tensor(ROWS)]), predicted(predict))
    with pytest.raises(InferenceServerException, match="nothing-here"):
        triton.load_model("nothing-here")


def test_metadata_and_health(triton: http.InferenceServerClient) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    server = triton.get_server_metadata()
    assert server["name"] == "trainyard"
    assert {"binary_tensor_data", "classification", "statistics", "model_repository"} <= {*server["extensions"]}
    model = triton.get_model_metadata("tour")
    assert model["name"] == "tour"
    assert {*model["versions"]} == {"1", "2"}
    assert model["inputs"] == [{"name": "inputs", "datatype": "FP32", "shape": [-1, 2]}]
    assert [output["name"] for output in model["outputs"]] == ["probabilities", "predictions"]
    table = triton.get_model_metadata("people")
    assert {each["name"]: each["datatype"] for each in table["inputs"]} == {
        "age": "FP64",
        "city": "BYTES",
        "member": "BOOL",
    }
    assert triton.is_model_ready("tour", "1")
    assert not triton.is_model_ready("tour", "77")
    assert not triton.is_model_ready("nothing-here")


@pytest.mark.parametrize("binary", [True, False])
def test_tables(triton: http.InferenceServerClient, predict: Predict, binary: bool) -> None:
    """A tensor a column: whole numbers, words as BYTES, and BOOL."""
    rows = [dict(zip(PEOPLE, values, strict=True)) for values in zip(*PEOPLE.values(), strict=True)]
    expected = predict(model="people", rows=rows)
    assert_same(triton.infer("people", columns(binary=binary)), expected)


def test_a_missing_value_is_an_empty_text_or_not_a_number(triton: http.InferenceServerClient, predict: Predict) -> None:
    given = [
        tensor(np.array([[np.nan]]), "age"),
        tensor(np.array([[b""]], np.object_), "city"),
        tensor(np.array([[True]]), "member"),
    ]
    rows = [{"age": None, "city": None, "member": True}]
    assert_same(triton.infer("people", given), predict(model="people", rows=rows))


def test_outputs_are_chosen_and_ordered(triton: http.InferenceServerClient) -> None:
    for names in (["predictions", "probabilities"], ["predictions"], ["probabilities"]):
        wanted = [http.InferRequestedOutput(name) for name in names]
        assert [*outputs_of(triton.infer("tour", [tensor(ROWS)], outputs=wanted))] == names
    with pytest.raises(InferenceServerException, match="probabilities"):
        triton.infer("tour", [tensor(ROWS)], outputs=[http.InferRequestedOutput("logits")])


@pytest.mark.parametrize(
    "kind", ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
)
def test_types_of_numbers(triton: http.InferenceServerClient, predict: Predict, kind: str) -> None:
    """All are converted, raw; those that JSON has, in JSON too."""
    rows = np.array([[1, 0], [0, 1]]).astype(kind)
    expected = predicted(predict, rows=rows)
    assert_same(triton.infer("tour", [tensor(rows)]), expected)
    if kind != "float16":
        assert_same(triton.infer("tour", [tensor(rows, binary=False)]), expected)


def test_whole_numbers_as_classes(triton: http.InferenceServerClient, predict: Predict) -> None:
    answer = triton.infer("digits", [tensor(ROWS)])
    assert answer.as_numpy("predictions").dtype == np.int64
    assert_same(answer, predicted(predict, "digits"))


def test_versions(triton: http.InferenceServerClient, predict: Predict) -> None:
    """By number, and by alias, which Triton does not have; both are in the address."""
    for version, number in (("1", 1), ("2", 2), ("stable", 1)):
        answer = triton.infer("tour", [tensor(ROWS)], model_version=version)
        assert answer.get_response()["model_version"] == str(number)
        assert_same(answer, predicted(predict, version=number))


def test_ids_and_parameters(triton: http.InferenceServerClient, predict: Predict) -> None:
    """The id comes back; priorities, time limits, sequences and unknown parameters are allowed."""
    answer = triton.infer(
        "tour",
        [tensor(ROWS)],
        request_id="ä request of mine",
        sequence_id=7,
        sequence_start=True,
        sequence_end=True,
        priority=3,
        timeout=5_000_000,
        parameters={"team": "blue", "weight": 0.5, "flag": True},
        headers={"X-Request-Id": "from-triton"},
    )
    assert answer.get_response()["id"] == "ä request of mine"
    assert_same(answer, predicted(predict))


@pytest.mark.parametrize(
    ("model", "given", "status", "said"),
    [
        ("nothing-here", tensor(ROWS), "404", "nothing-here"),
        ("tour", tensor(ROWS, "input-0"), "400", "input-0.*inputs|inputs.*input-0"),
        ("tour", tensor(ROWS[:, :1]), "400", r"2"),
        ("tour", tensor(ROWS.astype(np.bool_)), "400", "BOOL"),
        ("tour", tensor(np.array([[b"a", b"b"]], np.object_)), "400", "BYTES"),
    ],
)
def test_errors(triton: http.InferenceServerClient, model: str, given: http.InferInput, status: str, said: str) -> None:
    """The client reads status and sentence, which name what was wrong."""
    with pytest.raises(InferenceServerException, match=said) as raised:
        triton.infer(model, [given])
    assert raised.value.status() == status


def test_many_at_once(address: str, predict: Predict) -> None:
    """Requests that come together share a pass; each gets its own answer."""
    generator = np.random.default_rng(5)
    blocks = [generator.normal(size=(1 + number % 4, 2)).astype(np.float32) for number in range(64)]
    with http.InferenceServerClient(address, concurrency=16) as client:
        waiting = [client.async_infer("tour", [tensor(block)], request_id=str(n)) for n, block in enumerate(blocks)]
        for number, (block, each) in enumerate(zip(blocks, waiting, strict=True)):
            answer = each.get_result()
            assert answer.get_response()["id"] == str(number)
            assert_same(answer, predicted(predict, rows=block))


def test_asyncio(address: str, predict: Predict) -> None:
    async def ask() -> list[http.InferResult]:
        async with aio.InferenceServerClient(address) as client:
            assert await client.is_model_ready("tour")
            return await asyncio.gather(*(client.infer("tour", [tensor(ROWS)]) for _ in range(8)))

    for answer in asyncio.run(ask()):
        assert_same(answer, predicted(predict))


def test_the_line_of_the_readme(line: str, predict: Predict) -> None:
    x = tensor(np.array([[0.8, 0.2]], np.float32))
    found = eval(line, {"httpclient": http, "x": x})
    np.testing.assert_allclose(found, predict(model="tour", inputs=[[0.8, 0.2]])["probabilities"], rtol=1e-6)
