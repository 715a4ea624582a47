"""The front door as clients meet it: gunicorn with the worker, over raw sockets."""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from service.web.worker.connection import LINGER_BYTES
from testing.harness import eventually
from tests.service.web.worker.servers import LARGE, Gunicorn, Response, Wire

pytestmark = pytest.mark.processes

CLOSING = "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def get(path: str, *fields: str) -> str:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: a", *fields, "", ""])


def is_problem(response: Response, status: int, code: str) -> None:
    """It is a problem document, and its framing is right."""
    assert response.status == status, response
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["content-length"] == str(len(response.body))
    assert response.json["status"] == status
    assert response.json["code"] == code
    assert response.json["request_id"] == response.headers["x-request-id"]


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


# Requests.


def test_answers_keep_the_order_of_requests(door: Gunicorn) -> None:
    """The first one takes long, some are answered on the loop, some by threads, some are refused."""
    with door.connect() as wire:
        wire.send(get("/wait/order") + "".join(get(f"/echo?{n}") + get("/quick") + get("/nothing") for n in range(20)))
        with door.connect() as other:
            assert other.ask("GET", "/quick").body == b"quick "
        door.let("order")
        assert wire.response().body == b"order"
        for number in range(20):
            assert wire.response().json["QUERY_STRING"] == str(number)
            assert wire.response().body == b"quick "
            is_problem(wire.response(), 500, "internal_error")


def test_a_thousand_requests_at_once(door: Gunicorn) -> None:
    """More than a socket's buffer and the connection's together hold, read late."""
    with door.connect() as wire:
        sender = threading.Thread(target=wire.send, args=("".join(get(f"/echo?{n}") for n in range(1_000)),))
        sender.start()
        for number in range(1_000):
            assert wire.response().json["QUERY_STRING"] == str(number)
        sender.join()


def test_byte_by_byte(door: Gunicorn) -> None:
    requests = (
        "\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde"
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n"
        "\r\nGET /quick HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    with door.connect() as wire:
        wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in requests:
            wire.send(byte)
        for _ in range(2):
            assert wire.response().json["sha256"] == digest(b"abcde")
        assert wire.response().body == b"quick "


def test_one_empty_line_may_precede_a_request(door: Gunicorn) -> None:
    with door.connect() as wire:
        wire.send("\r\n")
        assert wire.ask("GET", "/quick").status == 200
        wire.send("\r\n" + get("/quick"))
        assert wire.response().status == 200
        wire.send("\r\n\r\n" + get("/quick"))
        is_problem(wire.response(), 400, "bad_request")
    with door.connect() as wire:
        wire.send("\r\n")
        assert wire.ask("GET", "/echo").status == 200
        wire.send("\r\n")
        wire.send("\r\n")
        is_problem(wire.response(), 400, "bad_request")


@pytest.mark.parametrize("path", ["/echo", "/quick", "/fails/before", "/pieces/3", "/stream/order", "/small"])
def test_a_connection_stays(door: Gunicorn, path: str) -> None:
    door.let("order")
    with door.connect() as wire:
        for _ in range(3):
            assert wire.ask("GET", path).headers["connection"] == "keep-alive"
        assert wire.ask("GET", path, None, "Connection: close").headers["connection"] == "close"
        assert wire.rest() == b""


def test_old_clients(door: Gunicorn) -> None:
    with door.connect() as wire:
        for path in ("/quick", "/echo"):
            wire.send(f"GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert wire.response().headers["connection"] == "keep-alive"
        wire.send("GET /pieces/3 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        response = wire.response()
        assert response.headers["connection"] == "close"
        assert response.body == b"0,1,2,"
    with door.connect() as wire:
        wire.send("GET /quick HTTP/1.0\r\n\r\n")
        assert wire.response().headers["connection"] == "close"
        assert wire.rest() == b""


def test_heads_alone(door: Gunicorn) -> None:
    with door.connect() as wire:
        for path in ("/echo", "/quick", "/pieces/3", "/large/whole", "/large/pieces", "/nothing"):
            response = wire.ask("HEAD", path)
            assert response.status == (500 if path == "/nothing" else 200)
        assert int(response.headers["content-length"]) > 0
        assert wire.ask("GET", "/quick").body == b"quick "


@pytest.mark.parametrize("prefix", ["\r\nScript-Name: /echo", "\r\nSCRIPT_NAME: /prefix"])
def test_the_prefix_that_a_proxy_sets(door: Gunicorn, prefix: str) -> None:
    trusted = "SCRIPT_NAME" in prefix
    with door.connect() as wire:
        path = "/prefix/echo/x" if trusted else "/echo/x"
        wire.send(f"GET {path} HTTP/1.1\r\nHost: a{prefix}\r\n\r\n")
        environ = wire.response().json
        assert environ["SCRIPT_NAME"] == ("/prefix" if trusted else "")
        assert environ["PATH_INFO"] == "/echo/x"


# Bodies.


def test_continue(door: Gunicorn) -> None:
    expecting = "POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n"
    with door.connect() as wire:
        for body in (b"a" * 5, b"b" * 300_000):
            wire.send(expecting.format("/echo", len(body)))
            assert wire.response().status == 100
            wire.send(body)
            assert wire.response().json["sha256"] == digest(body)
        wire.send(expecting.format("/echo", 5).encode() + b"abcde")  # It does not wait.
        assert wire.response().json["sha256"] == digest(b"abcde")
        wire.send(expecting.format("/small", 5_000_000))
        is_problem(wire.response(), 413, "too_large")
        assert wire.rest() == b""


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_body_that_is_too_large_is_refused_while_it_comes(door: Gunicorn, framing: str) -> None:
    """The client sends all of it before it reads, and gets the answer rather than a reset."""
    body = b"a" * 5_000_000
    with door.connect() as wire:
        if framing == "length":
            wire.send(f"POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        else:
            chunked = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            wire.send(b"POST /small HTTP/1.1\r\nHost: a\r\n" + chunked)
        response = wire.response()
        is_problem(response, 413, "too_large")
        assert response.headers["connection"] == "close"
        assert wire.rest() == b"", "no second response"


SIZES = [0, 1, 1_000, 1_001, 16_384, 16_385, 65_536, 262_143, 262_144, 262_145, 400_000, 2**22, 2**22 + 1, 5_000_000]


def chunked(body: bytes, size: int = 30_000) -> bytes:
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def some_bytes(size: int) -> bytes:
    return (LARGE[: size // 2 + 1] + bytes(size))[:size]


def test_bodies_of_all_sizes(door: Gunicorn) -> None:
    """In memory, in a file, and across the threshold, with and without chunks, one behind the other."""
    with door.connect() as wire:
        for size in SIZES:
            body = some_bytes(size)
            for framed in (
                f"Content-Length: {size}\r\n\r\n".encode() + body,
                b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body),
                b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body, max(1, size)),
            ):
                wire.send(b"POST /echo HTTP/1.1\r\nHost: a\r\n" + framed)
                answer = wire.response().json
                assert (answer["length"], answer["sha256"]) == (size, digest(body)), size
                assert answer["CONTENT_LENGTH"] == str(size)
                assert "HTTP_TRANSFER_ENCODING" not in answer


def test_bodies_behind_each_other(door: Gunicorn) -> None:
    """All are sent before the first answer is read, so that each arrives in pieces with its neighbours."""
    bodies = [some_bytes(size) for size in (300_000, 10, 270_000, 0, 40_000, 1_000_000)]
    data = b"".join(
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body)
        if number % 2
        else b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        for number, body in enumerate(bodies)
    )
    with door.connect() as wire:
        sender = threading.Thread(target=wire.send, args=(data,))
        sender.start()
        assert [wire.response().json["sha256"] for _ in bodies] == [digest(body) for body in bodies]
        sender.join()


def test_several_bodies_at_once(door: Gunicorn) -> None:
    def upload(number: int) -> bool:
        body = bytes([number]) * 1_500_000
        with door.connect() as wire:
            return bool(wire.ask("POST", "/echo", body).json["sha256"] == digest(body))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(upload, range(16)))


# Clients that end early.


@pytest.mark.parametrize("path", ["/echo", "/quick", "/stream/order", "/later/order", "/large/pieces"])
def test_a_client_that_has_closed_its_end_gets_its_answers(door: Gunicorn, path: str) -> None:
    door.let("order")
    with door.connect() as wire:
        wire.send(get(path) * 3)
        wire.sock.shutdown(socket.SHUT_WR)
        for _ in range(3):
            assert wire.response().status == 200
        assert wire.rest() == b""


@pytest.mark.parametrize("path", ["/echo", "/wait/half"])
def test_half_a_request_behind_a_whole_one_ends_the_connection(door: Gunicorn, path: str) -> None:
    with door.connect(timeout=5.0) as wire:
        wire.send(get(path) + "GET /ec")
        wire.sock.shutdown(socket.SHUT_WR)
        door.let("half")
        assert wire.response().status == 200
        assert wire.rest() == b""


@pytest.mark.parametrize(
    ("head", "size"),
    [
        ("Content-Length: 10", 0),
        ("Content-Length: 10", 9),
        ("Content-Length: 400000", 300_000),
        ("Transfer-Encoding: chunked", 0),
        ("Transfer-Encoding: chunked", 5),
        ("Transfer-Encoding: chunked", 300_000),
    ],
)
def test_a_body_that_is_cut_short(door: Gunicorn, head: str, size: int) -> None:
    body = b"a" * size
    with door.connect() as wire:
        wire.send(f"POST /echo HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n".encode())
        wire.send(b"%x\r\n%b\r\n" % (size, body) if "chunked" in head and size else body)
        wire.sock.shutdown(socket.SHUT_WR)
        is_problem(wire.response(), 400, "invalid_body")
        assert wire.rest() == b""


def reset(wire: Wire) -> None:
    """Disconnect at once, as a client does that is killed."""
    wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()


@pytest.mark.parametrize("end", [reset, Wire.close], ids=["reset", "close"])
def test_a_client_that_disconnects_leaves_nothing_behind(narrow: Gunicorn, end: Callable[[Wire], None]) -> None:
    """In each of a request's steps. What the application has opened is closed, once."""
    narrow.worker()
    before, closed = eventually(narrow.files), narrow.times_closed()
    steps = (
        b"",
        b"GET /ec",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + bytes(600_000),
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n" + bytes(600_000),
        get("/echo").encode() * 50,
        get("/stream/order").encode(),
        get("/large/pieces").encode(),
        get("/large/whole").encode(),
    )
    for data in steps * 2:
        wire = narrow.connect()
        wire.send(data)
        if b"/large" in data:
            assert wire.head().status == 200
        end(wire)
    narrow.let("order")
    assert narrow.worker()
    eventually(lambda: narrow.files() <= before, what="as many open files as before")
    eventually(lambda: narrow.times_closed() >= closed + 4, what="the end of the answers")
    assert narrow.times_closed() == closed + 4


# Answers.


@pytest.mark.parametrize("kind", ["whole", "pieces", "file"])
def test_clients_that_read_slowly_hold_no_thread(narrow: Gunicorn, kind: str) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(narrow.connect(receive=20_000)) for _ in range(3)]
        for wire in slow:
            wire.send(get(f"/large/{kind}"))
            assert wire.head().status == 200
        with narrow.connect() as other:
            for _ in range(20):
                assert other.ask("GET", "/echo").status == 200
        assert digest(slow[0].read(len(LARGE))) == digest(LARGE)
        assert slow[0].ask("GET", "/echo").status == 200


def test_each_piece_is_sent_as_it_comes(door: Gunicorn) -> None:
    with door.connect() as wire:
        wire.send(get("/stream/second"))
        assert wire.head().status == 200
        assert wire.chunk() == b"first"
        door.let("second")
        assert wire.chunk() == b"second"
        assert wire.chunk() == b""
        assert wire.ask("GET", "/pieces/1000").body == b"".join(b"%d," % number for number in range(1_000))


def test_answers_that_wait_hold_no_thread(narrow: Gunicorn) -> None:
    with ExitStack() as stack:
        waiting = [stack.enter_context(narrow.connect()) for _ in range(100)]
        for wire in waiting:
            wire.send(get("/later/news") + get("/echo"))
        with narrow.connect() as other:
            assert other.ask("GET", "/echo").status == 200
        narrow.let("news")
        for wire in waiting:
            assert wire.response().body == b"news 1"
            assert wire.response().status == 200


def test_a_client_of_an_answer_that_waits_disconnects(narrow: Gunicorn) -> None:
    narrow.worker()
    before = narrow.files()
    for _ in range(20):
        wire = narrow.connect()
        wire.send(get("/later/nothing comes"))
        reset(wire)
    eventually(lambda: narrow.files() <= before, what="as many open files as before")


@pytest.mark.parametrize(
    "path", ["/fails/before", "/fails/exit", "/fails/in the first piece", "/fails/short", "/nothing", "/quick/fails"]
)
def test_an_application_that_fails(door: Gunicorn, path: str) -> None:
    closed = door.times_closed()
    with door.connect() as wire:
        wire.send(get(path.replace(" ", "%20"), "X-Request-Id: mine"))
        response = wire.response()
        is_problem(response, 500, "internal_error")
        assert response.headers["x-request-id"] == "mine"
        assert "mine" in response.json["detail"]
        assert wire.ask("GET", "/echo").status == 200, "the connection stays"
    if path == "/fails/in the first piece":
        eventually(lambda: door.times_closed() == closed + 1, what="the end of the answer")


def test_an_application_that_fails_midway_cuts_the_connection(door: Gunicorn) -> None:
    for path in ("/fails/after", "/fails/short%20later"):
        closed = door.times_closed()
        with door.connect() as wire:
            wire.send(get(path))
            assert wire.head().status == 200
            rest = wire.rest()
            assert b"12345" in rest
            assert not rest.endswith(b"0\r\n\r\n")
            assert b"HTTP/1.1" not in rest, "no second response"
        eventually(lambda before=closed: door.times_closed() == before + 1, what="the end of the answer")


def test_an_old_client_sees_that_an_answer_is_not_whole(door: Gunicorn) -> None:
    """The end of the connection is the end of the body, so nothing but a reset shows it."""
    with door.connect() as wire:
        wire.send("GET /fails/after HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            wire.response()


def test_an_application_that_answers_too_much(door: Gunicorn) -> None:
    with door.connect() as wire:
        assert wire.ask("GET", "/fails/long").body == b"1234567890"
        assert wire.ask("GET", "/echo").status == 200


def test_a_fault_of_the_front_costs_one_connection(door: Gunicorn) -> None:
    before = door.worker()
    with door.connect() as other, door.connect() as wire:
        assert other.ask("GET", "/echo").status == 200
        wire.send("POST /fails/limit HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        with pytest.raises((EOFError, ConnectionError)):
            wire.response()
        assert other.ask("GET", "/echo").json["pid"] == before


# Refusals.


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\nX", 400, "bad_request"),
        (b"GET /" + b"a" * 8_000, 414, "uri_too_long"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 20_000, 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 200 + b"\r\n", 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417, "expectation_failed"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501, "not_implemented"),
        (b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400, "invalid_body"),
        (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11000000\r\n\r\n", 413, "too_large"),
        (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999999999999\r\n\r\n", 413, "too_large"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_refusal_is_a_problem_and_the_only_answer(door: Gunicorn, data: bytes, status: int, code: str) -> None:
    with door.connect() as wire:
        wire.send(data)
        if not data.endswith(b"\n"):
            wire.send(get("/echo"))
        response = wire.response()
        is_problem(response, status, code)
        assert response.headers["connection"] == "close"
        assert wire.rest() == b""


def test_a_refusal_of_a_request_that_was_understood_names_it(door: Gunicorn) -> None:
    with door.connect() as wire:
        wire.send("POST /echo HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\nContent-Length: 11000000\r\n\r\n")
        response = wire.response()
        assert response.headers["x-request-id"] == "mine"
        assert response.json["instance"] == "/echo"


def test_a_refusal_of_a_head_alone(door: Gunicorn) -> None:
    with door.connect() as wire:
        wire.send("HEAD /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11000000\r\n\r\n")
        assert wire.response("HEAD").status == 413
        assert wire.rest() == b""


# Ends.


def test_nobody_waits_for_clients_that_close_late(narrow: Gunicorn) -> None:
    """Three clients have their response and do not close their end."""
    with ExitStack() as stack:
        for _ in range(3):
            wire = stack.enter_context(narrow.connect())
            wire.send(CLOSING)
            assert wire.response().status == 200
            assert wire.rest() == b""
        with narrow.connect(timeout=1.0) as other:
            assert other.ask("GET", "/echo").status == 200


def test_a_client_that_sends_on_and_on_is_cut(door: Gunicorn) -> None:
    with door.connect() as wire:
        wire.send(CLOSING)
        assert wire.response().status == 200
        with pytest.raises(ConnectionError):
            wire.send(b"x" * 1_000 * LINGER_BYTES)


def test_what_is_sent_behind_a_request_does_not_cost_its_answer(door: Gunicorn) -> None:
    """If the connection were simply closed, the unread bytes would cause a reset, which might overtake the answer."""
    for _ in range(20):
        with door.connect() as wire:
            wire.send(CLOSING.encode() + b"x" * (LINGER_BYTES // 2))
            assert wire.response().status == 200
            assert wire.rest() == b""


def test_the_workers_have_survived_all_of_that(door: Gunicorn, narrow: Gunicorn) -> None:
    """No loop has ended, and no connection has failed by a fault of ours."""
    assert door.workers() == [door.worker()]
    assert narrow.workers() == [narrow.worker()]
    assert (door.log + narrow.log).count("Booting worker") == 2
    assert door.log.count("a connection failed") == door.log.count("KeyError: 'limit'") == 1
    assert "a connection failed" not in narrow.log
