"""The files in which workers count for all of them, as prometheus-client's multiprocess mode has them.

Gunicorn's master makes the folder before it loads anything that counts. It is in memory: a file that is mapped for
writing on a full disk would end its process. What a worker that has ended had counted is added to the file of all such
workers, so that workers which are replaced often leave no files behind.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from operator import add
from pathlib import Path

__all__ = ["DIRECTORY", "end", "prepare", "reading", "worker_ended"]

#: The variable by which prometheus-client learns of the folder, when it is imported.
DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made there
_PREFIX = "trainyard-metrics-"
#: Held by the processes that use a folder, and by whoever reads or changes all of its files.
_IN_USE, _FILES = "in-use.lock", "files.lock"


class _Folder:
    """The folder of this master, and the lock that shows that it is in use; workers inherit it."""

    made: Path | None = None


def prepare() -> None:
    """Make the folder, if this master has none yet, and delete those of masters that were killed."""
    if _Folder.made is not None:
        return
    place = _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    for other in place.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            _delete_if_unused(other)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    lock = os.open(folder / _IN_USE, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_SH)
    _Folder.made = folder
    os.environ[DIRECTORY] = str(folder)


def end() -> None:
    """Delete the folder."""
    if _Folder.made is not None:
        shutil.rmtree(_Folder.made, ignore_errors=True)


def worker_ended(pid: int) -> None:
    """Combine what a worker had counted with what workers that have ended had, and delete its files."""
    from prometheus_client.mmap_dict import MmapedDict

    folder = Path(os.environ[DIRECTORY])
    with _lock(folder, fcntl.LOCK_EX):
        for path in folder.glob(f"*_{pid}.db"):
            total = MmapedDict(str(path.with_name(path.name.removesuffix(f"{pid}.db") + "0.db")))
            # Gauges are times, of which the last one counts.
            combined = max if path.name.startswith("gauge_max_") else add
            for key, value, *_ in MmapedDict.read_all_values_from_file(str(path)):
                total.write_value(key, combined(total.read_value(key)[0], value), 0.0)
            total.close()
            path.unlink()


@contextmanager
def reading() -> Iterator[None]:
    """No file is added to another one meanwhile."""
    folder = os.environ.get(DIRECTORY)
    if folder is None:
        yield
        return
    with _lock(Path(folder), fcntl.LOCK_SH):
        yield


@contextmanager
def _lock(folder: Path, kind: int) -> Iterator[None]:
    with (folder / _FILES).open("a") as file:
        fcntl.flock(file, kind)
        yield


def _delete_if_unused(folder: Path) -> None:
    with (folder / _IN_USE).open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
