"""``python -m service verify``: everything on disk is read and compared with the database; the service may run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

import click
import sqlalchemy as sa

from models.data.table import CHUNK
from models.errors import MissingError
from models.formats.checkpoint_file import CheckpointError, load_checkpoint
from models.formats.dataset_file import load_dataset
from models.formats.durable import UnreachableError
from models.formats.model_file import ModelFileError, load_model_file
from models.formats.stored_table import is_table, open_table
from models.registry.snapshots import model_file
from models.registry.tables import ALIASES, CHECKPOINTS, MODELS, VERSIONS
from models.registry.traffic import Traffic
from models.registry.versions import states
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.store.locks import Lock, LockTakenError
from service.store.naming import unnamed
from service.upkeep.directory import is_own
from service.upkeep.inspection import InspectedFile, inspect

__all__ = ["Report", "Wrong", "main", "verify"]

#: Seconds within which a trainer brings a model's file up to date, and a writer names its file.
PATIENCE_SECONDS = 10.0


class Wrong(NamedTuple):
    """One thing that is wrong: the file or row, what is wrong in a word, and what that means."""

    what: str
    fault: str
    detail: str


@dataclass
class Report:
    """What was read, and what is wrong."""

    checkpoints: int = 0
    datasets: int = 0
    bytes: int = 0
    wrong: list[Wrong] = field(default_factory=list)

    def __str__(self) -> str:
        read = f"{self.checkpoints} checkpoints and {self.datasets} datasets of {self.bytes} bytes in all were read"
        if not self.wrong:
            return f"{read}; nothing is wrong"
        table = [("FILE OR ROW", "FAULT", "DETAIL"), *self.wrong]
        widths = [max(len(row[column]) for row in table) for column in (0, 1)]
        lines = [f"{what:<{widths[0]}}  {fault:<{widths[1]}}  {detail}" for what, fault, detail in table]
        count = "1 thing is" if len(self.wrong) == 1 else f"{len(self.wrong)} things are"
        return "\n".join([*lines, f"{read}; {count} wrong"])


def verify(database: Database, files: FileStore) -> Report:
    """Read every file and compare it with the database, in which faults are noted and mended ones cleared.

    Raises SQLAlchemy's OperationalError if the database does not answer.
    """
    report = Report()
    for found in inspect(database, files, thorough=True):
        report.checkpoints += found.kind is FileKind.CHECKPOINT
        report.datasets += found.kind is FileKind.DATASET
        report.bytes += found.record.bytes
        report.wrong += _file(files, found)
    report.wrong += [*_rows(database), *_strangers(files)]
    if is_own(database, files):
        report.wrong += [*_without_rows(database, files), *_model_files(database, files)]
    else:
        detail = "they belong to another database; `trainyard reindex` makes an empty one theirs"
        report.wrong.append(Wrong(str(files.data), "not_ours", detail))
    return report


def _file(files: FileStore, found: InspectedFile) -> Iterator[Wrong]:
    if found.finding.fault is not None:
        detail = f"{found.record.bytes} bytes with SHA-256 {found.record.sha256} were written"
        yield Wrong(found.path.name, found.finding.fault, detail)
        return
    path = files.local(found.kind, found.path.stem, lambda: found.record)
    try:
        if found.kind is FileKind.CHECKPOINT:
            load_checkpoint(path)
        else:
            _read_dataset(path)
    except FileNotFoundError:
        return  # It was deleted with its row just now. If not, the next inspection finds it.
    except (CheckpointError, OSError) as error:
        yield Wrong(found.path.name, "not_loadable", str(error).replace(str(path), path.name))


def _read_dataset(path: Path) -> None:
    """Read a dataset's file to the end; raises OSError if that fails."""
    if not is_table(path):
        load_dataset(path)
        return
    with open_table(path) as table:
        for column in table.columns:
            for start in range(0, table.rows, CHUNK):
                table.read(column.name, start, start + CHUNK)


def _rows(database: Database) -> Iterator[Wrong]:
    """Rows that name what does not exist."""
    with database.read() as connection:
        of_model = VERSIONS.c.model_number == MODELS.c.number
        missing = sa.select(MODELS.c.name.label("model"), VERSIONS.c.version, VERSIONS.c.checkpoint).where(
            of_model, VERSIONS.c.checkpoint.not_in(sa.select(CHECKPOINTS.c.id))
        )
        for row in connection.execute(missing):
            yield Wrong(f"{row.model} version {row.version}", "no_checkpoint", f"it names {row.checkpoint}")
        there = sa.and_(of_model, VERSIONS.c.version == ALIASES.c.version)
        dangling = sa.select(MODELS.c.name.label("model"), ALIASES.c.alias, ALIASES.c.version).where(
            ALIASES.c.model_number == MODELS.c.number, ~sa.exists().where(there)
        )
        for row in connection.execute(dangling):
            yield Wrong(f"{row.model} alias {row.alias}", "no_version", f"it names version {row.version}")
        yield from _traffic_to_nothing(connection)
    if database.engine.dialect.name == "sqlite":
        with closing(database.engine.raw_connection()) as raw, closing(raw.cursor()) as cursor:
            for (result,) in cursor.execute("PRAGMA integrity_check").fetchall():
                if result != "ok":
                    yield Wrong("the database", "damaged", result)


def _traffic_to_nothing(connection: sa.Connection) -> Iterator[Wrong]:
    """Aliases that name several versions or a shadow, of which some do not exist."""
    of_model = ALIASES.c.model_number == MODELS.c.number
    for row in connection.execute(sa.select(MODELS.c.name, ALIASES).where(of_model, ALIASES.c.traffic.is_not(None))):
        there = sa.select(VERSIONS.c.version).where(VERSIONS.c.model_number == row.model_number)
        # The version of the row itself is reported already.
        named = {*Traffic.of(row.version, row.traffic).numbers} - {row.version}
        for version in sorted(named - set(connection.scalars(there))):
            yield Wrong(f"{row.name} alias {row.alias}", "no_version", f"it names version {version}")


def _strangers(files: FileStore) -> Iterator[Wrong]:
    """Files that this service did not create."""
    for path in files.strangers():
        yield Wrong(path.name, "unknown", f"no file of this service has such a name in {path.parent.name}/")


def _without_rows(database: Database, files: FileStore) -> Iterator[Wrong]:
    """Files that no row names, and none will."""
    until = monotonic() + PATIENCE_SECONDS
    while any(unnamed(database, files).values()):
        try:
            with files.no_writers():
                for ids in unnamed(database, files).values():
                    for file_id in sorted(ids):
                        yield Wrong(f"{file_id}.h5", "orphan", "no row names it; the next start clears it away")
                return
        except LockTakenError:
            if monotonic() > until:
                yield Wrong(str(files.data), "busy", "files are written all the time: orphans could not be looked for")
                return
            sleep(0.05)


def _model_files(database: Database, files: FileStore) -> Iterator[Wrong]:
    """Files of models that differ from the database after the time that a trainer needs to update them."""
    with database.read() as connection:
        names = set(states(connection))
    names |= files.ids(FileKind.MODEL)
    until = monotonic() + PATIENCE_SECONDS
    while names:
        faults = {name: fault for name in names if (fault := _model_fault(database, files, name)) is not None}
        if not faults or monotonic() > until or files.locks.is_free(Lock.TRAINER):
            for name, fault in sorted(faults.items()):
                yield Wrong(f"models/{name}.h5", *fault)
            return
        names = set(faults)
        sleep(0.2)


def _model_fault(database: Database, files: FileStore, name: str) -> tuple[str, str] | None:
    exists = files.stat(FileKind.MODEL, name) is not None
    advice = "the trainer writes it again when it starts"
    try:
        with database.read() as connection:
            wanted = model_file(connection, name)
    except MissingError:
        return ("orphan", "there is no such model; the trainer removes it") if exists else None
    if not exists:
        return "missing", advice
    try:
        found = load_model_file(files.local(FileKind.MODEL, name))
    except ModelFileError as error:
        return "wrong_digest", f"{error}; {advice}"
    return None if found == wanted else ("behind", advice)


def main(settings: Settings) -> int:
    """Print what is wrong in a data directory; the exit status, 1 if anything is."""
    database, files = Database(settings), FileStore.of(settings)
    database.migrate()
    try:
        report = verify(database, files)
    except UnreachableError as error:
        raise click.ClickException(f"not everything was read: {error}") from None
    click.echo(str(report))
    return 1 if report.wrong else 0
