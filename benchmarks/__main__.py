"""Run all benchmarks (``make bench``). The figures are also written to benchmarks/results/."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import (
    checkpoint,
    console,
    databases,
    idle,
    loading,
    machine,
    predict,
    predict_beside_training,
    predict_names,
    predict_overload,
    predict_trust,
    reading,
    served_memory,
    serving,
    sweeps,
    tables,
    training_step,
    trust,
    wrk,
)

MODULES = (
    *(training_step, checkpoint, predict, predict_beside_training, predict_overload),
    *(predict_names, predict_trust, serving, served_memory),
    *(loading, reading, idle, tables, trust, sweeps, console, databases),
)


def main() -> None:
    """Run each benchmark and save the results. Raises WrkError at once, not after some of them, if wrk is missing."""
    wrk.require()
    found = machine.described()
    results: dict[str, object] = {
        "processor": found["processor"],
        "cores": found["cores"],
        "python": platform.python_version(),
        "numpy": found["numpy"]["version"],
    }
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
