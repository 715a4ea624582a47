"""Small filesystems in memory, to be filled; only root may mount them."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

__all__ = ["fill", "mounts_are_permitted", "remount", "tmpfs"]


@contextmanager
def tmpfs(place: Path, size: str) -> Iterator[Path]:
    """A filesystem of ``size`` at ``place``, for the time of a with-block."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True, capture_output=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def remount(place: Path, options: str) -> None:
    """Change the options of a filesystem."""
    subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)


@cache
def mounts_are_permitted() -> bool:
    """Whether this process may mount filesystems."""
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as name:
        try:
            with tmpfs(Path(name) / "probe", "64k"):
                return True
        except subprocess.CalledProcessError:
            return False


def fill(ballast: Path, leave: int = 0) -> None:
    """Add to a file until ``leave`` bytes are free beside it: every free byte if that is 0."""
    with ballast.open("ab", buffering=0) as file:
        if leave:
            space = os.statvfs(ballast)
            taken = space.f_bavail * space.f_frsize - leave
            os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, taken)
            return
        for size in (1 << 20, 65_536, 4096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
