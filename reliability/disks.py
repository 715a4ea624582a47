"""A full or failing disk fails the save, not the history."""

from __future__ import annotations

import re
import resource
import tempfile
from pathlib import Path
from typing import Any

from models.formats.durable import TEMPORARY_SUFFIX
from reliability.figure import Figure
from reliability.injections import Meddled, calls_of_a_run, meddled
from reliability.runners import Runner, Store
from reliability.samples import SAMPLES, Sample
from reliability.tracing import strace_missing
from testing.filesystems import fill, mounts_are_permitted, remount, tmpfs
from testing.harness import Client, eventually, serving
from testing.samples import DATA, ROWS, a_model, a_training

__all__ = ["run"]

ERRORS = ("ENOSPC", "EIO")
#: A network with checkpoints larger than the database, so that a file size limit can lie between the two.
WIDE = [{"type": "dense", "units": 256}, {"type": "relu"}, {"type": "dense", "units": 256}, {"type": "relu"}]
FILE_LIMIT = 400_000


def run(scale: float) -> Figure:
    """Let each call of a run fail once; then test a file size limit and full filesystems."""
    figure = Figure(goals={"calls that failed": 100})
    with tempfile.TemporaryDirectory(prefix="trainyard-disks-") as name:
        folder = Path(name)
        missing = strace_missing()
        if missing:
            figure.broken.append(missing)
        else:
            for sample in SAMPLES:
                _fail_each_call(folder / sample.dataset, figure, scale, sample)
        _limit_file_size(folder, figure)
        if mounts_are_permitted():
            _fill_tmpfs(folder, figure)
            _fill_under_a_service(folder, figure)
    return figure


def _fail_each_call(folder: Path, figure: Figure, scale: float, sample: Sample) -> None:
    """Repeat a short job and let another call fail each time; the job must still succeed."""
    folder.mkdir()
    fresh = Store.make(folder / "fresh", sample=sample, epochs=2, checkpoint={"every_epochs": 1})
    calls = calls_of_a_run(fresh.copy(folder / "counted"), folder / "log")
    places = [Meddled(f"error={error}", *call) for error in ERRORS for call in calls]
    for place, store, log, outcome in meddled(fresh, folder, places, scale, Runner.outcome):
        if "(INJECTED)" not in log.read_text():
            figure.broken.append(f"{place}: nothing was injected")
        could_not_say_so = not outcome and place.call == "write" and "write(1<pipe" in log.read_text()
        if outcome.get("outcome") != "finished" and not could_not_say_so:
            figure.broken.append(f"{place}: the run ended with {outcome}")
        elif store.document()["checkpoint"] is None:
            figure.broken.append(f"{place}: the run ended without a checkpoint")
        figure.count("calls that failed")
        figure.count("reported as an event", int(any("storage_" in text for text in store.events())))
        figure.broken += [f"{place}: {what}" for what in [*store.damage(), *_flushed_again(log)]]


def _flushed_again(log: Path) -> list[str]:
    """Return the checkpoint files that were flushed or renamed after one of their flushes had failed."""
    failed: set[str] = set()
    wrong = []
    for line in log.read_text().splitlines():
        found = re.search(rf"(fsync|rename)\((?:\d+<)?\"?([^>\"]*{re.escape(TEMPORARY_SUFFIX)})", line)
        if found is None:
            continue
        if found[2] in failed:
            wrong.append(f"{found[2]} was used after its flush had failed")
        if found[1] == "fsync" and "= -1" in line:
            failed.add(found[2])
    return wrong


def _limit_file_size(folder: Path, figure: Figure) -> None:
    """Set RLIMIT_FSIZE to a value between the size of the database and that of a checkpoint."""
    layers = [*WIDE, {"type": "dense", "units": 3}, {"type": "softmax"}]
    store = Store.make(folder / "limited", {"layers": layers}, epochs=3, checkpoint={"every_epochs": 1})
    one = store.start(limit=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT, FILE_LIMIT)))
    _expect_trouble(store, "storage_error", "RLIMIT_FSIZE", figure)
    one.stop()
    if one.outcome().get("outcome") != "stopped" or store.named():
        figure.broken.append("RLIMIT_FSIZE: the run did not stop without a checkpoint")
    _expect_success(store, store.start(), "RLIMIT_FSIZE lifted", figure)


def _fill_tmpfs(folder: Path, figure: Figure) -> None:
    """Provide 64 KB for checkpoints, so that the fourth one does not fit; then enlarge the filesystem."""
    store = Store.make(folder / "small", epochs=8, checkpoint={"every_epochs": 1, "keep": 100})
    with tmpfs(store.data / "checkpoints", "64k"):
        one = store.start()
        _expect_trouble(store, "storage_full", "64 KB", figure)
        if not store.named():
            figure.broken.append("64 KB: nothing was saved before the filesystem was full")
        figure.broken += [f"64 KB: {what}" for what in store.damage(sweep=False)]
        remount(store.data / "checkpoints", "size=10m")
        _expect_success(store, one, "64 KB enlarged", figure)


def _fill_under_a_service(folder: Path, figure: Figure) -> None:
    """Fill the whole filesystem: the service must still predict and refuse data, and the job must end later."""
    place = folder / "whole"
    with tmpfs(place, "8m"), serving(place / "data", WORKERS=1, MIN_FREE_BYTES=0) as server:
        client: Client = server.client
        client.define(a_model("filled"))
        client.run(a_training("filled"))
        job = client.train(a_training("filled", epochs=300, checkpoint={"every_epochs": 1, "keep": 1}))
        client.until_epoch(job["id"], 2)
        ballast = place / "ballast"
        fill(ballast)
        wrong = []
        for number in range(5):
            if client.post("/predict", {"model": "filled", "inputs": ROWS}).status != 200:
                wrong.append("no prediction")
            refused = client.post("/datasets", {"name": f"d{number}", **DATA})
            if (refused.status, refused.json["code"]) != (503, "storage_full"):
                wrong.append(f"POST /datasets answered {refused.status} {refused.json['code']}")
            fill(ballast)
        if client.job(job["id"])["state"] != "running":
            wrong.append(f"the job is {client.job(job['id'])['state']}")
        ballast.unlink()
        if client.wait(job["id"])["state"] != "succeeded":
            wrong.append(f"the job ended as {client.job(job['id'])}")
        figure.count("services on a full filesystem")
        figure.broken += [f"a service without space: {what}" for what in wrong]


def _expect_trouble(store: Store, code: str, what: str, figure: Figure) -> None:
    def trouble() -> dict[str, Any] | None:
        error: dict[str, Any] | None = store.document()["error"]
        return error

    error = eventually(trouble, what=f"{what}: the job's error", pause=0.05)
    if error is None or error["code"] != code:
        figure.broken.append(f"{what}: the job reports {error} instead of {code}")
    figure.count("disks that were full or limited")


def _expect_success(store: Store, one: Runner, what: str, figure: Figure) -> None:
    outcome = one.outcome()
    if outcome.get("outcome") != "finished" or store.document()["error"] is not None:
        figure.broken.append(f"{what}: the run ended with {outcome}, and its job reports {store.document()['error']}")
    figure.broken += [f"{what}: {wrong}" for wrong in store.damage()]
