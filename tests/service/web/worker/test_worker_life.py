"""The front door's deadlines, limits and ends, and what it listens on."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import pytest

from testing.harness import eventually
from tests.service.web.worker.servers import LARGE, Gunicorn, Wire, gunicorn
from tests.service.web.worker.test_front_door import get, is_problem

pytestmark = pytest.mark.processes


# Deadlines.


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    """Deadlines of about a second, and a heartbeat that must come every three."""
    place = tmp_path_factory.mktemp("hasty") / "place"
    options = ("--threads", "2", "--keep-alive", "1", "--timeout", "3")
    seconds = {"HEAD_SECONDS": 1.0, "BODY_SECONDS": 1.0, "ANSWER_SECONDS": 1.0, "LINGER_SECONDS": 0.5}
    with gunicorn(place, *options, **seconds, REFUSED_SECONDS=1.0, ANSWER_RATE=100_000.0) as server:
        yield server


def test_deadlines(hasty: Gunicorn) -> None:
    """All at once, since each takes its time: slow heads, slow bodies, idle clients, and answers that are not read."""
    worker, begin = hasty.worker(), monotonic()
    with ExitStack() as stack:

        def connect(data: str = "", receive: int = 0) -> Wire:
            wire = stack.enter_context(hasty.connect(receive=receive))
            wire.send(data)
            return wire

        silent, idle = connect(), connect()
        assert idle.ask("GET", "/echo").status == 200
        half, later_half = connect("GET /ec"), connect()
        assert later_half.ask("GET", "/echo").status == 200
        later_half.send("GET /ec")
        posting = "POST /echo HTTP/1.1\r\nHost: a\r\n{}\r\n\r\n"
        slow = connect(posting.format("Content-Length: 100000"))
        chunked = connect(posting.format("Transfer-Encoding: chunked"))
        unread = connect(get("/large/pieces"), 20_000)
        unread_whole = connect(get("/large/whole"), 20_000)
        read, waiting = connect(get("/large/pieces"), 20_000), connect(get("/later/nothing"))
        over = threading.Event()

        def trickle() -> None:
            for wire in (slow, chunked, half) * 100:
                if over.wait(0.05):
                    return
                try:
                    wire.send("a" if wire is not chunked else "1\r\na\r\n")
                except ConnectionError:
                    continue

        thread = threading.Thread(target=trickle)
        thread.start()
        assert read.head().status == 200
        body = b""
        while monotonic() < begin + 4.0:  # 400,000 bytes a second are enough.
            body += read.read(20_000)
            over.wait(0.05)
        over.set()
        thread.join()
        assert body == LARGE[: len(body)]
        for wire in (half, later_half, slow, chunked):
            is_problem(wire.response(), 408, "request_timeout")
        for wire in (silent, idle):
            assert wire.rest() == b""
        for wire in (unread, unread_whole):
            assert wire.head().status == 200
            with pytest.raises((EOFError, ConnectionError)):
                wire.read(len(LARGE))
        waiting.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            waiting.response()
        assert read.read(1_000_000) == LARGE[len(body) : len(body) + 1_000_000]
    assert hasty.worker() == worker


def test_a_body_that_arrives_fast_enough_may_take_long(hasty: Gunicorn) -> None:
    begin, body = monotonic(), b"a" * 3_000
    with hasty.connect() as wire:
        wire.send(f"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {25 * len(body)}\r\n\r\n")
        for _ in range(25):
            wire.send(body)
            threading.Event().wait(0.1)
        assert wire.response().json["length"] == 25 * len(body)
    assert monotonic() > begin + 2.0


def test_a_client_that_never_closes_its_end_is_cut(hasty: Gunicorn) -> None:
    with hasty.connect() as wire:
        wire.send(get("/echo", "Connection: close"))
        assert wire.response().status == 200

        def cut() -> bool:
            try:
                wire.send("x")
            except ConnectionError:
                return True
            return False

        eventually(cut, what="a reset")


def test_clients_that_wait_cost_no_processor_time(hasty: Gunicorn) -> None:
    """Also those that have closed their end, and those that have sent more than is read for now."""
    worker = hasty.worker()
    with ExitStack() as stack:
        for number in range(20):
            wire = stack.enter_context(hasty.connect())
            wire.send(get("/later/nothing") * (1 + number % 3))
            if number % 2:
                wire.sock.shutdown(socket.SHUT_WR)
            else:
                wire.send(bytes(1_000))
        before = seconds_of(worker)
        threading.Event().wait(1.5)
        # Twenty looks a second at what the answers wait for are all that happens.
        assert seconds_of(worker) - before < 0.4


def test_an_idle_worker_is_not_ended(hasty: Gunicorn) -> None:
    """Its heartbeat goes on, also if nothing happens, and also while clients wait."""
    (worker,) = hasty.workers()
    eventually(lambda: monotonic() > hasty.started + 4.0, what="more than the time-out of the heartbeat")
    assert hasty.workers() == [worker]
    assert "WORKER TIMEOUT" not in hasty.log


# Limits.


def test_idle_connections_make_room(tmp_path: Path) -> None:
    """16 connections are the least that a worker holds. Those with a request stay."""
    with (
        gunicorn(tmp_path / "place", "--threads", "2", "--keep-alive", "5", limit=100) as server,
        ExitStack() as stack,
    ):
        busy = [stack.enter_context(server.connect()) for _ in range(8)]
        for number, wire in enumerate(busy):
            wire.send(get(f"/later/{number % 2}"))
        idle = []
        for _ in range(50):
            idle.append(stack.enter_context(server.connect()))
            assert idle[-1].ask("GET", "/quick").status == 200
        assert server.files() < 40
        server.let("0")
        server.let("1")
        for number, wire in enumerate(busy):
            assert wire.response().body == f"{number % 2} 1".encode()
        assert idle[-1].ask("GET", "/quick").status == 200
        with pytest.raises((EOFError, ConnectionError)):
            idle[0].ask("GET", "/quick")


def seconds_of(pid: int) -> float:
    """The processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_worker_without_files_left_waits_for_some(tmp_path: Path) -> None:
    """It takes no connection, and neither spins nor fills the log."""
    with gunicorn(tmp_path / "place", "--threads", "2", limit=100) as server, ExitStack() as stack:
        worker = server.worker()
        hog = stack.enter_context(server.connect())
        hog.send(get("/files/all"))
        eventually(lambda: server.files() >= 100, what="no file left")
        late = [stack.enter_context(server.connect()) for _ in range(3)]
        for wire in late:
            wire.send(get("/quick"))
        eventually(lambda: "cannot be accepted" in server.log, what="a line in the log")
        before = seconds_of(worker)
        threading.Event().wait(1.5)
        assert seconds_of(worker) - before < 0.3
        assert server.log.count("cannot be accepted") <= 10
        server.let("enough")
        assert hog.response().body == b"done"
        for wire in late:
            assert wire.response().body == b"quick "
        assert server.worker() == worker


# What it listens on.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of localhost, which has signed itself, with its key."""
    place = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", place / "key.pem", "-out", place / "certificate.pem", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
        ],
        check=True,
        capture_output=True,
    )
    return place


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Iterator[Gunicorn]:
    options = ("--certfile", str(certificate / "certificate.pem"), "--keyfile", str(certificate / "key.pem"))
    with gunicorn(tmp_path_factory.mktemp("secure") / "place", "--threads", "1", *options, HEAD_SECONDS=2.0) as server:
        yield server


@pytest.fixture(scope="module")
def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate / "certificate.pem"))


def test_requests_over_tls(secure: Gunicorn, trusting: ssl.SSLContext) -> None:
    with secure.connect(tls=trusting) as wire:
        assert wire.ask("GET", "/echo").json["wsgi.url_scheme"] == "https"
        assert wire.ask("GET", "/quick").body == b"quick "
        for size in (10, 20_000, 300_000, 5_000_000):
            body = LARGE[:size]
            assert wire.ask("POST", "/echo", body).json["sha256"] == hashlib.sha256(body).hexdigest()
        wire.send(get("/echo?1") + get("/echo?2") + get("/stream/tls"))
        assert [wire.response().json["QUERY_STRING"] for _ in range(2)] == ["1", "2"]
        assert wire.head().status == 200
        assert wire.chunk() == b"first"
        secure.let("tls")
        assert wire.chunk() == b"second"


@pytest.mark.parametrize("kind", ["whole", "pieces"])
def test_large_answers_over_tls_that_are_read_slowly(secure: Gunicorn, trusting: ssl.SSLContext, kind: str) -> None:
    with secure.connect(tls=trusting, receive=20_000) as wire, secure.connect(tls=trusting) as other:
        wire.send(get(f"/large/{kind}", "Connection: close"))
        assert wire.head().status == 200
        assert other.ask("GET", "/echo").status == 200
        assert hashlib.sha256(wire.read(len(LARGE))).digest() == hashlib.sha256(LARGE).digest()
        assert wire.rest() == b""


def test_the_end_over_tls_is_announced(secure: Gunicorn, trusting: ssl.SSLContext) -> None:
    """Else the client could not distinguish it from a cut by somebody between."""
    plain = socket.create_connection(secure.address, 20.0)
    with Wire(trusting.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False)) as wire:
        wire.send(get("/echo", "Connection: close"))
        assert wire.response().status == 200
        assert wire.rest() == b""


def test_a_refused_body_over_tls(secure: Gunicorn, trusting: ssl.SSLContext) -> None:
    """The client sends all of it before it reads."""
    with secure.connect(tls=trusting) as wire:
        wire.send(b"POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n" + bytes(3_000_000))
        is_problem(wire.response(), 413, "too_large")


def test_what_is_no_tls_harms_nobody(secure: Gunicorn, trusting: ssl.SSLContext) -> None:
    """Plain HTTP, half a handshake, and clients that disconnect before the handshake or within it."""
    hello = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        trusting.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost").do_handshake()
    greeting = hello.read()
    (worker,) = secure.workers()
    with ExitStack() as stack:
        plain, half, silent = (stack.enter_context(secure.connect()) for _ in range(3))
        plain.send(get("/echo"))
        half.send(greeting[: len(greeting) // 2])
        for data in (b"", b"x", greeting[:50], greeting):
            for _ in range(20):
                wire = secure.connect()
                wire.send(data)
                wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                wire.close()
        with secure.connect(tls=trusting) as wire:
            assert wire.ask("GET", "/echo").status == 200
        for wire in (plain, half, silent):
            try:
                rest = wire.rest()
            except ConnectionError:
                continue
            assert b"HTTP" not in rest
    assert secure.workers() == [worker]
    assert "a connection failed" not in secure.log


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "door.sock"
    options = ("--threads", "1", "--bind", f"unix:{path}")
    with gunicorn(tmp_path / "place", *options) as server, server.connect() as wire:
        environ = wire.ask("GET", "/echo", None, "X-Forwarded-Proto: https").json
        assert environ["REMOTE_ADDR"] == ""
        assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("a", "443")
        for host in ("[::1]", "b"):
            wire.send(f"GET /echo HTTP/1.1\r\nHost: {host}:8000\r\n\r\n")
            environ = wire.response().json
            assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == (host, "8000")
        body = LARGE[:2_000_000]
        assert wire.ask("POST", "/echo", body).json["sha256"] == hashlib.sha256(body).hexdigest()
        wire.send(get("/echo"))
        wire.sock.shutdown(socket.SHUT_WR)
        assert wire.response().status == 200
        assert wire.rest() == b""


def test_the_access_log(tmp_path: Path) -> None:
    options = ("--access-logfile", str(tmp_path / "access"), "--access-logformat", '%(h)s "%(r)s" %(s)s %(B)s "%(a)s"')
    with gunicorn(tmp_path / "place", "--threads", "1", *options) as server, server.connect() as wire:
        sizes = []
        for path in ("/echo?a=b", "/quick", "/pieces/100", "/fails/before"):
            wire.send(get(path, 'User-Agent: "me"'))
            sizes.append(len(wire.response().body))
        wire.send("POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n")
        sizes.append(len(wire.response().body))
        with server.connect() as other:
            other.send("nonsense\r\n\r\n")
            sizes.append(len(other.response().body))
        lines = (tmp_path / "access").read_text().splitlines()
        agent = '"\\"me\\""'
        assert lines == [
            f'127.0.0.1 "GET /echo?a=b HTTP/1.1" 200 {sizes[0]} {agent}',
            f'127.0.0.1 "GET /quick HTTP/1.1" 200 {sizes[1]} {agent}',
            f'127.0.0.1 "GET /pieces/100 HTTP/1.1" 200 {sizes[2]} {agent}',
            f'127.0.0.1 "GET /fails/before HTTP/1.1" 500 {sizes[3]} {agent}',
            f'127.0.0.1 "POST /small HTTP/1.1" 413 {sizes[4]} "-"',
            f'127.0.0.1 "- - -" 400 {sizes[5]} "-"',
        ]


# Ends.


def test_a_worker_that_is_to_end_answers_on_its_connections(tmp_path: Path) -> None:
    """What is under way, what is half sent, and one more request on each idle connection; each answer is the last."""
    options, seconds = ("--threads", "2", "--keep-alive", "30"), {"LAST_SECONDS": 1.0, "LINGER_SECONDS": 0.2}
    with gunicorn(tmp_path / "place", *options, **seconds) as server, ExitStack() as stack:
        worker = server.worker()

        def connect(data: bytes | str = "") -> Wire:
            wire = stack.enter_context(server.connect())
            wire.send(data)
            return wire

        body = LARGE[:1_000_000]
        uploading = connect(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + body[:500_000])
        half, idle = connect(get("/echo")[:10]), connect()
        assert idle.ask("GET", "/echo").headers["connection"] == "keep-alive"
        computing, waiting, reading = (
            connect(get("/wait/end")),
            connect(get("/later/never")),
            connect(get("/large/pieces")),
        )
        assert reading.head().headers["connection"] == "keep-alive"
        os.kill(worker, signal.SIGTERM)
        assert waiting.response().body == b"never 0"
        assert waiting.rest() == b""
        answer = eventually(lambda: (one := idle.ask("GET", "/echo")).headers["connection"] == "close" and one)
        assert answer.json["pid"] == worker
        half.send(get("/echo")[10:])
        assert half.response().json["pid"] == worker
        uploading.send(body[500_000:])
        answer = uploading.response()
        assert answer.headers["connection"] == "close"
        assert answer.json["sha256"] == hashlib.sha256(body).hexdigest()
        server.let("end")
        answer = computing.response()
        assert (answer.body, answer.headers["connection"]) == (b"end", "close")
        assert reading.read(len(LARGE)) == LARGE
        for wire in (idle, half, uploading, computing):
            assert wire.rest() == b""
        assert server.worker() != worker
        eventually(lambda: worker not in server.workers(), what="the end of the worker")
        assert server.times_closed() == 1


def test_a_server_that_ends_finishes_what_is_under_way(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "place", "--threads", "2") as server, server.connect() as wire:
        wire.send(get("/stream/end"))
        assert wire.head().status == 200
        assert wire.chunk() == b"first"
        server.signal(signal.SIGTERM)
        eventually(lambda: "Handling signal: term" in server.log, what="the signal")
        server.let("end")
        assert wire.chunk() == b"second"
        assert wire.chunk() == b""


def test_an_end_does_not_wait_for_clients_longer_than_it_may(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "place", "--threads", "1", "--graceful-timeout", "1", LAST_SECONDS=0.2) as server:
        with server.connect(receive=20_000) as wire:
            wire.send(get("/large/pieces"))
            assert wire.head().status == 200
            worker, begin = server.workers()[0], monotonic()
            os.kill(worker, signal.SIGTERM)
            eventually(lambda: worker not in server.workers(), what="the end of the worker")
            assert monotonic() < begin + 5.0
        eventually(lambda: server.times_closed() == 1, what="the end of the answer")


def test_no_request_is_lost_while_workers_are_replaced(tmp_path: Path) -> None:
    """5,000 requests on connections that stay, while workers end after 50 to 70 requests, and twice all together."""
    options = ("--workers", "2", "--threads", "2", "--max-requests", "50", "--max-requests-jitter", "20")
    options = (*options, "--preload")
    with gunicorn(tmp_path / "place", *options, LAST_SECONDS=1.0) as server:
        done = threading.Semaphore(0)

        def ask(count: int) -> set[int]:
            workers, wire = set(), server.connect()
            for number in range(count):
                path = "/echo" if number % 2 else "/quick"
                response = wire.ask("POST", path, b"a" * (number % 100))
                assert response.status == 200, response
                if number % 2:
                    workers.add(response.json["pid"])
                done.release()
                if response.headers["connection"] == "close":
                    assert wire.rest() == b""
                    wire.close()
                    wire = server.connect()
            wire.close()
            return workers

        with ThreadPoolExecutor(5) as pool:
            asked = [pool.submit(ask, 1_000) for _ in range(5)]
            for count in (1_500, 1_500):
                for _ in range(count):
                    assert done.acquire(timeout=20.0)
                server.signal(signal.SIGHUP)
            workers = set().union(*(one.result() for one in asked))
        assert len(workers) > 20
        assert not re.search(r"Traceback|SIGKILL|WORKER TIMEOUT", server.log), server.log
