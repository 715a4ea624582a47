"""The files of a data directory: put, found, deleted and moved aside in one place."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from models.errors import LowStorageError, NoRoomError
from models.identifiers import new_id
from service.store.disk import RESERVE_BYTES, Disk
from service.store.files import FileKind, FileStore
from service.store.locks import LockTakenError
from testing.harness import ROOT

IDS = {
    FileKind.CHECKPOINT: new_id("ckpt"),
    FileKind.DATASET: new_id("ds"),
    FileKind.MODEL: "iris-2",
}


@pytest.fixture
def files(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "data")


@pytest.mark.parametrize("kind", FileKind)
def test_the_life_of_a_file(files: FileStore, kind: FileKind) -> None:
    """Put, found, read, deleted; what other kinds have is not touched."""
    for other, file_id in IDS.items():
        files.put(other, file_id, [memoryview(other.encode())])
    file_id, path = IDS[kind], files.data / kind / f"{IDS[kind]}.h5"
    assert files.path(kind, file_id) == path
    assert path.read_bytes() == kind.encode()
    status = path.stat()
    assert files.stat(kind, file_id) == (status.st_size, status.st_mtime_ns)
    assert files.ids(kind) == {file_id}
    files.delete(kind, file_id, "never-there")
    assert files.stat(kind, file_id) is None
    assert files.ids(kind) == set()
    assert all(files.ids(other) == {IDS[other]} for other in FileKind if other != kind)


def test_put_returns_what_the_database_keeps(files: FileStore) -> None:
    record = files.put(FileKind.MODEL, "m", [memoryview(b"con"), memoryview(b"tent")])
    status = (files.data / "models/m.h5").stat()
    assert record == (7, hashlib.sha256(b"content").hexdigest(), status.st_mtime_ns)


def test_a_file_that_cannot_be_written_is_absent(files: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        files.put(FileKind.DATASET, IDS[FileKind.DATASET], [memoryview(b"content")])
    assert list((files.data / "datasets").iterdir()) == []


def test_quarantine_moves_a_file_aside(files: FileStore) -> None:
    files.put(FileKind.DATASET, IDS[FileKind.DATASET], [memoryview(b"content")])
    place = files.quarantine(FileKind.DATASET, IDS[FileKind.DATASET])
    assert place == files.data / "orphans" / f"{IDS[FileKind.DATASET]}.h5"
    assert place.read_bytes() == b"content"
    assert files.ids(FileKind.DATASET) == set()


def test_strangers_are_reported_from_files(files: FileStore) -> None:
    for kind, file_id in IDS.items():
        files.put(kind, file_id, [memoryview(b"content")])
    strange = [files.data / "checkpoints/mine.h5", files.data / "datasets/notes.txt", files.data / "models/Model.h5"]
    for path in (*strange, files.data / "models/.hidden"):
        path.write_bytes(b"")
    assert files.strangers() == strange
    assert all(files.ids(kind) == {file_id} for kind, file_id in IDS.items())


def test_a_temporary_file_has_no_name(files: FileStore) -> None:
    with files.temporary() as file:
        file.write(b"content")
        file.flush()
        assert os.fstat(file.fileno()).st_nlink == 0
        assert list((files.data / "checkpoints").iterdir()) == []


def test_nobody_writes_while_nobody_may(files: FileStore) -> None:
    with FileStore(files.data).writing(), pytest.raises(LockTakenError), files.no_writers():
        pass
    with files.no_writers():
        pass


def test_owner(files: FileStore) -> None:
    assert files.owner() is None
    files.set_owner("first")
    files.set_owner("second")
    assert FileStore(files.data).owner() == "second"


def test_what_is_kept_of_the_disk_is_not_given_to_uploads(tmp_path: Path) -> None:
    free = Disk(tmp_path).free
    for kept, refused in ((0, False), (free // 2, False), (2 * free, True)):
        files = FileStore(tmp_path / str(kept), kept=kept)
        if refused:
            with pytest.raises(NoRoomError, match="TRAINYARD_MIN_FREE_BYTES"):
                files.put(FileKind.DATASET, new_id("ds"), [memoryview(b"rows")])
            with pytest.raises(LowStorageError):
                files.disk.require_room_for_job(1)
            assert files.ids(FileKind.DATASET) == set()
        else:
            files.put(FileKind.DATASET, new_id("ds"), [memoryview(b"rows")])
            with pytest.raises(NoRoomError, match=f"this takes {free:,} bytes") if kept else nullcontext():
                files.disk.require_room(free)


def test_the_reserve_takes_space_until_it_is_given_up(tmp_path: Path) -> None:
    disk, path = Disk(tmp_path), tmp_path / ".reserve"
    disk.give_up_reserve()
    for _ in range(2):
        disk.hold_reserve()
        assert path.stat().st_blocks * 512 >= RESERVE_BYTES
    disk.give_up_reserve()
    assert not path.exists()


def test_a_reserve_that_is_still_open_gives_up_its_space(tmp_path: Path) -> None:
    disk, path = Disk(tmp_path), tmp_path / ".reserve"
    disk.hold_reserve()
    with path.open("rb") as held:
        disk.give_up_reserve()
        assert os.fstat(held.fileno()).st_blocks == 0
    assert not path.exists()


def test_no_reserve_is_left_if_it_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(OSError, match="No space left"):
        Disk(tmp_path).hold_reserve()
    assert not (tmp_path / ".reserve").exists()


def test_whether_the_directory_exists(files: FileStore) -> None:
    assert files.exists()
    files.data.rename(files.data.with_name("moved"))
    assert not files.exists()


@pytest.mark.processes
def test_supervising_processes_need_neither_numpy_nor_hdf5() -> None:
    """They hold the store and its locks for as long as they live."""
    code = "import sys, service.store.files, service.store.locks; print({'numpy', 'h5py'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True)
    assert done.stdout == "set()\n"
