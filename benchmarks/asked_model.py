"""The model that benchmarks of predictions ask: 64 numbers, layers of 64, 64 and 10 units, one network."""

from __future__ import annotations

import json

from benchmarks.servers import call

__all__ = ["body", "train"]

NAME, INPUTS, CLASSES = "bench", 64, 10


def train(port: int) -> None:
    """Train the model on the server. Raises RuntimeError if the job fails."""
    request = {
        "model": {"name": NAME, "hidden": [64, 64]},
        "data": {
            "inputs": [[0.25 + digit] * INPUTS for digit in range(CLASSES)],
            "labels": [str(digit) for digit in range(CLASSES)],
        },
        "epochs": 2,
    }
    job = call(port, "POST", "/train", request)
    ended = call(port, "GET", f"/jobs/{job['id']}?wait=30")
    if ended["state"] != "succeeded":
        raise RuntimeError(f"the job must succeed within 30 s. Received: {ended}")


def body(rows: int = 1) -> bytes:
    """A request for the prediction of so many rows."""
    return json.dumps({"model": NAME, "inputs": [[0.25] * INPUTS] * rows}).encode()
