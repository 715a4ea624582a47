"""``python -m service verify``: everything on disk is read and held against the database, beside a running service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import NamedTuple

import click
import sqlalchemy as sa

from models.errors import MissingError
from models.formats.checkpoint_file import CheckpointError, load_checkpoint
from models.formats.dataset_file import load_dataset
from models.formats.model_file import ModelFileError, load_model_file
from models.registry.snapshots import model_file
from models.registry.tables import ALIASES, CHECKPOINTS, VERSIONS
from models.registry.versions import states
from service.processes import TRAINER_LOCK, is_free
from service.settings import Settings
from service.store.database import Database
from service.store.files import Storage
from service.store.locks import LockTakenError
from service.upkeep.directory import is_own
from service.upkeep.inspection import Inspected, inspect
from service.upkeep.startup_check import unnamed

__all__ = ["Report", "Wrong", "main", "verify"]

#: A trainer brings a model's file up to date, and a writer names its file, in less than this.
PATIENCE_SECONDS = 10.0


class Wrong(NamedTuple):
    """One thing that is not as it should be: the file or row, what is wrong in a word, and what that means."""

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


def verify(database: Database, storage: Storage) -> Report:
    """Read every file and hold it against the database, where faults are noted and those that are gone cleared.

    Raises SQLAlchemy's OperationalError where the database does not answer.
    """
    report = Report()
    for found in inspect(database, storage, thorough=True):
        is_checkpoint = found.path == storage.checkpoint(found.row.id)
        report.checkpoints += is_checkpoint
        report.datasets += not is_checkpoint
        report.bytes += found.row.bytes
        report.wrong += _file(found, is_checkpoint=is_checkpoint)
    report.wrong += [*_rows(database), *_strangers(storage)]
    if is_own(database, storage):
        report.wrong += [*_without_rows(database, storage), *_model_files(database, storage)]
    else:
        detail = "they belong to another database; `python -m service reindex` makes an empty one theirs"
        report.wrong.append(Wrong(str(storage.data), "not_ours", detail))
    return report


def _file(found: Inspected, *, is_checkpoint: bool) -> Iterator[Wrong]:
    if found.finding.fault is not None:
        detail = f"{found.row.bytes} bytes with SHA-256 {found.row.sha256} were written"
        yield Wrong(found.path.name, found.finding.fault, detail)
        return
    try:
        if is_checkpoint:
            load_checkpoint(found.path)
        else:
            load_dataset(found.path)
    except FileNotFoundError:
        return  # It was deleted with its row just now, or the next look tells.
    except (CheckpointError, OSError) as error:
        yield Wrong(found.path.name, "not_loadable", str(error).replace(str(found.path), found.path.name))


def _rows(database: Database) -> Iterator[Wrong]:
    """Rows that name what is not there."""
    with database.read() as connection:
        missing = sa.select(VERSIONS.c.model, VERSIONS.c.version, VERSIONS.c.checkpoint).where(
            VERSIONS.c.checkpoint.not_in(sa.select(CHECKPOINTS.c.id))
        )
        for row in connection.execute(missing):
            yield Wrong(f"{row.model} version {row.version}", "no_checkpoint", f"it names {row.checkpoint}")
        there = sa.and_(VERSIONS.c.model == ALIASES.c.model, VERSIONS.c.version == ALIASES.c.version)
        dangling = sa.select(ALIASES).where(~sa.exists().where(there))
        for row in connection.execute(dangling):
            yield Wrong(f"{row.model} alias {row.alias}", "no_version", f"it names version {row.version}")
    if database.engine.dialect.name == "sqlite":
        with closing(database.engine.raw_connection()) as raw, closing(raw.cursor()) as cursor:
            for (told,) in cursor.execute("PRAGMA integrity_check").fetchall():
                if told != "ok":
                    yield Wrong("the database", "damaged", told)


def _strangers(storage: Storage) -> Iterator[Wrong]:
    """Files that this service has not made."""
    for path in storage.strangers():
        yield Wrong(path.name, "unknown", f"no file of this service is called so in {path.parent.name}/")


def _without_rows(database: Database, storage: Storage) -> Iterator[Wrong]:
    """Files that no row names, nor will."""
    until = monotonic() + PATIENCE_SECONDS
    while any(unnamed(database, storage)):
        try:
            with storage.no_writers():
                for ids, path_of in zip(unnamed(database, storage), (storage.checkpoint, storage.dataset), strict=True):
                    for file_id in sorted(ids):
                        yield Wrong(path_of(file_id).name, "orphan", "no row names it; the next start clears it away")
                return
        except LockTakenError:
            if monotonic() > until:
                yield Wrong(str(storage.data), "busy", "files are written all the time: orphans could not be told")
                return
            sleep(0.05)


def _model_files(database: Database, storage: Storage) -> Iterator[Wrong]:
    """Files of models that do not say what the database says, given the time to follow it."""
    with database.read() as connection:
        names = set(states(connection))
    names |= storage.model_names()
    until = monotonic() + PATIENCE_SECONDS
    while names:
        faults = {name: fault for name in names if (fault := _model_fault(database, storage, name)) is not None}
        if not faults or monotonic() > until or is_free(storage.data / TRAINER_LOCK):
            for name, fault in sorted(faults.items()):
                yield Wrong(f"models/{name}.h5", *fault)
            return
        names = set(faults)
        sleep(0.2)


def _model_fault(database: Database, storage: Storage, name: str) -> tuple[str, str] | None:
    path = storage.model(name)
    advice = "the trainer writes it anew when it starts"
    try:
        with database.read() as connection:
            wanted = model_file(connection, name)
    except MissingError:
        return ("orphan", "there is no such model; the trainer removes it") if path.exists() else None
    if not path.exists():
        return "missing", advice
    try:
        found = load_model_file(path)
    except ModelFileError as error:
        return "wrong_digest", f"{error}; {advice}"
    return None if found == wanted else ("behind", advice)


def main(settings: Settings) -> int:
    """Print what is wrong in a data directory; 1 where anything is."""
    database, storage = Database(settings), Storage(settings.data)
    database.migrate()
    report = verify(database, storage)
    click.echo(str(report))
    return 1 if report.wrong else 0
