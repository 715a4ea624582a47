"""A full disk: uploads end before what is kept for jobs, and clients can make room with no byte free."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

from reliability.figure import Figure
from security.watch import Goal, Watch, watched
from testing.filesystems import fill, mounts_are_permitted, tmpfs
from testing.harness import Answer, eventually
from testing.samples import DATA, a_model, a_training

__all__ = ["run"]

#: Size of the filesystem, and what of it is kept for running jobs.
SIZE, KEPT = 96 * 2**20, 32 * 2**20
GOALS = {"uploads": 10, "actions on a full disk": 5, "killed saves": 3}
_GOAL = Goal(p99=0.25, refusals=True)
#: A network whose checkpoint takes some megabytes, so that a save lasts.
WIDE = [{"type": "dense", "units": 512}, {"type": "relu"}, {"type": "dense", "units": 512}, {"type": "relu"}]


def run(scale: float) -> Figure:
    """Fill a small filesystem by uploads, then to its last byte, and kill runners while they save."""
    figure = Figure(goals=dict(GOALS))
    if not mounts_are_permitted():
        figure.skipped = "this process may not mount filesystems"
        return figure
    with tempfile.TemporaryDirectory(prefix="trainyard-disk-") as name:
        place = Path(name) / "disk"
        settings = {"MIN_FREE_BYTES": KEPT, "REPORT_SECONDS": 0.02}
        with tmpfs(place, str(SIZE)), watched(figure, scale, place=place, **settings) as watch:
            _kills(watch, max(1, round(GOALS["killed saves"] * scale)))
            _uploads(watch, place)
            _full(watch, place)
    return figure


def _free(place: Path) -> int:
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize


def _uploads(watch: Watch, place: Path) -> None:
    """Upload until it is refused; a running job saves on."""
    rows = b"x,y,label\n" + b"0.123456789,0.987654321,a\n0.987654321,0.123456789,b\n" * 40_000
    with watch.attack("uploads until the disk is low", _GOAL):
        job = watch.client.train(a_training("asked", epochs=100_000, checkpoint={"every_epochs": 50, "keep": 2}))["id"]
        answer, count = None, 0
        while (answer is None or answer.status == 201) and count < 200:
            count += 1
            answer = watch.client.post(f"/datasets?name=d{count}", rows, headers={"Content-Type": "text/csv"})
        left = _free(watch.server.data)
        fill(place / "ballast", leave=KEPT - 8 * 2**20)
        ready = watch.client.get("/health/ready")
        new = watch.client.post("/train", a_training("asked"))
        saved = watch.client.job(job)["checkpoint"]
        eventually(lambda: watch.client.job(job)["checkpoint"] != saved, what="a save on a low disk")
    watch.figure.count("uploads", count)
    if answer is None or (answer.status, answer.json["code"]) != (507, "storage_reserve"):
        watch.broke(f"an upload must be refused with 507 before the reserve is touched. Received: {answer}")
    if left < KEPT - 4 * 2**20:  # The running job takes of it, as it may.
        watch.broke(f"{KEPT:,} bytes are kept. Received: {left:,} free")
    if ready.status != 200 or not ready.json["storage"].startswith("low"):
        watch.broke(f"ready must say that the disk is low. Received: {ready}")
    if (new.status, new.json.get("code")) != (503, "storage_low") or "retry-after" not in new.headers:
        watch.broke(f"a new job must be refused with 503 and Retry-After. Received: {new}")


def _full(watch: Watch, place: Path) -> None:
    """With no byte free, predictions go on, ready says so, and what makes room works."""
    client = watch.client
    (running,) = client.get("/jobs?state=running").json["data"]
    client.define(a_model("doomed"))
    client.put("/models/asked/aliases/doomed", {"version": 1})
    actions = [
        ("POST", f"/jobs/{running['id']}/cancel", 202),
        ("DELETE", "/models/doomed", 204),
        ("DELETE", "/datasets/d1", 204),
        ("DELETE", "/models/asked/aliases/doomed", 204),
        ("DELETE", f"/jobs/{running['id']}", 204),
    ]
    ballast = place / "ballast"
    with watch.attack("no byte free", _GOAL):
        fill(ballast)
        ready = client.get("/health/ready")
        refused = client.post("/datasets", {"name": "more", **DATA})
        for method, path, status in actions:
            _expect(watch, client.request(method, path), f"{method} {path} on a full disk", status)
            watch.figure.count("actions on a full disk")
            if path.endswith("/cancel"):  # The trainer records the end in what was given up.
                eventually(lambda: client.job(running["id"])["state"] == "cancelled", what="its end")
    if ready.status != 503 or not ready.json["storage"].startswith("full"):
        watch.broke(f"ready must say that the disk is full. Received: {ready}")
    if refused.status not in (503, 507):
        watch.broke(f"an upload to a full disk must be refused. Received: {refused}")
    ballast.unlink()
    eventually(lambda: client.get("/health/ready").status == 200, what="ready again")
    _expect(watch, client.post("/train", a_training("asked")), "a job after room was made", 202, 503)


def _expect(watch: Watch, answer: Answer, what: str, *statuses: int) -> None:
    if answer.status not in statuses:
        watch.broke(f"{what} must be {statuses}. Received: {answer}")


def _kills(watch: Watch, count: int) -> None:
    """Kill runners while they save; what they leave is deleted as soon as they are known to be dead."""
    folder = watch.server.data / "checkpoints"
    layers = [*WIDE, {"type": "dense", "units": 3}, {"type": "softmax"}]
    watch.client.define(a_model("wide", layers=layers))

    def partial() -> list[str]:
        return [path.name for path in folder.iterdir() if path.name.startswith(".")]

    with watch.attack("runners killed while they save", _GOAL):
        job = watch.client.train(a_training("wide", epochs=100_000, checkpoint={"every_epochs": 1, "keep": 1}))["id"]
        for _ in range(count):
            watch.client.until_state(job, "running")
            runner = watch.server.busy_runner().pid
            eventually(partial, what="a save under way")
            os.kill(runner, signal.SIGKILL)
            left = set(partial())
            eventually(lambda left=left: not left & set(partial()), what="no incomplete file")  # type: ignore[misc]
            watch.figure.count("killed saves")
            watch.client.until_epoch(job, watch.client.job(job)["progress"]["epoch"] + 2)
        watch.client.post(f"/jobs/{job}/cancel")
        watch.client.wait(job)
    watch.client.delete("/models/wide")
