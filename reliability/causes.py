"""No job is lost, and a poison job stops: its cause is told apart."""

from __future__ import annotations

import os
import resource
import signal
import tempfile
from pathlib import Path
from typing import Any

from reliability.figure import Figure
from tests.service.harness import Client, Server, eventually, serving
from tests.service.samples import LABELS, ROWS, a_model, a_training

__all__ = ["run"]

#: Address space that a runner may take beyond what it has while it waits: too little for 80 million parameters.
ROOM = 400 * 2**20
LARGE = [{"type": "dense", "units": 9000}, {"type": "relu"}, {"type": "dense", "units": 9000}, {"type": "relu"}]
ENDS = {"SIGKILL": "worker_lost", "SIGSEGV": "crashed", "SIGBUS": "crashed", "SIGABRT": "crashed"}


def run(scale: float) -> Figure:
    """Jobs whose runners are killed, crash or run out of memory, and one that diverges; each in a real service."""
    figure = Figure(goals={"causes told apart": len(ENDS) + 2, "jobs that went on after one death": 1})
    ends = dict(list(ENDS.items())[: max(2, round(len(ENDS) * scale))])
    figure.goals["causes told apart"] = len(ends) + 2
    with (
        tempfile.TemporaryDirectory(prefix="trainyard-causes-") as folder,
        serving(Path(folder) / "data", WORKERS=1, REPORT_SECONDS=0.05) as server,
    ):
        server.client.define(a_model("tried"))
        _go_on_after_one_death(server, figure)
        for name, code in ends.items():
            job = server.client.train(a_training("tried", epochs=10_000_000))
            _expect(server.client, _end_three_times(server, job, signal.Signals[name]), code, name, figure)
        _diverge(server.client, figure)
        _run_out_of_memory(server, figure)
    return figure


def _expect(client: Client, job: dict[str, Any], code: str, what: str, figure: Figure) -> None:
    ended = client.wait(job["id"])
    error = ended["error"] or {}
    if (ended["state"], error.get("code")) != ("failed", code) or what not in error["detail"]:
        figure.broken.append(f"{what}: the job ended as {ended['state']} with {error}")
    figure.count("causes told apart")


def _end_three_times(server: Server, job: dict[str, Any], number: signal.Signals) -> dict[str, Any]:
    """Each time past its beginning: the first checkpoint of all clears the count of deaths."""
    for attempt in (1, 2, 3):
        _running(server.client, job["id"], attempt)
        os.kill(server.busy_runner().pid, number)
    return job


def _running(client: Client, job: str, attempt: int) -> None:
    def there() -> bool:
        now = client.job(job)
        return now["attempt"] == attempt and now["state"] == "running" and bool(now["checkpoint"])

    eventually(there, what=f"attempt {attempt} of {job}")


def _go_on_after_one_death(server: Server, figure: Figure) -> None:
    """It is taken up from its newest checkpoint, and succeeds."""
    job = server.client.train(a_training("tried", epochs=3000, checkpoint={"every_epochs": 100, "keep": 1}))
    server.client.until_epoch(job["id"], 200)
    os.kill(server.busy_runner().pid, signal.SIGKILL)
    ended = server.client.wait(job["id"])
    if (ended["state"], ended["attempt"]) != ("succeeded", 2):
        figure.broken.append(f"a job whose runner was killed once ended as {ended}")
    figure.count("jobs that went on after one death")


def _diverge(client: Client, figure: Figure) -> None:
    optimizer = {"type": "sgd", "learning_rate": 1e6}
    data = {"inputs": [[x * 1e15, y * 1e15] for x, y in ROWS], "labels": LABELS}
    job = client.train(a_training("tried", epochs=1000, optimizer=optimizer, data=data))
    _expect(client, job, "diverged", "diverged in step", figure)


def _run_out_of_memory(server: Server, figure: Figure) -> None:
    """The trainer's address space bounds that of its runners, which find no room for a large network."""
    client = server.client
    client.define(a_model("large", layers=[*LARGE, {"type": "dense", "units": 3}, {"type": "softmax"}]))
    trainer, runners = server.trainer(), server.processes("service runner")
    size = max(int(Path(f"/proc/{one.pid}/statm").read_text().split()[0]) for one in runners) * resource.getpagesize()
    for process in (trainer, *runners):
        resource.prlimit(process.pid, resource.RLIMIT_AS, (size + ROOM, size + ROOM))
    _expect(client, client.train(a_training("large")), "out_of_memory", "memory ran out", figure)
    if client.run(a_training("tried"))["state"] != "succeeded":
        figure.broken.append("a small job after the large one did not succeed")
