"""The check, when a service starts, that the files can be kept where the setting ``storage`` says."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path

from models.formats.durable import UnreachableError
from service.settings import Settings, SettingsError
from service.store.files import shared_folder
from service.store.objects import Objects

__all__ = ["require_storage"]


def require_storage(settings: Settings) -> None:
    """Raise SettingsError if files cannot be kept there; nothing is asked if they are in the data directory.

    Of a bucket, an object is made twice under the condition that there is none: a server that ignores this would let
    one process overwrite what another one has just written. This starts threads, after which no process should fork.
    """
    if not settings.storage:
        return
    folder = shared_folder(settings.storage)
    if folder is not None:
        _require_folder(folder)
        return
    objects, key = Objects(settings.storage), f"uploads/{secrets.token_hex(8)}.check"
    try:
        objects.create(key, [b"first"])
        try:
            objects.create(key, [b"second"])
        except FileExistsError:
            return
        finally:
            with suppress(UnreachableError):  # It is swept later.
                objects.delete([key])
    except (UnreachableError, FileExistsError) as error:
        raise SettingsError(
            "TRAINYARD_STORAGE must be a bucket that answers; endpoint and credentials come from the variables that "
            f"begin with AWS_, GOOGLE_ or AZURE_. Received: {settings.storage!r}; {error.strerror}"
        ) from None
    raise SettingsError(
        "TRAINYARD_STORAGE must be a bucket of a server that keeps conditions, as Amazon S3 and SeaweedFS do; this one "
        "ignores If-None-Match, so that one process could overwrite the file of another. "
        f"Received: {settings.storage!r}"
    )


def _require_folder(folder: Path) -> None:
    """A folder that is missing may be a mount that is missing: files do not belong under its name."""
    if not folder.is_dir():
        raise SettingsError(
            f"TRAINYARD_STORAGE must be a folder that exists, as in file:///mnt/trainyard. Received: {str(folder)!r}"
        )
