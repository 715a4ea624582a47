"""Whether callers need a key, and which key a secret belongs to."""

from __future__ import annotations

import hmac
from typing import NamedTuple

import sqlalchemy as sa

from models.clock import utc_now
from service.access.keys import Key
from service.access.secret import digest_of, is_secret
from service.store.database import Database
from service.store.tables import API_KEYS

__all__ = ["Found", "KeyRing"]

#: Whether there is a key at all, then the row of the one with the parameter ``digest``; always one row.
_QUERY = sa.select(sa.exists(sa.select(API_KEYS.c.id)).label("any"), *API_KEYS.columns).select_from(
    sa.select(sa.literal(1).label("one"))
    .subquery("one")
    .outerjoin(API_KEYS, API_KEYS.c.digest == sa.bindparam("digest", type_=sa.String))
)
#: Keys that stay parsed.
_MOST = 10_000


class Found(NamedTuple):
    """Whether callers need a key, and the good key that a caller has, if any.

    ``changes`` is the count of changes of keys at which that was found out; None if they are not counted.
    """

    needed: bool
    key: Key | None
    changes: bytes | None = None


class KeyRing:
    """The keys of a database.

    A key counts in every process as soon as its row is committed, and no more as soon as it is revoked.
    """

    def __init__(self, database: Database) -> None:
        self._query = database.fast_query(_QUERY)
        self._parsed: dict[str, tuple[tuple[object, ...], Key]] = {}
        self._names = ["any", *(column.name for column in API_KEYS.columns)]

    def find(self, secret: str | None) -> Found:
        """What a secret is worth. Raises SQLAlchemy's OperationalError."""
        found = self._look(secret, wait=True)
        assert found is not None
        return found

    def at_once(self, secret: str | None) -> Found | None:
        """As ``find``; None if the database would have to be waited for."""
        return self._look(secret, wait=False)

    def _look(self, secret: str | None, *, wait: bool) -> Found | None:
        digest = self._digest(secret)
        counted = self._query.counted(wait=wait, digest=digest)
        if counted is None:
            return None
        row, count = counted
        assert row is not None
        return self._found(digest, row, count)

    def is_unchanged(self, changes: bytes | None) -> bool:
        """Whether no key was made or revoked since what was found at a count of changes."""
        return changes is not None and self._query.counts(changes)

    @staticmethod
    def _digest(secret: str | None) -> str:
        """The digest to look for; of what can be no secret, one that no key has."""
        return digest_of(secret) if secret is not None and is_secret(secret) else ""

    def _found(self, digest: str, row: tuple[object, ...], count: bytes | None) -> Found:
        needed = bool(row[0])
        if row[1] is None:
            return Found(needed, None, count)
        known = self._parsed.get(digest)
        if known is None or known[0] != row:
            if len(self._parsed) >= _MOST:
                self._parsed.clear()
            values = dict(zip(self._names, row, strict=True))
            if not hmac.compare_digest(str(values["digest"]), digest):
                return Found(needed, None)
            known = self._parsed[digest] = row, Key.of_values(values)
        key = known[1]
        return Found(needed, key if key.is_good(utc_now()) else None, count)
