"""The short form: some hundred slow and silent connections; each is cut, and others are served meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from security.crowd import Crowd, Habit
from security.slow import GOALS, run
from testing.harness import Server
from testing.samples import a_training
from tests.security.test_wire import port_of

SCALE = 0.024


@pytest.mark.processes
@pytest.mark.slow
def test_slow_clients_are_cut_and_others_are_served() -> None:
    figure = run(SCALE)
    assert figure.holds(SCALE), figure.broken
    assert figure.counts["cut"] == int(GOALS["cut"] * SCALE)
    assert figure.counts["answers to others"] > 50


@pytest.mark.processes
@pytest.mark.slow
def test_downloads_that_are_not_read_hold_no_thread(make_server: Callable[..., Server]) -> None:
    """Ten times as many as the worker has threads; another client's lists, which need one, are answered."""
    server = make_server(WORKERS=1, THREADS=2)
    client = server.start_ready()
    client.define({"name": "large", "inputs": 1_000, "classes": 2, "hidden": [1_000]})
    data = {"inputs": [[0] * 1_000, [1] * 1_000], "labels": [0, 1]}
    path = f"/checkpoints/{client.run(a_training('large', data=data, epochs=0))['checkpoint']}/file"
    habit = Habit("unread", f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(), reads=False)
    size = int(client.request("HEAD", path).headers["content-length"])
    assert size > 10 * 2**20
    with Crowd(port_of(server)) as crowd:
        crowd.join([habit], 20)
        crowd.live(0.5)
        for _ in range(20):
            assert client.get("/models", timeout=20.0).status == 200
            assert client.get("/health/live", timeout=20.0).status == 200
        crowd.drain(60, lambda: all(member.received > size for member in crowd.members))
        # Who reads in time still gets everything.
        assert min(member.received for member in crowd.members) > size
