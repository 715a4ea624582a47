"""Which version answers a request."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from models.registry import checkpoints, versions
from models.registry.integrity import DamagedError
from models.serving.cache import CheckpointFile, ServedModels
from models.serving.served_model import ServedModel
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.upkeep.inspection import intact_checkpoint

__all__ = ["ServedVersion", "Serving"]


class ServedVersion(NamedTuple):
    """A published version that is loaded: its model's name, its number and its network."""

    model: str
    number: int
    network: ServedModel


class PublishedVersion(NamedTuple):
    """A version as it stands in the database: its number, its checkpoint, and what is wrong with that one's file."""

    number: int
    checkpoint: str
    fault: str | None
    mtime_ns: int | None


class Serving:
    """The published versions that one process serves; up to ``limit`` bytes of them stay loaded."""

    def __init__(self, database: Database, files: FileStore, limit: int) -> None:
        self._database, self._files = database, files
        self._loaded = ServedModels(limit, self._checked_file)

    def version(self, model: str, wanted: int | str | None) -> ServedVersion:
        """The version of a model by its number or alias; the default version if ``wanted`` is None.

        Every call asks the database, so that all processes serve the same version. Raises MissingError if there is no
        such version, and DamagedError if its file is not as it was written. The default version is then the newest
        one with a good file, unless the alias ``default`` is set.
        """
        refused = None
        while True:
            found = self._published(model, wanted)
            if found.fault is not None:
                # A loaded version is refused too: it is mapped from that file.
                raise self._damage(found.checkpoint, found.fault)
            try:
                network = self._loaded.get(CheckpointFile(found.checkpoint, found.mtime_ns))
            except DamagedError:
                # The database has the fault now, so the default version is looked up again.
                if found.checkpoint == refused:
                    raise
                refused = found.checkpoint
            else:
                return ServedVersion(model, found.number, network)

    def _published(self, model: str, wanted: int | str | None) -> PublishedVersion:
        if not isinstance(wanted, int):
            row = self._database.serving_version.first(model=model, alias=wanted or versions.DEFAULT)
            if row is not None:
                return PublishedVersion(*row)
        with self._database.read() as connection:
            version = versions.resolve(connection, model, wanted)
            checkpoint = checkpoints.find_checkpoint(connection, version.checkpoint)
        return PublishedVersion(version.version, version.checkpoint, checkpoint.fault, checkpoint.file.mtime_ns)

    def _damage(self, checkpoint: str, fault: str) -> DamagedError:
        with self._database.read() as connection:
            row = checkpoints.find_checkpoint(connection, checkpoint)
        return DamagedError(self._files.path(FileKind.CHECKPOINT, checkpoint), row.file, fault)

    def _checked_file(self, key: CheckpointFile) -> Path:
        """The file of a version, checked just before it is loaded; raises DamagedError."""
        return intact_checkpoint(self._database, self._files, key.checkpoint)
