"""Time to load a version for serving: the first one in a new web worker, and the next one of the same model."""

from __future__ import annotations

import importlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.servers import ROOT
from benchmarks.workers import environment

GOAL, ROUNDS = 5.0, 15
#: Inputs, hidden units and classes by name; ``large`` has 5.8 million parameters.
SIZES = {"small": (64, [64, 64], 10), "large": (784, [2048, 2048], 10)}


def main() -> dict[str, Any]:
    """Return the medians over new processes that load two versions of a model with files in the page cache."""
    results: dict[str, Any] = {"goal": GOAL}
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as folder:
        for name, (inputs, hidden, classes) in SIZES.items():
            paths = [Path(folder) / f"{name}-{number}.h5" for number in range(2)]
            parameters = _save(paths, name, inputs, hidden, classes)
            rounds = [_in_new_process(paths) for _ in range(ROUNDS)]
            first, next_one = (statistics.median(times) for times in zip(*rounds, strict=True))
            print(
                f"{name}, {parameters:,} parameters: {first:.2f} ms the first version, {next_one:.2f} ms the next one"
                f" (goal {GOAL:g})"
            )
            results[name] = {"parameters": parameters, "first_ms": first, "next_ms": next_one}
    return results


def _save(paths: list[Path], name: str, inputs: int, hidden: list[int], classes: int) -> int:
    """Save checkpoints of one definition with different weights; return the number of parameters."""
    from models.data.dataset import from_rows
    from models.definition.definition import ModelDefinition
    from models.definition.given_rows import GivenRows
    from models.training.prepared import PreparedData
    from models.training.request import TrainingRequest
    from models.training.run import TrainingRun
    from testing.saving import save_checkpoint

    definition = ModelDefinition.load({"name": name, "inputs": inputs, "classes": classes, "hidden": hidden})
    data = from_rows([[float(label)] * inputs for label in range(classes)], list(range(classes)))
    for seed, path in enumerate(paths):
        request = TrainingRequest(
            epochs=1,
            batch_size="full",
            shuffle=True,
            seed=seed,
            optimizer=None,
            validation_fraction=None,
            every_epochs=None,
            every_seconds=None,
            keep=1,
            publish="last",
        )
        prepared = PreparedData.of(definition, request, GivenRows(data, "/data"))
        save_checkpoint(path, TrainingRun(request, prepared).checkpoint())
    return definition.parameter_count


def _in_new_process(paths: list[Path]) -> list[float]:
    command = [sys.executable, "-m", "benchmarks.loading", "measure", *map(str, paths)]
    variables = {"TRAINYARD_DATA": str(paths[0].parent / "data"), "TRAINYARD_TRAINER": "external"}
    done = subprocess.run(
        command, cwd=ROOT, env={**environment(1), **variables}, stdout=subprocess.PIPE, text=True, check=True
    )
    times: list[float] = json.loads(done.stdout)
    return times


def _measure(paths: list[str]) -> None:
    """Print the milliseconds that each file takes, in a process that equals a web worker except for its sockets."""
    importlib.import_module("wsgi")
    from models.serving.served_model import ServedModel

    times = []
    for path in map(Path, paths):
        path.read_bytes()  # into the page cache
        begin = time.perf_counter()
        ServedModel(path)
        times.append(1e3 * (time.perf_counter() - begin))
    print(json.dumps(times))


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        _measure(sys.argv[2:])
    else:
        main()
