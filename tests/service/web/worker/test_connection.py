"""A connection without a loop around it: moments that no client can bring about on purpose."""

from __future__ import annotations

import io
import logging
import math
import select
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import IO, Any

import pytest
from gunicorn.config import Config

from service.web.worker import connection as module
from service.web.worker.batches import Batches
from service.web.worker.connection import Connection, State
from service.web.worker.environ import Peer, Server
from service.web.worker.front import Batchable, Front, QuickAnswer
from service.web.worker.head import RequestError
from service.web.worker.later import Later
from service.web.worker.pool import Place, _Lane


class Files(Front):
    """Bodies go to files that can be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[io.BytesIO] = []

    def temporary(self) -> IO[bytes]:
        self.made.append(io.BytesIO())
        return self.made[-1]


class Loop:
    """What a connection needs of the loop. Tasks of threads wait until ``run``."""

    alive, idle_seconds, has_room, logs = True, 5.0, True, False
    admitted = {f"all {size}" for size in range(4)}

    def __init__(self) -> None:
        config = Config()
        self.server = Server(config)
        self.rules, self.front, self.held = self.server.rules(), Files(), 0
        self.epoll = select.epoll()
        self.tasks: list[tuple[Connection | None, Callable[[], object], Callable[[object], None]]] = []
        self.places: list[Place] = []
        self.called = self.counted = self.closings = 0
        ours, self.client = socket.socketpair()
        ours.setblocking(False)
        self.connection = Connection(self, ours, Peer(("192.0.2.1", 1), ("127.0.0.1", 80)))

    def application(self, environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
        self.called += 1
        start_response("200 OK", [])
        return [environ["PATH_INFO"].encode()]

    def late(self) -> bool:
        return False

    def expect(self, kind: str) -> Place | None:
        if kind not in self.admitted:
            return None
        self.places.append(Place(_Lane(1)))
        return self.places[-1]

    def give_up(self, place: Place) -> None:
        self.places.remove(place)

    def away(
        self,
        connection: Connection | None,
        kind: str,
        run: Callable[[], object],
        done: Callable[[object], None],
        *,
        must: bool = False,
        later: bool = False,
    ) -> None:
        self.tasks.append((connection, run, done))

    def run(self) -> None:
        """Do what waits for a thread."""
        while self.tasks:
            connection, run, done = self.tasks.pop(0)
            result = run()
            if connection is None:
                done(result)
            else:
                connection.back(done, result)

    def put_off(self, connection: Connection, done: Callable[[object], None]) -> None:
        self.tasks.append((connection, lambda: None, done))

    def wait(self, connection: Connection, later: Later) -> None:
        raise NotImplementedError

    def wait_no_more(self, later: Later) -> None:
        raise NotImplementedError

    def deliver(self, connection: Connection) -> None:
        connection.deliver()

    def closed(self, connection: Connection) -> None:
        self.closings += 1

    def count_request(self) -> None:
        self.counted += 1

    def log_access(self, *_: object) -> None:
        raise NotImplementedError

    def receive(self) -> None:
        self.connection.ready(select.EPOLLIN)


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    with made.client:
        yield made
        made.connection.drop()
        made.run()
    assert made.held == 0
    assert made.places == []
    assert made.closings == 1
    assert all(file.closed for file in made.front.made)
    made.epoll.close()


GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n"


def test_a_request_that_came_at_the_last_moment_is_taken(loop: Loop) -> None:
    loop.client.sendall(GET)
    loop.connection.expired(loop.connection.deadline)
    loop.run()
    assert loop.called == 1
    assert loop.client.recv(1_000).endswith(b"\r\n\r\n/x")
    loop.client.sendall(GET[:10])
    loop.connection.expired(loop.connection.deadline)
    assert loop.connection.state is State.HEAD
    assert loop.connection.deadline > monotonic() + 5.0, "the head has its time"


def test_an_idle_connection_ends_without_an_answer(loop: Loop) -> None:
    loop.client.sendall(b"\r\n")
    loop.connection.expired(loop.connection.deadline)
    assert loop.connection.state is State.LINGER
    assert loop.client.recv(1_000) == b""


def test_a_connection_that_ends_while_a_thread_writes_its_body(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread has the file: closing it might give its number to another file, which would get the bytes."""
    monkeypatch.setattr(module, "MOST_HELD_BYTES", 262_144)
    loop.client.sendall(POST)
    loop.receive()
    loop.client.setblocking(False)
    while loop.connection.state is not State.AWAY:
        loop.client.send(bytes(100_000))
        loop.receive()
    loop.connection.drop()
    assert loop.held == 0
    assert loop.closings == 1
    ((_, run, done),) = loop.tasks
    loop.tasks.clear()
    result = run()
    (file,) = loop.front.made
    assert not file.closed
    loop.connection.back(done, result)
    loop.run()
    assert file.closed


class Sharing(Files):
    """Every request waits for a batch, which is never computed."""

    quick_bytes = 65_536

    def is_quick(self, environ: dict[str, Any]) -> bool:
        return True

    def at_once(self, environ: dict[str, Any], body: bytes) -> Batchable:
        return Batchable("key", 1.0, len(body), body)


@pytest.mark.parametrize(
    ("size", "has_room", "waits"), [(20_000, True, True), (20_000, False, False), (10, False, True)]
)
def test_bodies_that_wait_for_a_batch_take_no_more_memory_than_there_is(
    loop: Loop, size: int, has_room: bool, waits: bool
) -> None:
    loop.front, loop.has_room = Sharing(), has_room
    loop.batches = Batches(loop.front, loop.away)  # type: ignore[attr-defined]
    loop.client.sendall(f"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode() + bytes(size))
    loop.receive()
    assert loop.held == (size if waits else 0)
    if waits:
        loop.connection.batched(QuickAnswer("200 OK", [], b"done"))
    answer = loop.client.recv(1_000)
    assert answer.startswith(b"HTTP/1.1 200 " if waits else b"HTTP/1.1 503 ")
    assert loop.held == 0


def test_a_connection_that_ends_while_a_thread_answers(loop: Loop) -> None:
    loop.client.sendall(GET)
    loop.receive()
    assert loop.connection.state is State.AWAY
    assert loop.connection.deadline == math.inf
    loop.connection.ready(select.EPOLLHUP | select.EPOLLIN)
    assert loop.closings == 1
    loop.connection.drop()
    loop.run()
    assert loop.called == 1
    assert loop.counted == 1


def test_what_waits_behind_a_request_is_bounded(loop: Loop) -> None:
    """The connection stops to read: the client has to wait, and no memory fills."""
    loop.client.sendall(GET)
    loop.receive()
    loop.client.settimeout(0.2)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(loop.client.sendall, GET * 100_000)
        while not sending.done():
            if loop.epoll.poll(0.01):
                loop.receive()
    assert isinstance(sending.exception(), TimeoutError)
    assert not loop.epoll.poll(0)
    assert len(loop.connection._buffer) < 200_000


def test_an_error_ends_one_connection(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    loop.front.body_limit = lambda environ: {}["no limit"]  # type: ignore[method-assign]
    loop.client.sendall(POST)
    with caplog.at_level(logging.ERROR, "trainyard.web"):
        loop.receive()
    assert loop.connection.state is State.CLOSED
    assert "no limit" in caplog.text


def test_a_head_that_comes_byte_by_byte_is_searched_once(loop: Loop) -> None:
    """Else 60,000 bytes would cost 60,000 searches through all of them."""
    head = bytearray(GET[:-2] + b"X: y\r\n" * 90 + b"Y: " + b"a" * 8_000 + b"\r\nZ: " + b"a" * 8_000)
    searched: list[int] = []

    class Searched(bytes):
        def find(self, sub: bytes, start: int = 0) -> int:  # type: ignore[override]
            if sub == b"\r\n\r\n":
                searched.append(len(self) - start)
            return bytes(self).find(sub, start)

        def count(self, sub: bytes, start: int = 0) -> int:  # type: ignore[override]
            searched.append(len(self) - start)
            return bytes(self).count(sub, start)

    for size in (len(head) - 1, len(head)):
        loop.connection._buffer = Searched(head[:size])
        loop.connection._read_heads()
    assert loop.connection.state is State.HEAD
    assert searched == [size - 1] * 3 + [4, 1, 2]


def post(size: int) -> bytes:
    return b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)


def test_a_body_counts_until_its_answer_has_ended(loop: Loop) -> None:
    loop.client.sendall(post(30_000))
    loop.receive()
    assert loop.connection.state is State.AWAY
    assert loop.held == 30_000
    loop.run()
    assert loop.client.recv(1_000).endswith(b"\r\n\r\n/x")
    assert loop.held == 0


def test_without_room_large_bodies_are_refused_and_small_ones_are_not(loop: Loop) -> None:
    loop.has_room = False
    for size, status in ((16_384, b"200"), (16_385, b"503"), (0, b"200"), (30_000, b"503")):
        loop.client.sendall(post(size))
        loop.receive()
        loop.run()
        answer = loop.client.recv(2_000)
        assert answer.startswith(b"HTTP/1.1 " + status), size
        assert (b'"code":"busy"' in answer) == (status == b"503")
        assert loop.held == 0
    assert loop.called == 2


def test_without_room_a_body_that_is_in_a_file_is_not_refused(loop: Loop) -> None:
    """It has been received, and takes no memory."""
    loop.has_room = False
    body = post(500_000)
    loop.client.setblocking(False)
    while body or loop.tasks:
        if body:
            body = body[loop.client.send(body[:40_000]) :]
            loop.receive()
        loop.run()
    assert loop.called == 1
    assert loop.client.recv(1_000).startswith(b"HTTP/1.1 200")


def test_a_large_body_that_would_have_to_wait_is_refused_before_it_is_read(loop: Loop) -> None:
    """The client gets its answer, and what it still sends is not kept."""
    loop.admitted = {"all 0", "all 1"}
    loop.client.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n" + bytes(30_000))
    loop.receive()
    loop.client.sendall(bytes(10_000))
    loop.run()
    answer = loop.client.recv(2_000)
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    assert b"\r\nRetry-After: 1\r\n" in answer
    assert loop.connection.state is State.LINGER
    loop.client.sendall(bytes(25_537))
    loop.receive()
    assert loop.connection.state is State.LINGER
    loop.client.close()
    loop.receive()
    assert loop.connection.state is State.CLOSED
    assert (loop.called, loop.tasks, loop.held) == (0, [], 0)


@pytest.mark.parametrize("sent", [0, 1_000, 65_537])
def test_a_large_body_has_a_place_until_it_has_arrived(loop: Loop, sent: int) -> None:
    """Or until its client leaves, which the fixture does."""
    loop.client.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n")
    loop.receive()
    assert len(loop.places) == 1
    loop.client.sendall(bytes(sent))
    for _ in range(2 if sent > 65_536 else 1):
        loop.receive()
    assert len(loop.places) == (sent < 65_537)


def test_a_very_large_body_is_read(loop: Loop) -> None:
    """Of its refusal, a client that sends all before it reads would see the end of the connection only."""
    loop.admitted = set()
    loop.client.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
    loop.receive()
    assert loop.connection.state is State.BODY


def test_a_client_that_leaves_before_it_is_refused(loop: Loop) -> None:
    loop.admitted = set()
    loop.client.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n")
    loop.receive()
    assert loop.tasks
    loop.connection.drop()
    loop.run()
    assert loop.connection.state is State.CLOSED


def test_what_is_sent_behind_a_refusal_is_bounded(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFUSED_BYTES", 100_000)
    loop.admitted = set()
    loop.client.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
    loop.receive()
    loop.run()
    for state in (State.LINGER, State.LINGER, State.CLOSED):
        loop.client.sendall(bytes(40_000))
        loop.receive()
        assert loop.connection.state is state


class Guarded(Files):
    """It says only with ``wait`` whether a request may be answered."""

    refusal: RequestError | None = None
    undecided = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[bool] = []

    def admit(self, environ: dict[str, Any], peer: str | None, *, wait: bool = False) -> bool:
        assert peer == "192.0.2.1"
        self.asked.append(wait)
        if self.undecided and not wait:
            return False
        if self.refusal is not None:
            raise self.refusal
        return True


@pytest.fixture
def guarded(loop: Loop) -> Guarded:
    front = Guarded()
    loop.front = front
    return front


def _refusal() -> RequestError:
    return RequestError(401, "key_required", "a key is required", (("WWW-Authenticate", "Bearer"),))


def test_a_body_is_read_when_its_request_is_admitted(loop: Loop, guarded: Guarded) -> None:
    loop.client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
    loop.connection.ready(select.EPOLLIN)
    assert loop.connection.state is State.AWAY
    loop.client.send(b"a" * 5)
    loop.run()
    assert loop.connection.state is State.BODY
    assert guarded.asked == [False, True]
    left = 100_000
    while left > 0:
        left -= loop.client.send(b"a" * min(left, 10_000)) if left < 100_000 else 5
        loop.connection.ready(select.EPOLLIN)
        loop.run()
    assert loop.client.recv(10_000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("undecided", [False, True])
def test_a_body_of_a_refused_request_is_not_read(loop: Loop, guarded: Guarded, undecided: bool) -> None:
    guarded.undecided, guarded.refusal = undecided, _refusal()
    loop.client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n")
    loop.connection.ready(select.EPOLLIN)
    loop.run()
    answer = loop.client.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert b"WWW-Authenticate: Bearer\r\n" in answer
    assert b"Connection: close\r\n" in answer
    assert loop.connection.state is State.LINGER
    assert loop.called == 0


def test_a_refused_request_that_is_here_leaves_the_connection_open(loop: Loop, guarded: Guarded) -> None:
    """What comes behind it is read as the next request, and not as its body."""
    guarded.undecided, guarded.refusal = False, _refusal()
    loop.client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde")
    loop.connection.ready(select.EPOLLIN)
    assert loop.client.recv(10_000).startswith(b"HTTP/1.1 401")
    assert loop.connection.state is State.HEAD
    guarded.refusal = None
    loop.client.send(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
    loop.connection.ready(select.EPOLLIN)
    loop.run()
    assert loop.client.recv(10_000).endswith(b"/next")


def test_the_application_admits_a_request_that_is_here(loop: Loop, guarded: Guarded) -> None:
    """So that it costs no further turn of a thread."""
    loop.client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde")
    loop.connection.ready(select.EPOLLIN)
    loop.run()
    assert guarded.asked == [False]
    assert loop.client.recv(10_000).endswith(b"/x")


def test_a_client_may_leave_while_its_request_is_admitted(loop: Loop, guarded: Guarded) -> None:
    loop.client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
    loop.connection.ready(select.EPOLLIN)
    loop.client.close()
    loop.connection.ready(select.EPOLLHUP)
    loop.run()
    assert loop.connection.state is State.CLOSED
    assert loop.held == 0
