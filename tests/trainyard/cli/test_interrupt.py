"""Ctrl-C while a command waits for a job."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from testing.samples import fresh
from tests.trainyard.cli.conftest import PROGRAM, Made, Shell, environment
from tests.trainyard.cli.terminals import terminal


@contextmanager
def a_long_job(shell: Shell, made: Made, *more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A command that waits for a job of its own, and the model's name; the job ends with the block."""
    name = fresh("interrupted")
    words = ("train", made.dataset, "--name", name, "--hidden", "8", "--epochs", "10000000", *more)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words, "--set", "max_seconds=300"],
        cwd=shell.folder,
        env=environment(shell.url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, name
    finally:
        process.kill()
        process.communicate()
        for job in shell.client.get(f"/jobs?model={name}").json["data"]:
            shell.client.post(f"/jobs/{job['id']}/cancel")


def the_job(shell: Shell, name: str) -> dict[str, object]:
    (job,) = shell.client.get(f"/jobs?model={name}").json["data"]
    document: dict[str, object] = job
    return document


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Lines of standard error up to the one with this text."""
    assert process.stderr is not None
    told = ""
    for line in process.stderr:
        told += line
        if text in line:
            return told
    raise AssertionError(f"it has ended without {text!r}: {told}")


@pytest.mark.processes
def test_once_leaves_the_job_running(shell: Shell, made: Made) -> None:
    """The command says how to watch the job or stop it, and ends."""
    with a_long_job(shell, made) as (process, name):
        read_until(process, "✓")
        process.send_signal(signal.SIGINT)
        told = read_until(process, "trainyard job stop")
        job = the_job(shell, name)
        assert f"{job['id']} goes on. Watch it: trainyard job watch {job['id']}" in told
        out, rest = process.communicate(timeout=60)
        assert (process.returncode, out) == (130, "")
        assert "Traceback" not in rest
        assert the_job(shell, name)["state"] in ("queued", "running")


@pytest.mark.processes
def test_twice_stops_the_job(shell: Shell, made: Made) -> None:
    with a_long_job(shell, made) as (process, name):
        read_until(process, "✓")
        process.send_signal(signal.SIGINT)
        read_until(process, "Stop it: Ctrl-C again now")
        process.send_signal(signal.SIGINT)
        out, told = process.communicate(timeout=60)
        assert (process.returncode, out) == (130, "")
        job = the_job(shell, name)
        assert f"{job['id']} is " in told
        assert "stopped" in told
        assert shell.client.wait(str(job["id"]))["state"] == "cancelled"


@pytest.mark.processes
def test_a_watcher_leaves_the_job_too(shell: Shell, made: Made) -> None:
    """And so it is in a terminal, where the line that moves goes away."""
    with a_long_job(shell, made, "--no-wait") as (process, name):
        job_id = process.communicate(timeout=60)[0].strip()
        with terminal(shell, ("job", "watch", job_id)) as window:
            window.until(r"epoch [\d,]+/10,000,000")
            window.process.send_signal(signal.SIGINT)
            assert window.end() == 130
            assert f"{job_id} goes on." in window.written
            assert not any("/10,000,000" in line for line in window.lines)
        assert the_job(shell, name)["state"] == "running"
