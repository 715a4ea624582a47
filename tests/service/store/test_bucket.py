"""Files in a bucket: made once, verified, copied to the local disk; a server that is silent says nothing of files."""

from __future__ import annotations

import hashlib
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import time
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from models.data.dataset import from_rows
from models.formats.durable import ChangedError, FileRecord, FileSpan, UnreachableError
from models.identifiers import new_id
from models.registry import datasets
from models.registry.tables import DATASETS
from service.settings import Settings, SettingsError
from service.store import bucket as bucket_module
from service.store import directory as directory_module
from service.store import objects as objects_module
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.store.local_copies import RECENT_SECONDS, LocalCopies
from service.store.locks import LockTakenError
from service.store.naming import delete_unnamed, naming, unnamed
from service.store.objects import Objects
from service.store.places import OLD_SECONDS
from service.store.request_rows import keep
from service.store.storage_check import require_storage
from service.upkeep.directory import is_own
from service.upkeep.inspection import inspect, intact_dataset
from testing.databases import new_database
from testing.object_storage import Bucket, careless, variables

pytestmark = pytest.mark.processes

CHECKPOINT, DATASET = FileKind.CHECKPOINT, FileKind.DATASET
IDS = {CHECKPOINT: new_id("ckpt"), DATASET: new_id("ds"), FileKind.MODEL: "iris-2"}


@pytest.fixture(scope="module", params=["seaweedfs", "moto"])
def server(request: pytest.FixtureRequest) -> Bucket:
    bucket: Bucket = request.getfixturevalue(f"{request.param}_server")
    return bucket


@pytest.fixture
def settings(server: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Those of an installation whose files are in a part of the bucket that no other test uses."""
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    return of_machine(tmp_path / "data", f"{server.url}/{uuid4().hex}")


def of_machine(data: Path, storage: str, **others: object) -> Settings:
    data.mkdir(exist_ok=True)
    given = {name: str(value) for name, value in others.items()}
    return Settings.read({"TRAINYARD_DATA": str(data), "TRAINYARD_STORAGE": storage, **given})


@pytest.fixture
def files(settings: Settings) -> FileStore:
    return FileStore.of(settings)


@pytest.fixture
def objects(settings: Settings) -> Objects:
    """The same bucket, past the store of files."""
    return Objects(settings.storage)


def silent(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> FileStore:
    """The files, as a process has them that is started while the server does not answer."""
    for name, value in variables(9).items():
        monkeypatch.setenv(name, value)
    return FileStore.of(settings)


def put(files: FileStore, content: bytes, kind: FileKind = CHECKPOINT, file_id: str = "") -> tuple[str, FileRecord]:
    file_id = file_id or new_id("ckpt" if kind is CHECKPOINT else "ds")
    return file_id, files.put(kind, file_id, [memoryview(content[:3]), memoryview(content[3:])])


def much_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the store think that what is there now is old."""
    for module in (bucket_module, directory_module):
        monkeypatch.setattr(module, "time", lambda: time() + OLD_SECONDS + 60.0)


@pytest.mark.parametrize("kind", FileKind)
def test_the_life_of_a_file(files: FileStore, kind: FileKind) -> None:
    """Put, found, read, deleted; what other kinds have is not touched."""
    for other, file_id in IDS.items():
        put(files, other.encode(), other, file_id)
    file_id = IDS[kind]
    found = files.stat(kind, file_id)
    assert found is not None
    assert found.bytes == len(kind)
    assert files.local(kind, file_id).read_bytes() == kind.encode()
    assert files.local(kind, file_id).stem == file_id
    assert files.ids(kind) == {file_id}
    assert files.strangers() == []
    files.delete(kind, file_id, IDS[kind])
    assert files.stat(kind, file_id) is None
    assert files.ids(kind) == set()
    assert not files.local(kind, file_id).exists()
    assert all(files.ids(other) == {IDS[other]} for other in FileKind if other != kind)


def test_put_returns_what_the_database_keeps(files: FileStore) -> None:
    file_id, record = put(files, b"content")
    found = files.stat(CHECKPOINT, file_id)
    assert found is not None
    assert record == (7, hashlib.sha256(b"content").hexdigest(), found.mtime_ns)
    assert files.place.sha256(CHECKPOINT, file_id) == record.sha256


def test_a_change_within_a_second_changes_the_time(files: FileStore, objects: Objects) -> None:
    file_id, record = put(files, b"content")
    objects.replace(f"checkpoints/{file_id}.h5", b"CONTENT")
    found = files.stat(CHECKPOINT, file_id)
    assert found is not None
    assert found.bytes == record.bytes
    assert found.mtime_ns != record.mtime_ns


def test_a_name_has_one_content(files: FileStore) -> None:
    """A request that is sent twice succeeds; another content is refused, and the first one stays."""
    file_id, record = put(files, b"content")
    assert put(files, b"content", file_id=file_id) == (file_id, record)
    with pytest.raises(FileExistsError):
        put(files, b"CONTENT", file_id=file_id)
    assert files.local(CHECKPOINT, file_id).read_bytes() == b"content"


def test_the_file_of_a_model_is_replaced(files: FileStore) -> None:
    """But not over what another machine has written since its content was decided."""
    seen = None
    for content in (b"first", b"second"):
        seen, before = files.stat(FileKind.MODEL, "iris"), seen
        files.put(FileKind.MODEL, "iris", [memoryview(content)], over=seen)
        assert files.local(FileKind.MODEL, "iris").read_bytes() == content
    assert before is None
    for late in (None, seen):
        with pytest.raises(FileExistsError):
            files.put(FileKind.MODEL, "iris", [memoryview(b"older")], over=late)
    assert files.local(FileKind.MODEL, "iris").read_bytes() == b"second"


@pytest.mark.parametrize("single", [2**20, 100], ids=["in one request", "in parts"])
def test_of_many_writers_one_wins(settings: Settings, single: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file has the content of the one that was told so."""
    monkeypatch.setattr(bucket_module, "SINGLE_BYTES", single)
    file_id = new_id("ckpt")
    stores = [FileStore.of(settings) for _ in range(6)]

    def write(number: int) -> bool:
        with suppress(FileExistsError):
            put(stores[number], bytes([number]) * 1000, file_id=file_id)
            return True
        return False

    with ThreadPoolExecutor(len(stores)) as pool:
        (winner,) = [number for number, won in enumerate(pool.map(write, range(len(stores)))) if won]
    assert stores[0].local(CHECKPOINT, file_id).read_bytes() == bytes([winner]) * 1000


def test_a_large_file_goes_in_parts(
    files: FileStore, objects: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From memory and from another file; no part of the upload is left, and others cannot take its name."""
    content = os.urandom(2**20) * 20
    assert len(content) > 2 * objects_module.PART_BYTES
    monkeypatch.setattr(bucket_module, "SINGLE_BYTES", 2**20)
    (tmp_path / "rows").write_bytes(content)
    file_id = new_id("ds")
    with (tmp_path / "rows").open("rb") as rows:
        span = FileSpan(rows.fileno(), 0, len(content))
        record = files.put(DATASET, file_id, [memoryview(b"head"), span])
    assert record[:2] == (len(content) + 4, hashlib.sha256(b"head" + content).hexdigest())
    assert files.local(DATASET, file_id, lambda: record).read_bytes() == b"head" + content
    assert files.put(DATASET, file_id, [memoryview(b"head" + content)]) == record
    with pytest.raises(FileExistsError):
        files.put(DATASET, file_id, [memoryview(content)])
    assert files.place.sha256(DATASET, file_id) == record.sha256
    assert list(objects.below("uploads")) == []


def test_what_does_not_read_back_is_not_named(files: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(self: Objects, key: str, content: Any) -> None:
        create(self, key, [b"".join(content).upper()])

    create = Objects.create
    monkeypatch.setattr(Objects, "create", changed)
    with pytest.raises(OSError, match="does not read back"):
        put(files, b"content")


class TestLocalCopies:
    """What processes read and map."""

    def test_the_server_is_asked_once(
        self, settings: Settings, files: FileStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file_id, record = put(files, b"content")
        path = files.local(CHECKPOINT, file_id, lambda: record)
        assert path.is_relative_to(settings.data)
        later = silent(settings, monkeypatch)
        assert later.copy(CHECKPOINT, file_id, record) == path
        assert later.local(CHECKPOINT, file_id, lambda: record) == path
        with pytest.raises(UnreachableError):
            later.local(CHECKPOINT, file_id)

    def test_another_content_is_no_copy(self, files: FileStore, objects: Objects) -> None:
        """Neither one that the server has now, nor one of another digest that is here."""
        file_id, record = put(files, b"content")
        objects.replace(f"checkpoints/{file_id}.h5", b"CONTENT")
        for _ in range(2):
            with pytest.raises(ChangedError):
                files.local(CHECKPOINT, file_id, lambda: record)
        objects.replace(f"checkpoints/{file_id}.h5", b"content")
        assert files.local(CHECKPOINT, file_id, lambda: record).read_bytes() == b"content"

    def test_processes_that_fetch_the_same_file_get_it(self, settings: Settings, files: FileStore) -> None:
        file_id, record = put(files, os.urandom(2**20))
        stores = [FileStore.of(settings) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            paths = set(pool.map(lambda store: store.local(CHECKPOINT, file_id, lambda: record), stores))
        (path,) = paths
        assert hashlib.sha256(path.read_bytes()).hexdigest() == record.sha256
        assert [each for each in (settings.data / "cache").rglob("*") if each.name.endswith(".partial")] == []


def test_the_least_recently_used_copies_go(tmp_path: Path) -> None:
    """Down to the bound, but not those that a process is about to open; what is open stays readable."""
    copies = LocalCopies(tmp_path, 2500)
    paths = [copies.add(CHECKPOINT, f"c{number}", 1000, [memoryview(bytes([number]) * 1000)])[0] for number in range(4)]
    assert all(path.exists() for path in paths)
    old = time() - RECENT_SECONDS
    for age, path in enumerate((paths[1], paths[0], paths[2])):
        os.utime(path, (old - 100 + age,) * 2)
    record = FileRecord(1000, hashlib.sha256(bytes([1]) * 1000).hexdigest())
    assert copies.find(CHECKPOINT, "c1", record) == paths[1]  # It was the oldest, and is the newest now.
    with paths[0].open("rb") as held:
        copies.add(CHECKPOINT, "new", 500, [memoryview(bytes(500))])
        assert [path.exists() for path in paths] == [False, True, False, True]
        assert held.read() == bytes(1000)


class TestOfRows:
    """Rows that name files: a fault is noted, and silence is none."""

    @pytest.fixture
    def database(self, settings: Settings) -> Database:
        return new_database(settings.data)

    def write(self, database: Database, files: FileStore, *, named: bool = True) -> str:
        dataset_id = new_id("ds")
        values, record = keep(files, dataset_id, "local", dataset_id, from_rows([[1.0], [2.0]], ["a", "b"]))
        if named:
            with database.write() as connection:
                datasets.add_dataset(connection, values, record)
        return dataset_id

    def fault(self, database: Database) -> object:
        with database.read() as connection:
            return connection.scalar(sa.select(DATASETS.c.fault))

    def test_a_missing_object_is_noted_until_it_is_back(
        self, database: Database, files: FileStore, objects: Objects
    ) -> None:
        dataset_id = self.write(database, files)
        key = f"datasets/{dataset_id}.h5"
        content = objects.read(key)
        objects.delete([key])
        assert [found.finding.fault for found in inspect(database, files)] == ["missing"]
        assert self.fault(database) == "missing"
        objects.replace(key, content)
        assert [found.finding.fault for found in inspect(database, files)] == [None]
        assert self.fault(database) is None

    @pytest.mark.parametrize(
        ("change", "fault"), [(bytes.swapcase, "wrong_digest"), (lambda content: content[:-1], "wrong_size")]
    )
    def test_a_changed_object_is_noted(
        self, database: Database, files: FileStore, objects: Objects, change: Any, fault: str
    ) -> None:
        dataset_id = self.write(database, files)
        assert intact_dataset(database, files, dataset_id).exists()
        key = f"datasets/{dataset_id}.h5"
        objects.replace(key, change(objects.read(key)))
        with pytest.raises(OSError, match=dataset_id):
            intact_dataset(database, files, dataset_id)
        assert self.fault(database) == fault

    def test_a_server_that_does_not_answer_marks_no_row(
        self,
        server: Bucket,
        settings: Settings,
        database: Database,
        files: FileStore,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Nor does one that has no such bucket. A verified copy answers meanwhile."""
        dataset_id = self.write(database, files)
        other = of_machine(settings.data, f"s3://{uuid4().hex}/files")
        # One after the other: a store reads where the server is when it asks first.
        for make in (lambda: FileStore.of(other), lambda: silent(settings, monkeypatch)):
            store = make()
            with pytest.raises(UnreachableError):
                list(inspect(database, store))
            with pytest.raises(UnreachableError):
                intact_dataset(database, store, dataset_id)
            assert self.fault(database) is None
        for name, value in server.variables.items():
            monkeypatch.setenv(name, value)
        path = intact_dataset(database, FileStore.of(settings), dataset_id)
        assert intact_dataset(database, silent(settings, monkeypatch), dataset_id) == path

    def test_only_old_files_without_a_row_are_cleared(
        self, database: Database, files: FileStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another machine may be about to name a new one."""
        self.write(database, files)
        unknown = self.write(database, files, named=False)
        assert unnamed(database, files)[DATASET] == set()
        much_later(monkeypatch)
        assert unnamed(database, files)[DATASET] == {unknown}
        assert delete_unnamed(database, files, DATASET, [unknown]) == set()
        assert unknown not in files.ids(DATASET)

    def test_a_file_whose_row_failed_is_deleted(self, database: Database, files: FileStore) -> None:
        dataset_id = new_id("ds")

        def fail() -> None:
            with naming(database, files, DATASET, [dataset_id]):
                put(files, b"rows", DATASET, dataset_id)
                assert files.ids(DATASET) == {dataset_id}
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fail()
        assert files.ids(DATASET) == set()

    def test_a_bucket_belongs_to_one_database(self, database: Database, files: FileStore, tmp_path: Path) -> None:
        other = new_database(tmp_path / "other")
        self.write(database, files)
        assert is_own(database, files)
        assert not is_own(other, files)
        assert is_own(database, files)


def test_deletions_wait_for_the_server(settings: Settings, files: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are deleted first, so that what is left is cleared away later. The file of a model must go now."""
    file_id, _ = put(files, b"content")
    later = silent(settings, monkeypatch)
    later.delete(CHECKPOINT, file_id)
    with pytest.raises(UnreachableError):
        later.delete(FileKind.MODEL, "iris")
    assert files.ids(CHECKPOINT) == {file_id}


def test_nothing_is_deleted_while_a_backup_copies(
    settings: Settings, files: FileStore, objects: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by another machine, which cannot make one at the same time. After a kill, its own machine can."""
    file_id, record = put(files, b"content")
    other = FileStore.of(of_machine(tmp_path / "other", settings.storage))
    with files.pins():
        copy = files.pin(CHECKPOINT, file_id)
        other.delete(CHECKPOINT, file_id)
        assert copy(tmp_path / "copy.h5") == record.sha256
        assert (tmp_path / "copy.h5").read_bytes() == b"content"
        with pytest.raises(FileNotFoundError):
            files.pin(CHECKPOINT, new_id("ckpt"))(tmp_path / "none.h5")
        with monkeypatch.context() as there:
            there.setattr(socket, "gethostname", lambda: "another")
            with pytest.raises(LockTakenError), other.pins():
                pass
    other.delete(CHECKPOINT, file_id)
    assert files.ids(CHECKPOINT) == set()
    objects.replace("backup.mark", socket.gethostname().encode())
    files.sweep()
    with pytest.raises(FileNotFoundError):
        objects.head("backup.mark")


def test_what_killed_writers_have_left_is_swept(
    files: FileStore, objects: Objects, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects.replace("uploads/1.claim", b"of a writer")
    left = settings.data / "cache" / ".x.h5.12345678.partial"
    left.parent.mkdir()
    left.write_bytes(b"")
    assert files.sweep() == [left.name]
    much_later(monkeypatch)
    assert files.sweep() == ["uploads/1.claim"]
    assert list(objects.below("uploads")) == []


def test_quarantine_moves_a_file_aside(files: FileStore, objects: Objects) -> None:
    file_id, _ = put(files, b"content")
    assert files.quarantine(CHECKPOINT, file_id) == Path(f"orphans/{file_id}.h5")
    assert objects.read(f"orphans/{file_id}.h5") == b"content"
    assert files.ids(CHECKPOINT) == set()


def test_strangers_are_reported_from_files(files: FileStore, objects: Objects) -> None:
    put(files, b"content")
    for key in ("checkpoints/mine.h5", "datasets/notes.txt", f"checkpoints/sub/{new_id('ckpt')}.h5"):
        objects.replace(key, b"mine")
    assert {path.name for path in files.strangers()} >= {"mine.h5", "notes.txt"}
    assert len(files.strangers()) == 3
    assert len(files.ids(CHECKPOINT)) == 1


class TestTheCheckAtTheStart:
    """A bucket must answer, and keep conditions."""

    def test_a_real_server_is_taken(self, settings: Settings, objects: Objects) -> None:
        require_storage(settings)
        assert list(objects.below("uploads")) == []

    def test_one_that_ignores_conditions_is_not(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with careless() as (bucket, objects):
            for name, value in bucket.variables.items():
                monkeypatch.setenv(name, value)
            with pytest.raises(SettingsError, match=r"TRAINYARD_STORAGE must .* keeps conditions.*s3://trainyard"):
                require_storage(of_machine(tmp_path, bucket.url))
            assert objects == {}

    def test_one_that_does_not_answer_is_not(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = of_machine(tmp_path, "s3://trainyard")
        silent(settings, monkeypatch)
        with pytest.raises(SettingsError, match="TRAINYARD_STORAGE must be a bucket that answers"):
            require_storage(settings)

    def test_a_folder_must_exist(self, tmp_path: Path) -> None:
        require_storage(of_machine(tmp_path, f"file://{tmp_path}"))
        with pytest.raises(SettingsError, match=r"a folder that exists.*Received: .*/mount"):
            require_storage(of_machine(tmp_path, f"file://{tmp_path}/mount"))


@pytest.mark.parametrize(
    "text", ["/folder", "http://host/bucket", "s3://", "s3:///x", "file://host/x", "file:///", "gs://b?x=1"]
)
def test_a_wrong_place_is_refused_with_a_sentence(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"TRAINYARD_STORAGE must be empty, s3://.*Received: "):
        of_machine(tmp_path, text)


def test_a_folder_that_machines_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are written there as in a data directory; only old ones without a row are cleared away."""
    shared = tmp_path / "with space"
    shared.mkdir()
    files, other = (FileStore.of(of_machine(tmp_path / name, f"file://{shared}")) for name in "ab")
    file_id, record = put(files, b"content")
    assert other.local(CHECKPOINT, file_id, lambda: record) == shared / f"checkpoints/{file_id}.h5"
    assert other.stat(CHECKPOINT, file_id) == (7, record.mtime_ns)
    assert other.clearable(CHECKPOINT) == set()
    much_later(monkeypatch)
    assert other.clearable(CHECKPOINT) == {file_id}
