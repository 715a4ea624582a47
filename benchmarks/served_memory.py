"""Memory of four web workers that each serve ten versions of ``wide``, beside one copy of each version."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contestants import WORKLOADS
from testing.harness import Server, serving
from testing.resident import of_files, proportional
from testing.web_workers import ask_each, web_workers

__all__ = ["main"]

MODEL, VERSIONS, WORKERS = "wide", 10, 4
#: The most memory of all workers beside that of before, relative to one copy of each version.
GOAL = 1.2


def main() -> dict[str, Any]:
    """Print and return bytes: one copy of each version, and what the workers took before and after they answered."""
    wide = WORKLOADS["wide"]
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as folder:
        data = Path(folder) / "data"
        with serving(data, WORKERS=1) as server:
            # A small model with as many inputs answers first: what libraries take is not memory of versions.
            _train(server, "small", (wide.sizes[0], 8, 2), 1)
            _train(server, MODEL, wide.sizes, VERSIONS)
        with serving(data, WORKERS=WORKERS) as server:
            _ask(server, "small", wide.sizes[0], 1, 1)
            before = proportional(web_workers(server))
            _ask(server, MODEL, wide.sizes[0], VERSIONS, 1 + VERSIONS)
            after = proportional(web_workers(server))
    copies = VERSIONS * wide.parameters * np.dtype(np.float32).itemsize
    ratio = (after - before) / copies
    print(f"{VERSIONS} versions of {MODEL}, {copies / 1e6:.0f} MB together, served by each of {WORKERS} workers")
    print(f"proportional memory of the workers: {before / 1e6:.0f} MB before, {after / 1e6:.0f} MB after")
    print(f"taken: {ratio:.2f} of one copy of each (goal at most {GOAL:g}); a copy for each worker would be {WORKERS}")
    return {"copies": copies, "before": before, "after": after, "ratio": ratio}


def _train(server: Server, model: str, sizes: tuple[int, ...], count: int) -> None:
    """Train versions of a model with layers of such sizes, one after the other; each has a file of its own."""
    inputs, *hidden, classes = sizes
    rows = np.random.default_rng(0).standard_normal((classes, inputs)).round(3).tolist()
    for seed in range(count):
        data = {"inputs": rows, "labels": list(range(classes))}
        server.client.run({"model": {"name": model, "hidden": hidden}, "data": data, "epochs": 1, "seed": seed})


def _ask(server: Server, model: str, inputs: int, versions: int, files: int) -> None:
    """Ask every worker for each version of a model, after which it has mapped so many files."""
    rows = np.random.default_rng(1).standard_normal((1, inputs)).round(3).tolist()
    bodies = [json.dumps({"model": model, "version": each + 1, "inputs": rows}).encode() for each in range(versions)]
    ask_each(server, bodies, lambda worker: len(of_files(worker, server.data / "checkpoints")) == files)


if __name__ == "__main__":
    main()
