"""The web worker's connections: no client waits for another, and no connection is closed with a request in it."""

from __future__ import annotations

import os
import selectors
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from time import monotonic
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from service.web.gunicorn_worker import LINGER_BYTES, LINGER_SECONDS, WebWorker
from testing.harness import Server, eventually

pytestmark = pytest.mark.processes

CLOSING = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one worker, which therefore gets all connections."""
    server = Server(tmp_path_factory.mktemp("alone") / "data", WORKERS=1, TRAINER="external")
    try:
        server.start()
        yield server
    finally:
        server.close()


def connect(server: Server) -> socket.socket:
    place = urlsplit(server.client.base)
    return socket.create_connection((place.hostname or "", place.port or 0), 10.0)


def read_to_the_end(connection: socket.socket) -> bytes:
    received = b""
    while piece := connection.recv(65_536):
        received += piece
    return received


def test_nobody_waits_for_clients_that_close_late(alone: Server) -> None:
    """Three clients have their response and do not close their end; gunicorn alone would wait two seconds for each."""
    late = [connect(alone) for _ in range(3)]
    for connection in late:
        connection.sendall(CLOSING)
        assert b" 200 OK" in read_to_the_end(connection).splitlines()[0]
    assert alone.client.get("/health/live", timeout=LINGER_SECONDS / 2).status == 200
    for connection in late:
        connection.close()


def test_a_client_that_never_closes_its_end_is_cut(alone: Server) -> None:
    with closing(connect(alone)) as connection:
        connection.sendall(CLOSING)
        read_to_the_end(connection)

        def cut() -> bool:
            try:
                connection.send(b"x")
            except ConnectionError:
                return True
            return False

        eventually(cut, what="a reset")


def test_a_client_that_sends_on_and_on_is_cut(alone: Server) -> None:
    with closing(connect(alone)) as connection:
        connection.sendall(CLOSING)
        read_to_the_end(connection)
        begin = monotonic()
        with pytest.raises(ConnectionError):
            connection.sendall(b"x" * 1000 * LINGER_BYTES)
        assert monotonic() < begin + LINGER_SECONDS / 2


def test_what_is_sent_behind_a_request_does_not_cost_its_answer(alone: Server) -> None:
    """If the connection were simply closed, the unread bytes would cause a reset, which might overtake the response."""
    for _ in range(20):
        with closing(connect(alone)) as connection:
            connection.sendall(CLOSING + b"x" * (LINGER_BYTES // 2))
            assert read_to_the_end(connection).endswith(b"}")


def test_a_worker_that_is_to_end_answers_on_its_connections(make_server: Callable[..., Server]) -> None:
    server = make_server(WORKERS=1, TRAINER="external")
    base = urlsplit(server.start().base)
    idle = HTTPConnection(base.hostname or "", base.port, timeout=20)
    with closing(idle), closing(connect(server)) as slow:

        def ask() -> str | None:
            idle.request("GET", "/health/live")
            answer = idle.getresponse()
            assert answer.read()
            assert answer.status == 200
            return answer.headers["Connection"]

        assert ask() == "keep-alive"
        slow.sendall(CLOSING[:20])
        assert server.process is not None
        (worker,) = [one for one in server.processes("gunicorn") if one.parent == server.process.pid]
        os.kill(worker.pid, signal.SIGTERM)
        eventually(lambda: ask() == "close", what="an answer that says it is the last")
        slow.sendall(CLOSING[20:])
        assert b" 200 OK" in read_to_the_end(slow).splitlines()[0]
    assert server.client.get("/health/live").status == 200
    assert worker.pid not in [one.pid for one in server.processes("gunicorn")]


class Loop:
    """A worker's loop as far as idle connections go, without a process or threads around it."""

    def __init__(self) -> None:
        self.worker = WebWorker.__new__(WebWorker)
        self.worker.poller = selectors.DefaultSelector()
        self.worker.keepalived_conns, self.worker.nr_conns = deque(), 0
        self.asked: list[object] = []
        self.worker.enqueue_req = self.asked.append

    def idle(self) -> tuple[SimpleNamespace, socket.socket]:
        """A connection whose idle time is over, and the client's end of it."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        connection = SimpleNamespace(sock=ours, timeout=monotonic() - 1.0, close=ours.close)
        self.worker.keepalived_conns.append(connection)
        self.worker.nr_conns += 1
        self.worker.poller.register(
            ours, selectors.EVENT_READ, lambda sock: self.worker.on_client_socket_readable(connection, sock)
        )
        return connection, theirs


def test_a_request_that_came_at_the_last_moment_is_taken() -> None:
    loop = Loop()
    (silent, first), (late, second) = loop.idle(), loop.idle()
    with first, second, late.sock:
        second.sendall(b"GET /")
        loop.worker.murder_keepalived()
        assert loop.asked == [late]
        assert loop.worker.nr_conns == 1
        assert silent.sock.fileno() == -1
        assert first.recv(1) == b""
        assert late.sock.recv(10) == b"GET /"
    loop.worker.poller.close()
