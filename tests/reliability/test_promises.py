"""Short forms of the promises that are tested by forked runners, each in a separate process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reliability import programs

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
#: By promise: the share of the full figure, and the counts that must be reported.
SHORT = {
    "kills": (
        0.004,
        ("kills at random moments", "of them with a table", "kills at a call", "kills of runners with members"),
    ),
    "power": (0.02, ("cuts of ext4", "cuts of xfs")),
    "disks": (0.006, ("calls that failed", "disks that were full or limited")),
    "resume": (
        0.02,
        (
            "pairs",
            "pairs of members",
            "of them with a table",
            "of them with compiled kernels",
            "within an epoch",
            "controls that differ",
            "pairs of jobs",
        ),
    ),
    "mixing": (0.04, ("requests", "rows", "refused", "requests that shared a pass")),
    "clock": (0.05, ("steps of the clock", "trainers killed", "runners killed", "pauses", "jobs in turn")),
    "owner": (0.01, ("pauses", "pauses in a service", "steps", "stale writes refused", "final states")),
}
#: The programs that a promise needs.
PROGRAMS = {"clock": ("cc",), "kills": ("strace",), "disks": ("strace",), "power": ("mkfs.ext4", "mkfs.xfs", "xfs_io")}


@pytest.mark.parametrize("promise", SHORT)
def test_it_holds(promise: str) -> None:
    """No promise is broken, and the counted events really happened."""
    programs.require(*PROGRAMS.get(promise, ()))
    scale, counts = SHORT[promise]
    done = subprocess.run(
        [sys.executable, "-m", "reliability", promise, "--scale", str(scale)],
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if "skipped: " in done.stdout:
        pytest.skip(done.stdout.partition("skipped: ")[2].strip())
    for count in counts:
        found = re.search(rf"([\d,]+) {count}", done.stdout)
        assert found is not None, done.stdout
        assert int(found[1].replace(",", "")) > 0, done.stdout
