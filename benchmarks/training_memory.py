"""Peak memory of a training run of this core, against what such a run has to hold."""

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
    """Train in a fresh process; its peak beyond that of an idle interpreter."""
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
    """Parameters, gradients and two moments; values and gradients of each layer's batch; the data once."""
    workload = WORKLOADS[name]
    activations = 2 * workload.batch * sum(workload.sizes[1:])
    return NUMBER * (4 * workload.parameters + activations + workload.rows * workload.sizes[0])


def _peak() -> int:
    """Largest resident set of this process so far, in bytes; getrusage's would include the parent's before exec."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system does not tell a process's peak memory")


def _measure(name: str) -> None:
    """In the fresh process: print the bytes by which two epochs raise the peak."""
    import numpy as np

    from nncore import train

    small = np.ones((64, 64), np.float32)
    small @ small
    before = _peak()
    workload = WORKLOADS[name]
    # The caller keeps no rows: what is trained on is a copy.
    for _ in train(network(workload), *workload.data(), epochs=2, batch_size=workload.batch):
        pass
    print(_peak() - before)


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        _measure(sys.argv[2])
    else:
        main()
