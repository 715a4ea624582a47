"""Which version answers a request."""

from __future__ import annotations

from collections.abc import Collection
from copy import copy
from pathlib import Path
from typing import Any, NamedTuple

from models.errors import MissingError
from models.formats.checkpoint_file import CheckpointError
from models.formats.mapped_parameters import NoBestError
from models.registry import checkpoints, versions
from models.registry.callers import Caller
from models.registry.integrity import DamagedError
from models.registry.published import published_checkpoints
from models.registry.traffic import Shadow, Traffic
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

    ``number`` is None for a checkpoint that was not asked for as a version. ``shadowed`` is the alias that was asked
    for, and its shadow, if it has one.
    """

    model: str
    number: int | None
    network: ServedModel
    checkpoint: str
    shadowed: tuple[str, Shadow] | None = None


class PublishedVersion(NamedTuple):
    """A version as it stands in the database: its number, its checkpoint, and what is wrong with that one's file.

    ``traffic`` is the text of the alias that it was asked for by, if that names several versions or has a shadow.
    """

    number: int
    checkpoint: str
    fault: str | None
    mtime_ns: int | None
    traffic: str | None = None

    def shadowed(self, alias: str) -> tuple[str, Shadow] | None:
        """The alias and its shadow, if it has one."""
        shadow = None if self.traffic is None else Traffic.of(self.number, self.traffic).shadow
        return None if shadow is None else (alias, shadow)


#: Checkpoints other than versions that stay loaded. While one is, its deleted file takes disk space.
UNPUBLISHED = 8


def _alias(wanted: Wanted) -> str:
    """The alias that a request names, or means if it names none; of no account if it names no alias."""
    return wanted if isinstance(wanted, str) and wanted else versions.DEFAULT


def _place(model: str, wanted: Wanted) -> str:
    """What the texts that keep requests on one version belong to."""
    return f"{model}\0{_alias(wanted)}"


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
        file, unless the alias ``default`` is set.

        Of an alias that names several versions, requests with the same ``sticky`` get the same one, and others one by
        chance. If the file of one is damaged, the others answer its requests.
        """
        return self._served(model, wanted, sticky)

    def steady(self, model: str, wanted: Wanted) -> ServedVersion:
        """As ``version``, but of an alias that names several versions the one with the greatest weight."""
        return self._served(model, wanted, None, draws=False)

    def unload(self, model: str) -> None:
        """Forget the loaded versions of a model; the next request for one loads it. Raises MissingError."""
        with self._database.read() as connection:
            gone = published_checkpoints(connection, model)
        self._loaded.drop(gone)
        self._unpublished.drop(gone)

    def _served(self, model: str, wanted: Wanted, sticky: str | None, *, draws: bool = True) -> ServedVersion:
        if isinstance(wanted, OfJob):
            return self._checkpoint(model, wanted)
        left_out: set[int] = set()
        while True:
            try:
                found, others = self._candidate(model, wanted, sticky, left_out, draws=draws)
            except MissingError:
                if not (isinstance(wanted, str) and is_checkpoint_id(wanted)):
                    raise
                return self._checkpoint(model, wanted)
            if found.fault is None:
                try:
                    network = self._loaded.get(CheckpointFile(found.checkpoint, found.mtime_ns))
                except DamagedError:
                    # The database has the fault now, so the default version is looked up again.
                    if found.number in left_out:
                        raise
                else:
                    shadowed = found.shadowed(_alias(wanted))
                    return ServedVersion(model, found.number, network, found.checkpoint, shadowed)
            elif not others:
                # A loaded version is refused too: it is mapped from that file.
                raise self._damage(found.checkpoint, found.fault)
            left_out.add(found.number)

    def at_once(self, model: str, wanted: Wanted, sticky: str | None = None) -> ServedVersion | None:
        """A version by its number or alias, as ``version``; None if a database or a file would have to be read."""
        caller = self._database.caller
        if isinstance(wanted, OfJob) or (caller.models is not None and model not in caller.models):
            return None
        if isinstance(wanted, int):
            row = self._numbered_at_once(caller.owner, model, wanted)
        else:
            alias = wanted or versions.DEFAULT
            row = self._database.serving_version.at_once(owner=caller.owner, model=model, alias=alias)
        if row is None:
            return None
        found, shadowed = PublishedVersion(*row), None
        if found.traffic is not None:
            number = Traffic.of(found.number, found.traffic).drawn(_place(model, wanted), sticky)
            if number != found.number:
                row = self._numbered_at_once(caller.owner, model, number)
                if row is None:
                    return None
                found = PublishedVersion(row[0], row[1], row[2], row[3], found.traffic)
            shadowed = found.shadowed(_alias(wanted))
        if found.fault is not None:
            return None
        network = self._loaded.loaded(CheckpointFile(found.checkpoint, found.mtime_ns))
        return None if network is None else ServedVersion(model, found.number, network, found.checkpoint, shadowed)

    def _numbered_at_once(self, owner: str, model: str, number: int) -> tuple[Any, ...] | None:
        if number > versions.MAXIMUM_VERSION:
            return None
        return self._database.numbered_version.at_once(owner=owner, model=model, version=number)

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
        if caller.models is None or model in caller.models:
            owner, row = caller.owner, None
            if not isinstance(wanted, int):
                row = self._database.serving_version.first(owner=owner, model=model, alias=_alias(wanted))
            elif wanted <= versions.MAXIMUM_VERSION:
                row = self._database.numbered_version.first(owner=owner, model=model, version=wanted)
            if row is not None:
                return PublishedVersion(*row)
        with self._database.read() as connection:
            version = versions.resolve(connection, model, wanted)
            checkpoint = checkpoints.find_checkpoint(connection, version.checkpoint)
        return PublishedVersion(version.version, version.checkpoint, checkpoint.fault, checkpoint.file.mtime_ns)

    def _candidate(
        self, model: str, wanted: int | str | None, sticky: str | None, left_out: Collection[int], *, draws: bool
    ) -> tuple[PublishedVersion, bool]:
        """A version to try, and whether there are others if it cannot answer; ``left_out`` could not."""
        found = self._published(model, wanted)
        if not draws or found.traffic is None:
            return found, False
        traffic = Traffic.of(found.number, found.traffic)
        number = traffic.drawn(_place(model, wanted), sticky, left_out)
        if number != found.number:
            found = self._published(model, number)._replace(traffic=found.traffic)
        return found, traffic.others(left_out)

    def _damage(self, checkpoint: str, fault: str) -> DamagedError:
        with self._database.read() as connection:
            row = checkpoints.find_checkpoint(connection, checkpoint)
        return DamagedError(self._files.path(FileKind.CHECKPOINT, checkpoint), row.file, fault)

    def _checked_file(self, key: CheckpointFile) -> Path:
        """The file of a version, checked just before it is loaded; raises DamagedError."""
        return intact_checkpoint(self._database, self._files, key.checkpoint)
