"""The short form: each shape at once, byte by byte and within a pipeline, and real clients beside."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from security.smuggling import HIDDEN_ID, SHAPES, Shape
from security.wire import Reply, exchange, fault
from testing.harness import Server

GOOD = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"
HIDDEN = b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Request-Id: " + HIDDEN_ID + b"\r\n\r\n"


def port_of(server: Server) -> int:
    port = urlsplit(server.client.base).port
    assert port is not None
    return port


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@pytest.mark.parametrize("piece", [0, 7])
def test_a_shape_is_refused_and_nothing_behind_it_is_answered(server: Server, shape: Shape, piece: int) -> None:
    if piece and len(shape.data) > 1_000:
        piece = 500
    assert fault(shape, exchange(port_of(server), shape.data, piece)) is None


@pytest.mark.parametrize("shape", SHAPES[::5], ids=lambda shape: shape.name)
def test_a_shape_behind_a_good_request_is_refused(server: Server, shape: Shape) -> None:
    """The good request has its answer, and then the connection ends with the refusal."""
    reply = exchange(port_of(server), GOOD + shape.data)
    head, _, rest = reply.data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    body, mark, refusal = rest.partition(b"HTTP/1.1 ")
    assert json.loads(body) == {"status": "live"}
    assert fault(shape, Reply(mark + refusal, reply.closed)) is None


def test_what_is_behind_a_good_request_is_answered(server: Server) -> None:
    """So the tests above would see an answer to what is smuggled."""
    reply = exchange(port_of(server), GOOD + HIDDEN)
    assert reply.closed
    assert reply.data.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert HIDDEN_ID in reply.data
    assert fault(SHAPES[0], reply) is not None


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "must have one answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "must be refused with 400"),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n", "whole problem document"),
    ],
)
def test_what_is_no_refusal(data: bytes, complaint: str) -> None:
    assert complaint in (fault(SHAPES[0], Reply(data, closed=True)) or "")


class TestClients:
    """What widespread clients send, and make of the answers."""

    def test_http_client_sends_on_one_connection(self, server: Server) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=30)) as connection:
            connection.connect()
            sock = connection.sock
            for body in (b'{"model": "none", "inputs": [[1]]}', iter([b'{"model": "none",', b'"inputs": [[1]]}'])):
                connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                assert (answer.status, json.loads(answer.read())["code"]) == (404, "not_found")
                assert connection.sock is sock

    def test_http_client_reads_the_refusal_of_a_body_that_it_still_sends(self, server: Server) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=30)) as connection:
            connection.putrequest("POST", "/predict")
            connection.putheader("Content-Length", str(2**40))
            connection.endheaders(b"a" * 2**20)
            answer = connection.getresponse()
            assert (answer.status, json.loads(answer.read())["code"]) == (413, "too_large")
            assert answer.headers["connection"] == "close"

    @pytest.mark.processes
    def test_curl(self, server: Server) -> None:
        """It waits for 100 Continue before a body of more than a megabyte, and uses a connection again."""
        if shutil.which("curl") is None:
            pytest.skip("curl is not installed")
        url = server.client.base
        quiet = ["curl", "--silent", "--show-error", "--max-time", "30", "--output", "/dev/null"]
        quiet += ["--write-out", "%{http_code} %{num_connects} "]
        asked = [f"{url}/health/live", "--output", "/dev/null", f"{url}/version"]
        done = subprocess.run([*quiet, *asked], capture_output=True, text=True, check=True)
        assert done.stdout == "200 1 200 0 "
        body = json.dumps({"model": "none", "inputs": [[0.125] * 300_000]})
        for fields in ([], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"]):
            done = subprocess.run(
                [*quiet, "--http1.1", *fields, "--data-binary", "@-", f"{url}/predict"],
                input=body,
                capture_output=True,
                text=True,
                check=True,
            )
            assert done.stdout == "404 1 "

    def test_urllib3_uses_a_connection_again(self, server: Server) -> None:
        urllib3 = pytest.importorskip("urllib3")
        with urllib3.HTTPConnectionPool("127.0.0.1", port_of(server), maxsize=1, timeout=30) as pool:
            for method, path, status in (("GET", "/health/live", 200), ("GET", "/no", 404), ("POST", "/predict", 400)):
                assert pool.request(method, path, retries=False).status == status
            assert pool.num_connections == 1

    def test_requests_streams_a_body_without_length(self, server: Server) -> None:
        requests = pytest.importorskip("requests")
        with requests.Session() as session:
            pieces = (piece.encode() for piece in ('{"model": "none", ', '"inputs": [[1]]}'))
            answer = session.post(f"{server.client.base}/predict", data=pieces, timeout=30)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
