"""No job is lost, and a poison job stops with the right cause."""

from __future__ import annotations

import os
import resource
import signal
import tempfile
from collections.abc import Callable
from datetime import datetime
from functools import partial
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

from reliability.figure import Figure
from reliability.groups import memory_group
from reliability.samples import TABLE
from testing.harness import Client, Server, eventually, serving
from testing.samples import LABELS, ROWS, a_model, a_training

__all__ = ["run"]

#: Additional address space of a runner, which is too small for 36 million parameters and their gradients.
ROOM = 200 * 2**20
LARGE = [{"type": "dense", "units": 6000}, {"type": "relu"}, {"type": "dense", "units": 6000}, {"type": "relu"}]
#: Memory limit of the control group, at which the kernel has to kill a process.
GROUP = 320 * 2**20
#: Seconds between two retries, and how much later than this pause its event may be written.
RETRY, SLACK = 0.2, 0.1
ENDS = {"SIGKILL": "worker_lost", "SIGSEGV": "crashed", "SIGBUS": "crashed", "SIGABRT": "crashed"}


def run(scale: float) -> Figure:
    """Run jobs whose runners are killed, crash or run out of memory, and one that diverges, in a real service."""
    figure = Figure(goals={"causes distinguished": len(ENDS) + 2, "jobs that went on after one death": 2})
    ends = dict(list(ENDS.items())[: max(2, round(len(ENDS) * scale))])
    figure.goals["causes distinguished"] = len(ends) + 2
    with (
        tempfile.TemporaryDirectory(prefix="trainyard-causes-") as folder,
        serving(Path(folder) / "data", WORKERS=1, REPORT_SECONDS=0.05, RETRY_SECONDS=RETRY) as server,
    ):
        server.client.define(a_model("tried"))
        server.client.define(TABLE.named("mixed"))
        path = f"/datasets?name={TABLE.dataset}&label={TABLE.label}"
        uploaded = server.client.post(path, TABLE.csv.encode(), headers={"Content-Type": "text/csv"})
        assert uploaded.status == 201, uploaded
        trainings = (partial(a_training, "tried"), partial(TABLE.training, "mixed"))
        for training in trainings:
            _go_on_after_one_death(server, figure, training)
        for (name, code), training in zip(ends.items(), cycle(trainings), strict=False):
            job = server.client.train(training(epochs=10_000_000))
            _expect(server.client, _end_three_times(server, job, signal.Signals[name], figure), code, name, figure)
        _diverge(server.client, figure)
        _run_out_of_memory(server, figure)
    with tempfile.TemporaryDirectory(prefix="trainyard-causes-") as folder, memory_group(GROUP) as group:
        if group is None:
            print("    no memory control group can be created here: the kernel's OOM killer is not tested")
        else:
            _be_killed_for_memory(Path(folder), group, figure)
    return figure


def _expect(client: Client, job: dict[str, Any], code: str, what: str, figure: Figure) -> None:
    ended = client.wait(job["id"])
    error = ended["error"] or {}
    if (ended["state"], error.get("code")) != ("failed", code) or what not in error["detail"]:
        figure.broken.append(f"{what}: the job ended as {ended['state']} with {error}")
    figure.count("causes distinguished")
    _check_pauses(client, job["id"], what, figure)


def _check_pauses(client: Client, job: str, what: str, figure: Figure) -> None:
    """The first retry starts immediately; the second one starts after the configured pause."""
    reported = [event for event in client.pages(f"/jobs/{job}/events", 100)[::-1] if event["type"] in ("state", "log")]
    times = [(event["data"].get("state"), datetime.fromisoformat(event["at"])) for event in reported]
    pauses = [
        (later - earlier).total_seconds()
        for (state, earlier), (next_state, later) in pairwise(times)
        if (state, next_state) == ("queued", "running")
    ][1:]  # The first attempt is not a retry.
    figure.count("retries", len(pauses))
    for number, pause in enumerate(pauses):
        # A pause counts from a moment before its event is written, which takes longer if the disk is busy.
        if pause < RETRY * number - SLACK:
            figure.broken.append(f"{what}: retried {pause:.3f} s after death {number + 1}")


def _end_three_times(server: Server, job: dict[str, Any], number: signal.Signals, figure: Figure) -> dict[str, Any]:
    """End the runner in three attempts, each after its first checkpoint, because a new checkpoint clears the deaths."""
    for attempt in (1, 2, 3):
        _running(server.client, job["id"], attempt)
        os.kill(server.busy_runner().pid, number)
        figure.count("deaths")
    return job


def _running(client: Client, job: str, attempt: int) -> None:
    def there() -> bool:
        now = client.job(job)
        return now["attempt"] == attempt and now["state"] == "running" and bool(now["checkpoint"])

    eventually(there, what=f"attempt {attempt} of {job}")


def _go_on_after_one_death(server: Server, figure: Figure, training: Callable[..., dict[str, Any]]) -> None:
    """A job continues from its newest checkpoint after one death, and succeeds."""
    job = server.client.train(training(epochs=3000, checkpoint={"every_epochs": 100, "keep": 1}))
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
    """Limit the address space of the trainer and its runners, so that a large network does not fit."""
    client = server.client
    client.define(a_model("large", layers=[*LARGE, {"type": "dense", "units": 3}, {"type": "softmax"}]))
    trainer, runners = server.trainer(), server.processes("service runner")
    size = max(int(Path(f"/proc/{one.pid}/statm").read_text().split()[0]) for one in runners) * resource.getpagesize()
    for process in (trainer, *runners):
        resource.prlimit(process.pid, resource.RLIMIT_AS, (size + ROOM, size + ROOM))
    _expect(client, client.train(a_training("large")), "out_of_memory", "memory ran out", figure)
    if client.run(a_training("tried"))["state"] != "succeeded":
        figure.broken.append("a small job after the large one did not succeed")


def _be_killed_for_memory(folder: Path, group: Path, figure: Figure) -> None:
    """The kernel kills the runner of a network that is too large for the control group, and not the trainer."""
    server = Server(folder / "data", WORKERS=1, TRAINER="external", RETRY_SECONDS=RETRY)
    try:
        client = server.start()
        trainer = server.run_beside("trainer")
        (group / "cgroup.procs").write_text(str(trainer.pid))  # The trainer reads its group later.
        client.define(a_model("large", layers=[*LARGE, {"type": "dense", "units": 3}, {"type": "softmax"}]))
        _expect(client, client.train(a_training("large")), "out_of_memory", "killed by the kernel", figure)
        if trainer.poll() is not None:
            figure.broken.append("the kernel has killed the trainer")
        figure.count("jobs that the kernel ended for memory")
    finally:
        server.close()
