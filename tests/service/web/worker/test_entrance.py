"""The listening sockets: connections are spread evenly, and nobody waits for a worker that ends."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from time import monotonic

import pytest

from service.web.worker.entrance import Entrance
from service.web.worker.shares import Shares


class Worker:
    """A worker as far as its entrance goes; its connections stay open."""

    def __init__(self, listeners: list[socket.socket], shares: Shares, number: int) -> None:
        self.epoll = select.epoll()
        self.connections: list[socket.socket] = []
        self.entrance = Entrance(listeners, self.epoll, shares, number, self.connections)

    def turn(self, began: float | None = None) -> int:
        """Accept what is ready; returns how many connections there are then."""
        ready = [fd for fd, _ in self.epoll.poll(0)]
        for accepted, _ in self.entrance.accept(ready, monotonic() if began is None else began):
            self.connections.append(accepted)
            self.entrance.count()
        return len(self.connections)


@pytest.fixture
def listeners() -> Iterator[list[socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        yield [first, second]


@pytest.fixture
def workers(listeners: list[socket.socket]) -> Iterator[list[Worker]]:
    shares = Shares(4)
    made = [Worker(listeners, shares, number) for number in range(2)]
    yield made
    for worker in made:
        worker.epoll.close()
        for connection in worker.connections:
            connection.close()


def test_connections_are_spread_evenly(workers: list[Worker], listeners: list[socket.socket]) -> None:
    clients = [socket.create_connection(listeners[0].getsockname()) for _ in range(20)]
    while sum(worker.turn() for worker in workers) < len(clients):
        pass
    assert [len(worker.connections) for worker in workers] == [10, 10]
    for client in clients:
        client.close()


def test_a_worker_whose_round_is_long_accepts_all(workers: list[Worker], listeners: list[socket.socket]) -> None:
    clients = [socket.create_connection(listeners[0].getsockname()) for _ in range(20)]
    assert workers[0].turn(began=monotonic() - 1.0) == 20
    for client in clients:
        client.close()


def test_what_is_left_to_a_worker_that_does_not_come_is_accepted(
    workers: list[Worker], listeners: list[socket.socket]
) -> None:
    clients = [socket.create_connection(listeners[0].getsockname()) for _ in range(5)]
    until = monotonic() + 10.0
    while workers[0].turn() < len(clients):
        assert monotonic() < until
    assert not workers[1].connections
    for client in clients:
        client.close()


def test_nothing_is_left_to_a_worker_that_ends(workers: list[Worker], listeners: list[socket.socket]) -> None:
    """Its connections still close, one by one, which counts no more."""
    ending, other = workers
    ending.entrance.close()
    ending.entrance.count()
    clients = [socket.create_connection(listeners[0].getsockname()) for _ in range(5)]
    assert other.turn() == 5
    assert other.entrance.patience is None
    for client in clients:
        client.close()


def test_each_socket_has_its_turn(listeners: list[socket.socket]) -> None:
    worker = Worker(listeners, Shares(1), 0)
    clients = [socket.create_connection(each.getsockname()) for each in listeners]
    assert worker.turn() == 2
    worker.entrance.pause()
    clients.append(socket.create_connection(listeners[1].getsockname()))
    assert worker.turn() == 2
    worker.entrance.resume()
    assert worker.turn() == 3
    worker.epoll.close()
    for connection in (*clients, *worker.connections):
        connection.close()
