"""Which version answers a request."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from models.formats.durable import FileRecord
from models.registry import checkpoints, versions
from models.registry.integrity import DamagedError
from models.serving.served_model import ServedModel
from service.store.database import Database
from service.store.files import Storage
from service.upkeep.inspection import intact_checkpoint
from service.web.context import Context

__all__ = ["checked_file", "version_to_serve"]


def version_to_serve(parts: Context, model: str, wanted: int | str | None) -> tuple[int, ServedModel]:
    """The version to serve, and its number, asked of the database every time: all workers agree.

    Raises CheckpointError where its file is not what was written. A request that names no version then gets the newest
    one that is, unless somebody has set the alias ``default``.
    """
    refused = None
    while True:
        found = _look_up(parts, model, wanted)
        if found.fault is not None:
            # Also where it is loaded: it is mapped from that very file.
            with parts.database.read() as connection:
                row = checkpoints.find_checkpoint(connection, found.checkpoint)
            path = parts.storage.checkpoint(found.checkpoint)
            raise DamagedError(path, FileRecord(row["bytes"], row["sha256"]), found.fault)
        try:
            return found.version, parts.served.get(f"{found.checkpoint}.{found.mtime_ns}")
        except DamagedError:
            # It is noted now, so that whoever names no version is sent to another one.
            if found.checkpoint == refused:
                raise
            refused = found.checkpoint


def checked_file(database: Database, storage: Storage, key: str) -> Path:
    """The file behind a key of the loaded versions, a checkpoint's id and the time of the file's last change.

    So a file that was put back in place of a damaged one is loaded anew. Raises DamagedError.
    """
    return intact_checkpoint(database, storage, key.partition(".")[0])


class _Found(NamedTuple):
    """A version as the database knows it now."""

    version: int
    checkpoint: str
    fault: str | None
    mtime_ns: int | None


def _look_up(parts: Context, model: str, wanted: int | str | None) -> _Found:
    if not isinstance(wanted, int):
        row = parts.database.serving_version.first(model=model, alias=wanted or versions.DEFAULT)
        if row is not None:
            return _Found(*row)
    with parts.database.read() as connection:
        version = versions.resolve(connection, model, wanted)
        checkpoint = checkpoints.find_checkpoint(connection, version["checkpoint"])
    return _Found(version["version"], version["checkpoint"], checkpoint["fault"], checkpoint["mtime_ns"])
