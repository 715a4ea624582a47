"""Exact resume in the service: jobs with killed runners and pauses, compared to the same jobs without."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from models.definition.definition import ModelDefinition
from models.definition.rules import optimizer_field
from models.training.request import TrainingRequest
from nncore.kernels.kinds import available_kinds
from reliability.figure import Figure
from reliability.samples import TABLE
from testing.harness import FINAL, Client, Server, eventually, serving
from testing.jobs import timeless
from testing.samples import a_training

__all__ = ["JOBS", "try_jobs"]

JOBS = 4
#: Epochs for one or two seconds of work, and epochs between two checkpoints.
EPOCHS, EVERY = 2_000, 50


def model_of(definition: ModelDefinition, number: int) -> dict[str, Any]:
    """Return a drawn definition as a client sends it."""
    document: dict[str, Any] = json.loads(definition.canonical())
    classes = document["classes"] if "features" in document else ["red", "green", "blue"]
    return {**document, "name": f"drawn-{number}", "classes": classes}


def training_of(request: TrainingRequest, model: dict[str, Any]) -> dict[str, Any]:
    """Return a drawn request as a client sends it, with more epochs, so that there is time for disturbances.

    Models with features are trained on the stored table, whose epochs have more batches.
    """
    of_table = "features" in model
    return a_training(
        model["name"],
        **({"data": {"dataset": TABLE.dataset}} if of_table else {}),
        epochs=EPOCHS,
        batch_size=10 if of_table else 2,
        shuffle=request.shuffle,
        seed=request.seed,
        optimizer=optimizer_field().serialize("optimizer", {"optimizer": request.optimizer}),
        validation={"fraction": 0.25} if request.validation_fraction else None,
        class_weights=request.class_weights,
        publish=request.publish,
        checkpoint={"every_epochs": EVERY, "keep": 2},
    )


class Disturber:
    """Kills the runner of a job, or pauses the job, which also stops it within an epoch."""

    def __init__(self, server: Server, figure: Figure, rng: random.Random) -> None:
        self.server, self.figure, self.rng = server, figure, rng

    def disturb(self, job_id: str) -> None:
        """Disturb the job up to three times during its progress."""
        client = self.server.client
        for share in (0.2, 0.4, 0.6):
            epoch = int(EPOCHS * share + self.rng.randrange(EPOCHS // 10))
            job = eventually(lambda wanted=epoch: past(client, job_id, wanted), 60.0, f"{job_id} at epoch {epoch}")
            if job["state"] in FINAL:
                return
            self.rng.choice((self.kill, self.kill, self.pause))(job_id)

    def kill(self, job_id: str) -> None:
        attempt = self.server.client.job(job_id)["attempt"]
        with suppress(ProcessLookupError):  # The runner may have just ended by itself.
            os.kill(self.server.busy_runner().pid, signal.SIGKILL)
        job = eventually(lambda: next_attempt(self.server.client, job_id, attempt), what=f"{job_id} continues")
        self.figure.count("kills -9 of a job", int(job["attempt"] > attempt))

    def pause(self, job_id: str) -> None:
        client = self.server.client
        if client.post(f"/jobs/{job_id}/pause").status != 202:
            return
        job = client.until_state(job_id, "paused", *FINAL)
        if job["state"] == "paused":
            self.figure.count("pauses of a job")
            assert client.post(f"/jobs/{job_id}/resume").status == 202


def past(client: Client, job_id: str, epoch: int) -> dict[str, Any] | None:
    """Return the job if it runs and has passed the epoch, or if it has ended."""
    job = client.job(job_id)
    there = job["state"] == "running" and job["progress"]["epoch"] >= epoch
    return job if there or job["state"] in FINAL else None


def next_attempt(client: Client, job_id: str, attempt: int) -> dict[str, Any] | None:
    """Return the job if it has lost its worker or has ended."""
    job = client.job(job_id)
    return job if job["attempt"] > attempt or job["state"] in FINAL else None


def try_job(
    server: Server,
    figure: Figure,
    model: dict[str, Any],
    training: dict[str, Any],
    differences: Callable[[Path, Path], list[str]],
) -> None:
    """Run the same job without and with disturbances, and record how their ends differ."""
    client = server.client
    client.define(model)
    ends = []
    for disturbed in (False, True):
        job_id = client.train(training)["id"]
        if disturbed:
            Disturber(server, figure, random.Random(training["seed"])).disturb(job_id)
        ends.append(client.wait(job_id))
    one, other = ends
    if {(job["error"] or {}).get("code") for job in ends} == {"diverged"}:
        figure.count("jobs left out as they diverge")
        return
    figure.count("pairs of jobs", int(other["attempt"] > 1))
    figure.count("of these with a table", int(other["attempt"] > 1 and "features" in model))
    if one["state"] != "succeeded" or one["state"] != other["state"]:
        figure.broken.append(f"{model['name']}: {one['state']} and {other['state']}, {one['error']} {other['error']}")
        return
    places = differences(*(server.data / "checkpoints" / f"{job['checkpoint']}.h5" for job in ends))
    figure.broken += [f"{model['name']}: differs in {place}" for place in places]
    if timeless(client.history(one["id"])) != timeless(client.history(other["id"])):
        figure.broken.append(f"{model['name']}: the histories differ")


def try_jobs(
    figure: Figure,
    folder: Path,
    scale: float,
    drawn: Callable[[int], tuple[ModelDefinition, TrainingRequest]],
    differences: Callable[[Path, Path], list[str]],
) -> None:
    """Compare pairs of jobs until there are enough that were really killed, with each kind of kernels in turn."""
    wanted = max(1, round(JOBS * scale))
    kinds = available_kinds()[::-1][:wanted]  # The compiled ones first.
    numbers = iter(range(1, 3 * JOBS + 1))  # The first one has a table.
    options = {"WORKERS": 1, "LEASE_SECONDS": 1, "REPORT_SECONDS": 0.05, "RETRY_SECONDS": 0.05}
    for turn, kind in enumerate(kinds, 1):
        with serving(folder / f"data-{kind}", KERNELS=kind, **options) as server:
            path = f"/datasets?name={TABLE.dataset}&label={TABLE.label}"
            uploaded = server.client.post(path, TABLE.csv.encode(), headers={"Content-Type": "text/csv"})
            assert uploaded.status == 201, uploaded
            while figure.counts.get("pairs of jobs", 0) < wanted * turn // len(kinds):
                number = next(numbers, None)
                if number is None:
                    found = figure.counts.get("pairs of jobs", 0)
                    figure.broken.append(f"of {3 * JOBS} jobs, {found} could be killed")
                    return
                definition, request = drawn(7 * number)
                model = model_of(definition, number)
                try_job(server, figure, model, training_of(request, model), differences)
