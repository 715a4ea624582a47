"""A sweep of 32 trials on two cores against 32 jobs one after the other, on the same server."""

from __future__ import annotations

import os
import statistics
import time
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.servers import call, gunicorn

ROUNDS, ROWS, COLUMNS, EPOCHS = 3, 4000, 20, 15
RATES = [0.0003, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03]
HIDDEN = [[32], [64], [64, 64], [128, 64]]


def the_data() -> dict[str, Any]:
    """Rows of numbers in three classes."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(ROWS, COLUMNS)).round(4)
    labels = (inputs @ random.normal(size=(COLUMNS, 3))).argmax(axis=1)
    return {"name": "points", "inputs": inputs.tolist(), "labels": labels.tolist()}


def ended(port: int, job: str) -> None:
    """Wait until a job has succeeded."""
    while (found := call(port, "GET", f"/jobs/{job}?wait=60"))["state"] in ("queued", "running"):
        pass
    assert found["state"] == "succeeded", found


def sweep_seconds(port: int) -> float:
    """Seconds of one sweep."""
    begin = time.perf_counter()
    train = {"data": "points", "model": {"name": "swept"}, "optimizer": "adam", "epochs": EPOCHS}
    over = {"/optimizer/learning_rate": RATES, "/model/hidden": HIDDEN}
    job = call(port, "POST", "/sweeps", {"train": train, "search": "grid", "over": over})
    ended(port, job["id"])
    return time.perf_counter() - begin


def jobs_seconds(port: int) -> float:
    """Seconds of the same trials as jobs, which wait for each other in the queue."""
    begin = time.perf_counter()
    jobs = [
        call(port, "POST", "/train", {
            "data": "points", "model": {"name": "plain", "hidden": hidden}, "epochs": EPOCHS,
            "optimizer": {"type": "adam", "learning_rate": rate}, "validation": {"fraction": 0.2},
            "early_stopping": {"monitor": "validation_log_loss", "patience": EPOCHS},
        })
        for rate in RATES
        for hidden in HIDDEN
    ]  # fmt: skip
    for job in jobs:
        ended(port, job["id"])
    return time.perf_counter() - begin


def main() -> list[dict[str, Any]]:
    """Alternate, print and return seconds and ratios."""
    found = []
    with patch.dict(os.environ, {"TRAINYARD_BLAS_THREADS": "2"}), gunicorn("wsgi:app") as (port, _):
        call(port, "POST", "/datasets", the_data())
        for number in range(1, ROUNDS + 1):
            sweep, jobs = sweep_seconds(port), jobs_seconds(port)
            found.append({"round": number, "sweep": sweep, "jobs": jobs, "ratio": sweep / jobs})
            print(f"round {number}: sweep {sweep:6.1f} s, jobs {jobs:6.1f} s, ratio {sweep / jobs:.2f}", flush=True)
    print(f"median ratio {statistics.median(each['ratio'] for each in found):.2f}")
    return found


if __name__ == "__main__":
    main()
