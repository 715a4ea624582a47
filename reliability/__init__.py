"""Tests of the promises in docs/reliability.md, one module per promise: kills, power cuts, failing disks and others."""

import os

# Runners are forked from this process, and a process that forks must have no other threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
