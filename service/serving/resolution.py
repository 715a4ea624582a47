"""Which version answers a request."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import NamedTuple

from models.errors import MissingError
from models.formats.checkpoint_file import CheckpointError
from models.formats.mapped_parameters import NoBestError
from models.registry import checkpoints, versions
from models.registry.callers import Caller
from models.registry.integrity import DamagedError
from models.registry.versions import OfJob, Wanted, is_checkpoint_id
from models.serving.cache import CheckpointFile, ServedModels
from models.serving.served_model import ServedModel
from service.serving.job_checkpoints import choose, nothing_saved
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.upkeep.inspection import intact_checkpoint

__all__ = ["ServedVersion", "Serving"]


class ServedVersion(NamedTuple):
    """What answers, loaded: the model's name, the version's number, its network and the checkpoint's id.

    ``number`` is None for a checkpoint that was not asked for as a version.
    """

    model: str
    number: int | None
    network: ServedModel
    checkpoint: str


class PublishedVersion(NamedTuple):
    """A version as it stands in the database: its number, its checkpoint, and what is wrong with that one's file."""

    number: int
    checkpoint: str
    fault: str | None
    mtime_ns: int | None


#: Checkpoints other than versions that stay loaded. While one is, its deleted file takes disk space.
UNPUBLISHED = 8


class Serving:
    """The published versions that one process serves; up to ``limit`` bytes of them stay loaded.

    Besides, the latest few checkpoints that requests named stay loaded. ``of`` is what a caller sees of it.
    """

    def __init__(self, database: Database, files: FileStore, limit: int) -> None:
        self._database, self._files = database, files
        self._loaded = ServedModels(limit, self._checked_file)
        self._unpublished = ServedModels(limit, self._checked_file, UNPUBLISHED)

    def of(self, caller: Caller) -> Serving:
        """The same versions as a caller sees them."""
        bound = copy(self)
        bound._database = self._database.of(caller)
        return bound

    def cache_uses(self) -> tuple[int, int]:
        """How often what answers was loaded already, and how often it was not."""
        both = (self._loaded, self._unpublished)
        return sum(cache.hits for cache in both), sum(cache.misses for cache in both)

    def version(self, model: str, wanted: Wanted, sticky: str | None = None) -> ServedVersion:
        """What a request wants of a model: a version by its number or alias, or a checkpoint; None is the default one.

        Every call asks the database, so that all processes serve the same version. Raises MissingError if there is no
        such version or checkpoint, InvalidError for a checkpoint of another model, ConflictError if there is none yet,
        and DamagedError if its file is not as it was written. The default version is then the newest one with a good
        file, unless the alias ``default`` is set. Requests with the same ``sticky`` get the same version of an alias
        that names several.
        """
        if isinstance(wanted, OfJob):
            return self._checkpoint(model, wanted)
        refused = None
        while True:
            try:
                found = self._published(model, wanted)
            except MissingError:
                if not (isinstance(wanted, str) and is_checkpoint_id(wanted)):
                    raise
                return self._checkpoint(model, wanted)
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
                return ServedVersion(model, found.number, network, found.checkpoint)

    def at_once(self, model: str, wanted: Wanted, sticky: str | None = None) -> ServedVersion | None:
        """A version by an alias, as ``version`` returns it; None if a database or a file would have to be read."""
        if not (wanted is None or isinstance(wanted, str)):
            return None
        caller = self._database.caller
        if caller.models is not None and model not in caller.models:
            return None
        asked = {"owner": caller.owner, "model": model, "alias": wanted or versions.DEFAULT}
        row = self._database.serving_version.at_once(**asked)
        if row is None:
            return None
        found = PublishedVersion(*row)
        network = (
            None if found.fault is not None else self._loaded.loaded(CheckpointFile(found.checkpoint, found.mtime_ns))
        )
        return None if network is None else ServedVersion(model, found.number, network, found.checkpoint)

    def _checkpoint(self, model: str, wanted: str | OfJob) -> ServedVersion:
        """A checkpoint that a request names; old ones of a running job may be deleted at any time."""
        while True:
            with self._database.read() as connection:
                row, best = choose(connection, model, wanted)
            if row.fault is not None:
                raise self._damage(row.id, row.fault)
            try:
                network = self._unpublished.get(CheckpointFile(row.id, row.file.mtime_ns, best))
            except NoBestError:
                raise nothing_saved(wanted) from None
            except CheckpointError:
                with self._database.read() as connection:
                    now, _ = choose(connection, model, wanted)
                if now.id == row.id:
                    raise
                # The job has saved another one since, and this one was deleted.
            else:
                return ServedVersion(model, None, network, row.id)

    def _published(self, model: str, wanted: int | str | None) -> PublishedVersion:
        caller = self._database.caller
        if not isinstance(wanted, int) and (caller.models is None or model in caller.models):
            asked = {"owner": caller.owner, "model": model, "alias": wanted or versions.DEFAULT}
            row = self._database.serving_version.first(**asked)
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
