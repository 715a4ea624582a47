"""What trains gives way to what answers, also if Linux shares the processors among sessions first."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.niceness import TRAINING, UPKEEP
from testing.harness import Server
from testing.samples import a_model, a_training

pytestmark = pytest.mark.processes


def _niceness(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


def _of_session(pid: int) -> int | None:
    """The niceness of the group of the process's session; None if the kernel has no such groups."""
    place = Path(f"/proc/{pid}/autogroup")
    text = place.read_text() if place.exists() else ""
    return int(text.split()[-1]) if text else None


def test_what_trains_gives_way(server: Server) -> None:
    client = server.client
    client.define(a_model("nice"))
    job = client.train(a_training("nice", epochs=10**6))["id"]
    client.until_state(job, "running")
    assert server.process is not None
    web = server.process.pid
    trainer, runner = server.trainer().pid, server.busy_runner().pid
    assert _niceness(trainer) == _niceness(runner) == max(TRAINING, _niceness(web))
    if _of_session(web) is not None:
        assert _of_session(trainer) == _of_session(runner) == TRAINING
    client.post(f"/jobs/{job}/cancel")
    assert TRAINING < UPKEEP
