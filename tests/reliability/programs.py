"""The programs from Debian's packages that tests of reliability and security need; .ci/packages installs them."""

from __future__ import annotations

import os
import shutil

import pytest

__all__ = ["require"]

#: The package of each program.
PACKAGES = {
    "cc": "gcc",
    "strace": "strace",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "xfs_io": "xfsprogs",
    "wrk": "wrk",
}


def require(*programs: str) -> None:
    """Skip the test if a program is missing that only root can install; else fail if one is missing."""
    missing = sorted({PACKAGES[program] for program in programs if shutil.which(program) is None})
    if missing:
        reason = f"needs Debian's packages: {' '.join(missing)}"
        if os.geteuid() == 0 or os.environ.get("CI") == "true":
            pytest.fail(f"{reason}; run .ci/packages as root")
        pytest.skip(f"{reason}, and only root can install them")
