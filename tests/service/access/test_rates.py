"""How many requests a caller may make in a second, in a process and over several by a real Redis."""

from __future__ import annotations

import logging
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from service.access import rates as module
from service.access.rates import MEMORY, Rates
from service.settings import SettingsError
from testing.harness import eventually


def allowed(rates: Rates, who: str, most: int, tries: int) -> int:
    """How many of some requests at once are allowed."""
    return sum(rates.allow(who, most) for _ in range(tries))


def test_each_caller_has_so_many_in_a_second() -> None:
    rates = Rates(MEMORY)
    assert not rates.shared
    assert allowed(rates, "key_1", 5, 20) == 5
    assert allowed(rates, "key_2", 3, 20) == 3
    eventually(lambda: rates.allow("key_1", 5), what="a second later")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """The address of a Redis of its own, at a Unix socket."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    path = tmp_path / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        eventually(path.exists, what="Redis")
        yield f"redis+unix://{path}"
    finally:
        server.terminate()
        server.wait(10)


@pytest.mark.processes
def test_processes_share_a_rate_by_redis(redis: str) -> None:
    one, other = Rates(redis), Rates(redis)
    assert one.shared
    assert allowed(one, "key_1", 6, 4) + allowed(other, "key_1", 6, 20) == 6


@pytest.mark.processes
def test_without_its_redis_a_process_counts_for_itself(redis: str, caplog: pytest.LogCaptureFixture) -> None:
    """And reports that once, not with each request."""
    rates = Rates(redis.replace("redis.sock", "none.sock"))
    with caplog.at_level(logging.ERROR):
        assert allowed(rates, "key_1", 4, 12) == 4
    assert len([one for one in caplog.records if "store of rates" in one.message]) == 1


def test_a_redis_that_never_answers_delays_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts the connection. It is asked again after a while, and only then."""
    times: list[float] = []
    monkeypatch.setattr(module, "monotonic", lambda: 1_000.0 + sum(times))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(0)
        rates, began = Rates(f"redis://127.0.0.1:{silent.getsockname()[1]}"), monotonic()
        assert allowed(rates, "key_1", 50, 200) == 50
        assert monotonic() - began < 2
        assert connections(silent) == 1
        times.append(module.PAUSE_SECONDS + 0.1)
        rates.allow("key_1", 50)
        assert connections(silent) == 1


def connections(server: socket.socket) -> int:
    """How many connections wait to be accepted; they are closed."""
    count = 0
    while True:
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


@pytest.mark.parametrize("store", ["nonsense", "nothing://localhost"])
def test_another_store_is_refused_with_a_sentence(store: str) -> None:
    with pytest.raises(SettingsError, match="TRAINYARD_RATE_STORE must be memory://"):
        Rates(store)
