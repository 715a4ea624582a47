"""Making a process ready that will train."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from models.training import kernels
from service.settings import Settings
from service.store.compiled_code import CompiledCode

__all__ = ["make_compiler_ready", "make_ready"]

_log = logging.getLogger("trainyard.kernels")


def make_ready(threads: int) -> None:
    """Make this process the first victim if memory runs out, and let BLAS allocate memory now.

    If OpenBLAS cannot allocate memory later, it ends the process without an exception.
    """
    with suppress(OSError):  # Some containers do not allow this.
        Path("/proc/self/oom_score_adj").write_text("500")
    with threadpool_limits(threads):
        square = np.ones((256, 256), np.float32)
        square @ square


def make_compiler_ready(settings: Settings, *, ahead: bool) -> bool:
    """Load the compiler of kernels; ``ahead``: compile what most jobs need, or load it from the data directory.

    Returns False if that fails, of which the log says why: what is installed may not work here.
    """
    try:
        kernels.make_ready(CompiledCode(settings.data), ahead=ahead)
    except Exception:  # noqa: BLE001 - whatever is wrong with the package, jobs can run without it
        _log.exception(
            "kernels cannot be compiled, so jobs run without; TRAINYARD_KERNELS=numpy does so without trying"
        )
        return False
    return True
