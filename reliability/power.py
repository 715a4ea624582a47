"""An acknowledged checkpoint survives a power cut.

The data directory is on a filesystem in a file, mounted by a loop device. ``xfs_io -x -c shutdown`` stops the
filesystem immediately, without flushing its log. Data that has not reached the device is lost, as in a power cut.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reliability.figure import Figure
from reliability.runners import Store
from reliability.samples import SAMPLES

__all__ = ["run"]

CUTS = 100
FILESYSTEMS = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"]}
#: The minimum size for mkfs.xfs.
SIZE = 300 * 2**20
#: Cuts per filesystem. Retention deletes no checkpoint in this test, so a filesystem would fill up with more.
CUTS_EACH = 25


def run(scale: float) -> Figure:
    """Cut the power at random moments while a runner saves after each epoch."""
    figure = Figure(goals={f"cuts of {name}": CUTS for name in FILESYSTEMS})
    figure.skipped = _hindrance()
    if figure.skipped is not None:
        return figure
    cuts, moments = max(1, round(CUTS * scale)), random.Random(2)
    with tempfile.TemporaryDirectory(prefix="trainyard-power-") as folder:
        for name, sample in zip(FILESYSTEMS, SAMPLES, strict=True):
            # More epochs and checkpoints than all runs reach, yet so few that the job is predicted to fit on a disk.
            often = {"every_epochs": 1, "keep": 1_000}
            fresh = Store.make(Path(folder) / f"fresh-{name}", sample=sample, epochs=10_000, checkpoint=often)
            for first in range(0, cuts, CUTS_EACH):
                _cut_over_and_over(name, fresh, Path(folder), min(CUTS_EACH, cuts - first), moments, figure)
    return figure


def _hindrance() -> str | None:
    """Return the reason if no filesystem can be mounted here, else None."""
    if os.geteuid() != 0:
        return "only root may mount a filesystem"
    for tool in ("mkfs.ext4", "mkfs.xfs", "xfs_io", "mount", "umount"):
        if shutil.which(tool) is None:
            return f"{tool} is missing; install Debian's packages e2fsprogs and xfsprogs"
    with tempfile.TemporaryDirectory(prefix="trainyard-power-") as folder:
        device, place = Path(folder) / "device", Path(folder) / "place"
        _make("ext4", device, place)
        done = subprocess.run(["mount", "-o", "loop", device, place], capture_output=True, text=True, check=False)
        if done.returncode:
            return f"loop devices cannot be mounted here: {done.stderr.strip()}"
        subprocess.run(["umount", place], check=True)
    return None


def _make(name: str, device: Path, place: Path) -> None:
    with device.open("wb") as file:
        file.truncate(SIZE)
    subprocess.run([*FILESYSTEMS[name], device], check=True, capture_output=True)
    place.mkdir(exist_ok=True)


@contextmanager
def _mounted(device: Path, place: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "loop", device, place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def _cut_over_and_over(
    name: str, fresh: Store, folder: Path, cuts: int, moments: random.Random, figure: Figure
) -> None:
    device, place = folder / f"{name}.device", folder / name
    _make(name, device, place)
    with _mounted(device, place):
        fresh.copy(place / "data")
    acknowledged: dict[str, tuple[int, str]] = {}
    for _ in range(cuts):
        with _mounted(device, place):
            acknowledged |= _train_and_cut(Store(place / "data", fresh.job), place, moments)
        with _mounted(device, place):
            store = Store(place / "data", fresh.job)
            named = store.named()
            figure.broken += [f"{name}: {lost} is lost" for lost in acknowledged.items() - named.items()]
            figure.broken += [f"{name}: {what}" for what in store.damage()]
            acknowledged |= named
        figure.count(f"cuts of {name}")
    figure.count(f"checkpoints acknowledged on {name}", len(acknowledged))


def _train_and_cut(store: Store, place: Path, moments: random.Random) -> dict[str, tuple[int, str]]:
    """Train, cut the power and return the checkpoints that were in the database before the cut."""
    first, one = store.named(), store.start()
    while (seen := store.named()) == first:
        time.sleep(0.002)
    until = time.monotonic() + moments.uniform(0.0, 0.15)
    while time.monotonic() < until:
        seen = store.named()
    subprocess.run(["xfs_io", "-x", "-c", "shutdown", place], check=True)
    one.kill()
    return seen
