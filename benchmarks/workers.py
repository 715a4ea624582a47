"""Worker processes with given cores and a given number of threads."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.servers import ROOT

#: Variables to remove: a core type set for an older OpenBLAS slows down a current one, which detects the processor.
OVERRIDES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def cores(threads: int) -> list[int]:
    """Return one core per thread, or fewer if this process may not use as many.

    These are the last cores, because the first one handles most interrupts.
    """
    return sorted(os.sched_getaffinity(0))[-threads:]


def environment(threads: int) -> dict[str, str]:
    """Return this process's environment with the number of threads set for every numerical library."""
    variables = {name: value for name, value in os.environ.items() if name not in OVERRIDES}
    for library in ("OPENBLAS", "OMP", "MKL"):
        variables[f"{library}_NUM_THREADS"] = str(threads)
    variables["JAX_PLATFORMS"] = "cpu"
    if threads == 1:
        variables["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    return variables


class Worker:
    """A process that measures one round at a time, on request."""

    def __init__(self, process: subprocess.Popen[str], what: str) -> None:
        self._process, self._what = process, what

    def wait_until_ready(self) -> None:
        """Wait until the worker has prepared everything."""
        assert self._answer() == "ready"

    def measure(self) -> float:
        """Run one round and return the microseconds per step."""
        assert self._process.stdin is not None
        self._process.stdin.write("round\n")
        self._process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._what} ended with status {self._process.wait()}")
        return line.strip()


@contextmanager
def worker(contestant: str, workload: str, threads: int) -> Iterator[Worker]:
    """Run a contestant's process for one workload; yields it when it is ready and ends it after the block."""
    arguments = [contestant, workload, str(threads), ",".join(map(str, cores(threads)))]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.contestants", *arguments],
        cwd=ROOT,
        env=environment(threads),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        one = Worker(process, f"{contestant} on {workload}")
        one.wait_until_ready()
        yield one
    finally:
        process.kill()
        process.communicate()
