"""The client beside wrk: times by status, and connections that end without an answer."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import closing

from benchmarks.probe import Probe, probing
from testing.harness import eventually


def _answers(probe: Probe) -> int:
    return sum(map(len, probe.seconds.values()))


def test_times_go_by_status(serve: Callable[..., int]) -> None:
    """A refusal that closes the connection is followed by a new one."""
    bodies = set()

    def answer(number: int, body: bytes) -> int:
        bodies.add(body)
        if number % 2:
            return 200
        time.sleep(0.05)
        return 503

    with probing(serve(answer), b"[1]") as probe:
        eventually(lambda: _answers(probe) >= 6, what="six answers")
    assert set(probe.seconds) == {200, 503}
    assert abs(len(probe.seconds[200]) - len(probe.seconds[503])) <= 1
    assert min(probe.seconds[503]) >= 0.05
    assert (probe.failures, bodies) == (0, {b"[1]"})


def test_no_answer_is_a_failure(serve: Callable[..., int]) -> None:
    """The probe counts it and goes on."""
    port = serve(lambda number, _body: 0 if number == 1 else 200)
    with probing(port, b"[1]") as probe:
        eventually(lambda: _answers(probe) >= 2, what="two answers")
    assert probe.failures == 1


def test_an_answer_before_the_body_was_read_counts() -> None:
    """A server that refuses by the head alone resets the connection, and the probe still reads its answer."""
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as server,
        probing(server.getsockname()[1], b"x" * 2**24) as probe,
    ):
        connection, _ = server.accept()
        with connection:
            connection.recv(100)
            connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        eventually(lambda: _answers(probe) + probe.failures, what="an answer")
        server.close()
    assert len(probe.seconds[503]) == 1


def test_nobody_listens() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    with probing(port, b"[1]") as probe:
        eventually(lambda: probe.failures >= 2, what="two failures")
    assert probe.seconds == {}
