"""``Content-Encoding`` gzip and deflate on every route: what the plain body would do, and clear refusals."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from testing.harness import ROOT, Answer, Client, Server, serving
from testing.samples import CSV, DATA, ROWS, a_model, a_training, fresh

pytestmark = pytest.mark.processes

GZIP = {"Content-Encoding": "gzip"}
#: Bytes of a body, and of a checkpoint.
LIMIT, FILE_LIMIT = 100_000, 300_000


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with low limits and a model ``m``, which may need a file of more than the limit of bodies."""
    options = {"MAX_BODY_BYTES": LIMIT, "MAX_DATASET_BYTES": LIMIT, "MAX_IMPORT_BYTES": FILE_LIMIT, "WORKERS": 1}
    with serving(tmp_path_factory.mktemp("gzip") / "data", **options) as server:
        wide = {"type": "dense", "units": 1000}
        server.client.define(a_model("m", layers=[wide, *a_model("m")["layers"]]))
        server.client.run(a_training("m"))
        yield server


@pytest.fixture
def client(limited: Server) -> Client:
    return limited.client


def packed(document: Any) -> bytes:
    return gzip.compress(document if isinstance(document, bytes) else json.dumps(document).encode())


def chunked(client: Client, path: str, chunks: list[bytes], kind: str = "application/json") -> Answer:
    connection = http.client.HTTPConnection(urlsplit(client.base).netloc, timeout=30)
    try:
        connection.request("POST", path, iter(chunks), {"Content-Type": kind, **GZIP}, encode_chunked=True)
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, response.read())
    finally:
        connection.close()


def refused(answer: Answer, status: int, code: str) -> dict[str, Any]:
    assert (answer.status, answer.json["code"]) == (status, code), answer
    return dict(answer.json)


def test_the_case_is_answered_as_its_plain_body(client: Client) -> None:
    body = (ROOT / "tests" / "data" / "cases" / "predict.json.gz").read_bytes()
    plain = json.loads(gzip.decompress(body))
    name = plain["model"].lower()  # Names of models have no capitals.
    assert client.post("/predict", {**plain, "model": name}).status == 200
    answer = client.post("/predict", packed({**plain, "model": name}), headers=GZIP)
    assert answer.json == client.post("/predict", {**plain, "model": name}).json
    # The file itself is read too, and is refused for the name alone.
    found = client.post("/predict", body, headers=GZIP)
    assert found.json["detail"] == client.post("/predict", plain).json["detail"]
    assert found.status == client.post("/predict", plain).status


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip", "deflate", "identity"])
def test_codings(client: Client, coding: str) -> None:
    body = json.dumps({"model": "m", "inputs": ROWS}).encode()
    sent = {"identity": body, "deflate": zlib.compress(body)}.get(coding, gzip.compress(body))
    answer = client.post("/predict", sent, headers={"Content-Encoding": coding})
    assert answer.json == client.post("/predict", body).json


def test_every_kind_of_body(client: Client) -> None:
    name = fresh("packed")
    assert client.post("/models", packed(a_model(name)), headers=GZIP).status == 201
    assert client.post("/train", packed(a_training(name)), headers=GZIP).status == 202
    assert client.post("/evaluate", packed({"model": "m", "data": DATA}), headers=GZIP).status == 200
    table = {**GZIP, "Content-Type": "text/csv"}
    uploaded = client.post(f"/datasets?name={name}&label=colour", packed(CSV.encode()), headers=table)
    assert (uploaded.status, uploaded.json["rows"]) == (201, 12)
    form = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
        + CSV.encode()
        + b"\r\n--b--\r\n"
    )
    parts = {**GZIP, "Content-Type": "multipart/form-data; boundary=b"}
    assert client.post(f"/datasets?name={name}-form&label=colour", packed(form), headers=parts).status == 201
    alias = client.request("PUT", "/models/m/aliases/packed", packed({"version": 1}), headers=GZIP)
    assert alias.status == 200


def test_a_key_belongs_to_what_the_body_holds(client: Client) -> None:
    name, key = fresh("keyed"), {"Idempotency-Key": fresh("key")}
    first = client.post("/models", a_model(name), headers=key)
    again = client.post("/models", packed(a_model(name)), headers={**GZIP, **key})
    assert (again.status, again.body) == (201, first.body)


@pytest.mark.parametrize("pieces", [1, 7, 5000])
def test_a_chunked_body(client: Client, pieces: int) -> None:
    body = packed({"model": "m", "inputs": ROWS})
    answer = chunked(client, "/predict", [body[place : place + pieces] for place in range(0, len(body), pieces)])
    assert answer.json == client.post("/predict", {"model": "m", "inputs": ROWS}).json


def test_several_members_are_one_body(client: Client) -> None:
    body = json.dumps({"model": "m", "inputs": ROWS}).encode()
    sent = b"".join(gzip.compress(body[place : place + 9]) for place in range(0, len(body), 9))
    assert client.post("/predict", sent, headers=GZIP).status == 200


def test_checkpoints_stream(client: Client) -> None:
    checkpoint = client.get("/models/m/versions/1").json["checkpoint"]
    file = client.get(f"/checkpoints/{checkpoint}/file").body
    kind = {"Content-Type": "application/x-hdf5"}
    assert client.post("/models/m/checkpoints", packed(file), headers={**GZIP, **kind}).status == 201
    body = packed(file)
    assert chunked(client, "/models/m/checkpoints", [body[:999], body[999:]], kind["Content-Type"]).status == 201
    refused(client.post("/models/m/checkpoints", body[:-9], headers={**GZIP, **kind}), 400, "invalid_body")
    large = packed(bytes(FILE_LIMIT + 1))
    document = refused(client.post("/models/m/checkpoints", large, headers={**GZIP, **kind}), 413, "too_large")
    assert str(FILE_LIMIT) in document["detail"]
    refused(chunked(client, "/models/m/checkpoints", [large], kind["Content-Type"]), 413, "too_large")
    # Between the limits: a file, but no HDF5.
    refused(
        client.post("/models/m/checkpoints", packed(bytes(LIMIT + 1)), headers={**GZIP, **kind}), 400, "invalid_hdf5"
    )


@pytest.mark.parametrize("path", ["/models", "/train", "/predict", "/evaluate", "/datasets"])
@pytest.mark.parametrize("send", ["length", "chunks"])
def test_the_limit_is_that_of_what_a_body_holds(client: Client, path: str, send: str) -> None:
    for body in (
        packed(b" " * 100_000_000 + b"{}"),  # 97 kB, which hold 100 MB
        gzip.compress(b"x" * (LIMIT + 1), 0),
        gzip.compress(b"") * (LIMIT // 10),  # which holds nothing
    ):
        answer = client.post(path, body, headers=GZIP) if send == "length" else chunked(client, path, [body])
        assert str(LIMIT) in refused(answer, 413, "too_large")["detail"]


@pytest.mark.parametrize("path", ["/models", "/predict", "/datasets"])
@pytest.mark.parametrize(
    "body",
    [b"{}", packed({})[:-3], packed({})[:5], packed({}) + b"{}", packed({})[:-8] + bytes(8)],
    ids=["no gzip", "cut", "cut in the header", "more after the end", "wrong checksum"],
)
@pytest.mark.parametrize("send", ["length", "chunks"])
def test_bad_data(client: Client, path: str, body: bytes, send: str) -> None:
    answer = client.post(path, body, headers=GZIP) if send == "length" else chunked(client, path, [body])
    refused(answer, 400, "invalid_body")


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "utf-8"])
@pytest.mark.parametrize("path", ["/models", "/predict", "/models/m/checkpoints"])
def test_other_codings(client: Client, path: str, coding: str) -> None:
    answer = client.post(path, b"x" * 1000, headers={"Content-Encoding": coding})
    assert "gzip" in refused(answer, 415, "unsupported_encoding")["detail"]
    assert answer.headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize("path", ["/models", "/predict"])
@pytest.mark.parametrize(
    "body",
    [b"{}", zlib.compress(b"{}")[:-3], zlib.compress(b"{}") + b"{}", zlib.compress(b"{}")[:-4] + bytes(4), packed({})],
    ids=["no zlib", "cut", "more after the end", "wrong checksum", "gzip"],
)
def test_bad_deflate_data(client: Client, path: str, body: bytes) -> None:
    answer = client.post(path, body, headers={"Content-Encoding": "deflate"})
    assert "deflate" in refused(answer, 400, "invalid_body")["detail"]


def test_the_limit_is_that_of_what_deflate_data_hold(client: Client) -> None:
    for body in (zlib.compress(b" " * 100_000_000 + b"{}"), zlib.compress(b"x" * (LIMIT + 1), 0)):
        refused(client.post("/models", body, headers={"Content-Encoding": "deflate"}), 413, "too_large")


def test_an_empty_body_is_empty(client: Client) -> None:
    refused(client.post("/predict", b"", headers=GZIP), 400, "invalid_json")
    assert client.request("GET", "/models", headers=GZIP).status == 200
    assert client.delete("/models/none", headers=GZIP).status == 404


def test_a_body_shorter_than_its_length(client: Client) -> None:
    body, place = packed({"model": "m", "inputs": ROWS}), urlsplit(client.base)
    with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
        head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\n"
        head += f"Content-Length: {len(body) + 5}\r\n\r\n"
        connection.sendall(head.encode() + body)
        connection.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert (response.status, json.loads(response.read())["code"]) == (400, "invalid_body")


@pytest.mark.parametrize("coding", ["gzip", "br"])
@pytest.mark.parametrize("path", ["/predict", "/models/m/checkpoints"])
def test_a_refused_body_is_read_to_its_end(client: Client, path: str, coding: str) -> None:
    """So that the connection serves the next request, also after chunks."""
    place = urlsplit(client.base)
    for encode in (False, True):
        connection = http.client.HTTPConnection(place.netloc, timeout=30)
        body = b"x" * 2_000_000
        headers = {"Content-Encoding": coding} | ({} if encode else {"Content-Length": str(len(body))})
        pieces = iter([body[start : start + 50_000] for start in range(0, len(body), 50_000)])
        connection.request("POST", path, pieces, headers, encode_chunked=encode)
        response = connection.getresponse()
        assert response.status in (400, 413, 415)
        response.read()
        connection.request("GET", "/health/live")
        assert connection.getresponse().status == 200
        connection.close()
