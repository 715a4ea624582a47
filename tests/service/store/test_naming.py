"""Files and the rows that name them: files without a row are deleted, unless the database does not answer."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from models.data.dataset import from_rows
from models.identifiers import new_id
from models.registry import datasets
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.store.locks import LockTakenError
from service.store.naming import delete_unnamed, naming, unnamed
from service.store.request_rows import keep
from testing.databases import new_database

DATASET = from_rows([[1.0], [2.0]], ["a", "b"])


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return new_database(tmp_path)


@pytest.fixture
def files(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path)


def write(database: Database, files: FileStore, *, named: bool) -> str:
    """Write a dataset's file, and its row if ``named``; the id."""
    dataset_id = new_id("ds")
    values, record = keep(files, dataset_id, "local", None, DATASET)
    if named:
        with database.write() as connection:
            datasets.add_dataset(connection, values, record)
    return dataset_id


class StopError(BaseException):
    """The end of a block, which need not be an Exception."""


@pytest.mark.parametrize("when", ["before the file", "before the row", "after the row"])
def test_a_block_that_fails_leaves_no_file_without_a_row(database: Database, files: FileStore, when: str) -> None:
    """After the row is written the file must stay: the commit succeeded, whatever was reported."""
    dataset_id = new_id("ds")

    def write_until_stopped() -> None:
        with naming(database, files, FileKind.DATASET, [dataset_id]):
            if when == "before the file":
                raise StopError
            values, record = keep(files, dataset_id, "local", None, DATASET)
            if when == "before the row":
                raise StopError
            with database.write() as connection:
                datasets.add_dataset(connection, values, record)
            raise StopError

    with pytest.raises(StopError):
        write_until_stopped()
    assert files.ids(FileKind.DATASET) == ({dataset_id} if when == "after the row" else set())


def test_a_block_that_succeeds_keeps_its_file_and_holds_the_lock(database: Database, files: FileStore) -> None:
    with naming(database, files, FileKind.DATASET, ["one"]):
        with pytest.raises(LockTakenError), files.no_writers():
            pass
        dataset_id = write(database, files, named=True)
    with files.no_writers():
        assert files.ids(FileKind.DATASET) == {dataset_id}


def test_if_the_database_cannot_answer_the_files_stay(database: Database, files: FileStore) -> None:
    dataset_id = write(database, files, named=False)
    with database.write() as connection:
        connection.execute(sa.text("ALTER TABLE datasets RENAME TO lost"))
    with pytest.raises(StopError), naming(database, files, FileKind.DATASET, [dataset_id]):
        raise StopError
    with pytest.raises(sa.exc.OperationalError):
        delete_unnamed(database, files, FileKind.DATASET, [dataset_id])
    assert files.ids(FileKind.DATASET) == {dataset_id}


def test_only_files_that_no_row_names_are_deleted(database: Database, files: FileStore) -> None:
    named, other, lost = (write(database, files, named=named) for named in (True, True, False))
    assert unnamed(database, files) == {FileKind.CHECKPOINT: set(), FileKind.DATASET: {lost}}
    assert delete_unnamed(database, files, FileKind.DATASET, [named, lost]) == {named}
    assert files.ids(FileKind.DATASET) == {named, other}
