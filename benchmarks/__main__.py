"""Run all benchmarks (``make bench``). The figures are also written to benchmarks/results/."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks import (
    checkpoint,
    idle,
    loading,
    predict,
    predict_names,
    predict_trust,
    reading,
    sweeps,
    tables,
    training_step,
    trust,
)

MODULES = (
    *(training_step, checkpoint, predict, predict_names, predict_trust),
    *(loading, reading, idle, tables, trust, sweeps),
)


def main() -> None:
    """Run each benchmark and save the results."""
    results: dict[str, object] = {"python": platform.python_version(), "numpy": np.__version__}
    for module in MODULES:
        print(f"\n{(module.__doc__ or '').splitlines()[0]}\n")
        results[module.__name__] = module.main()
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}.json"
    path.write_text(json.dumps(results, indent=2) + "\n")
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
