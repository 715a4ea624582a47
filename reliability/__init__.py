"""What must hold under kills, power cuts, failing disks and hostile files: a module a promise, each with its figure."""

import os

# Runners are forked here, and a process that forks is to have no other threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
