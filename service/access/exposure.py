"""Whether a service may listen on the address it is given: beyond this machine only with keys."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

import sqlalchemy as sa

from service.access.keys import any_key
from service.settings import Settings, SettingsError
from service.store.database import Database

__all__ = ["is_loopback", "require_keys"]

#: What to do about it, for messages.
REMEDY = "make a key (trainyard keys create NAME), or switch the check off (TRAINYARD_KEYS=off)"


@lru_cache(maxsize=1_000)
def is_loopback(host: str) -> bool:
    """Whether a host, a name or an address without a port, means this machine."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def require_keys(settings: Settings) -> None:
    """Raise SettingsError if the service would listen beyond this machine without any key."""
    host = settings.bind.rpartition(":")[0]
    if settings.keys == "off" or settings.bind.startswith("unix:") or is_loopback(host):
        return
    database = Database(settings)
    try:
        if database.exists():
            with database.read() as connection:
                if sa.inspect(connection).has_table("api_keys") and any_key(connection):
                    return
    finally:
        database.dispose()
    raise SettingsError(
        f"TRAINYARD_BIND must be an address of this machine alone as long as there are no keys: anybody who reaches "
        f"{settings.bind} could use the service. Bind to 127.0.0.1, {REMEDY}"
    )
