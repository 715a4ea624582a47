"""Peak memory of a training run in nncore, compared to the memory that the run needs at least."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.contestants import WORKLOADS, network
from benchmarks.servers import ROOT
from benchmarks.workers import environment

GOAL = 1.3
NUMBER = 4  # bytes of a float32


def main(name: str = "wide") -> dict[str, Any]:
    """Train in a new process and measure its peak memory beyond that of an idle interpreter."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.training_memory", "measure", name],
        cwd=ROOT,
        env=environment(1),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    used, needed = int(done.stdout), _needed(name)
    print(
        f"peak memory of training {name}: {used / 2**20:.0f} MB, {used / needed:.2f} times the "
        f"{needed / 2**20:.0f} MB of four vectors, one batch and the data (goal {GOAL})"
    )
    return {"peak_bytes": used, "needed_bytes": needed, "ratio": used / needed, "goal": GOAL}


def _needed(name: str) -> int:
    """Return the bytes of parameters, gradients and two moments, of one batch's activations and of the data."""
    workload = WORKLOADS[name]
    activations = 2 * workload.batch * sum(workload.sizes[1:])
    return NUMBER * (4 * workload.parameters + activations + workload.rows * workload.sizes[0])


def _peak() -> int:
    """Return the peak resident memory of this process in bytes; getrusage would include the parent's before exec."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system does not report a process's peak memory")


def _measure(name: str) -> None:
    """Print the bytes by which two epochs raise the peak; runs in the new process."""
    import numpy as np

    from nncore import train

    small = np.ones((64, 64), np.float32)
    small @ small
    before = _peak()
    workload = WORKLOADS[name]
    # No reference to the rows is kept here, because training works on a copy.
    for _ in train(network(workload), *workload.data(), epochs=2, batch_size=workload.batch):
        pass
    print(_peak() - before)


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        _measure(sys.argv[2])
    else:
        main()
