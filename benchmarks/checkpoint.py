"""Time to save a checkpoint of 5.8 million parameters with Adam's moments, compared to ``dd conv=fsync``."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

from models.data.dataset import from_rows
from models.definition.definition import ModelDefinition
from models.definition.given_rows import GivenRows
from models.formats.checkpoint_file import checkpoint_image
from models.formats.durable import write_durably
from models.formats.hdf5_image import Memory
from models.training.prepared import PreparedData
from models.training.request import TrainingRequest
from models.training.run import TrainingRun

ROUNDS = 21
GOAL = 1.5


def main() -> dict[str, float]:
    """Measure both alternately on one filesystem; return the medians and the median ratio per round."""
    run = _run()
    memory = Memory()
    copies, saves, dds, ratios = [], [], [], []
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-", dir=Path.cwd()) as name:
        folder = Path(name)
        for number in range(ROUNDS):
            begin = perf_counter()
            image = checkpoint_image(run.checkpoint(), memory)
            copied = perf_counter()
            size = write_durably(folder / f"{number}.h5", image).bytes
            saved = perf_counter()
            (folder / f"{number}.h5").unlink()
            spent = _dd(folder / "dd", size)
            copies.append(copied - begin)
            saves.append(saved - copied)
            dds.append(spent)
            ratios.append((saved - copied) / spent)
    results = {
        "bytes": float(size),
        "copy_ms": statistics.median(copies) * 1e3,
        "save_ms": statistics.median(saves) * 1e3,
        "dd_ms": statistics.median(dds) * 1e3,
        "ratio": statistics.median(ratios),
    }
    copied = f"{size / 1e6:.1f} MB: training waits {results['copy_ms']:.1f} ms for the copy"
    timing = f"written, verified and durable in {results['save_ms']:.1f} ms, dd conv=fsync in {results['dd_ms']:.1f} ms"
    print(f"{copied}; {timing}: {results['ratio']:.2f} times (goal {GOAL})")
    return results


def _run() -> TrainingRun:
    """Return a run of the largest network after one step, so that no moment is zero."""
    document = {"name": "wide", "inputs": 784, "classes": 10, "hidden": [2048, 2048]}
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((20, 784))
    data = from_rows(rows.tolist(), [number % 10 for number in range(20)])
    request = TrainingRequest(
        epochs=1,
        batch_size="full",
        shuffle=True,
        seed=0,
        optimizer=None,
        validation_fraction=None,
        every_epochs=None,
        every_seconds=None,
        keep=0,
        publish=None,
    )
    definition = ModelDefinition.load(document)
    run = TrainingRun(request, PreparedData.of(definition, request, GivenRows(data, "/data")))
    run.training.run_epoch()
    return run


def _dd(path: Path, size: int) -> float:
    """Return the seconds that dd takes to write ``size`` bytes, including its start."""
    command = ["dd", "if=/dev/zero", f"of={path}", "bs=1M", f"count={size}", "iflag=count_bytes", "conv=fsync"]
    begin = perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    spent = perf_counter() - begin
    path.unlink()
    return spent


if __name__ == "__main__":
    main()
