"""Keys of clients: whose they are, what they may do, and until when.

Functions take an open SQLAlchemy connection and leave the transaction to the caller.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from models.clock import utc_now
from models.errors import MissingError, describe
from models.identifiers import new_id
from models.registry.callers import Caller
from service.access.secret import digest_of, hint_of, new_secret
from service.store.tables import API_KEYS

__all__ = ["Key", "Scope", "any_key", "create_key", "find_key", "is_still_good", "list_keys", "revoke_key"]


class Scope(StrEnum):
    """What a key may do."""

    #: Predict, and look at models and their versions.
    PREDICT = "predict"
    #: Define, upload, train, evaluate, download and delete.
    TRAIN = "train"
    #: Everything, also with what other owners have; metrics and the audit trail.
    ADMIN = "admin"


@dataclass(frozen=True)
class Key:
    """A key without its secret.

    ``models`` are the only models that it may use, if not None; ``limits`` are what differs from the settings. Times
    are RFC 3339; ``hint`` is the end of the secret.
    """

    id: str
    owner: str
    hint: str
    scopes: frozenset[Scope]
    models: frozenset[str] | None
    limits: Mapping[str, int]
    created_at: str
    expires_at: str | None
    revoked_at: str | None

    @classmethod
    def of(cls, row: sa.Row[Any]) -> Key:
        """The key of a row with all columns of the table."""
        return cls.of_values(row._mapping)

    @classmethod
    def of_values(cls, values: Mapping[Any, Any]) -> Key:
        """The key with these values of the columns."""
        models: str | None = values["models"]
        return cls(
            scopes=frozenset(Scope(scope) for scope in json.loads(values["scopes"])),
            models=None if models is None else frozenset(json.loads(models)),
            limits=json.loads(values["limits"]),
            **{name: values[name] for name in ("id", "owner", "hint", "created_at", "expires_at", "revoked_at")},
        )

    @property
    def caller(self) -> Caller:
        """Who asks with this key."""
        return Caller(self.owner, Scope.ADMIN in self.scopes, self.models, self.id)

    def may(self, scopes: Collection[Scope]) -> bool:
        """Whether it has one of these scopes; ``admin`` is as good as any."""
        return Scope.ADMIN in self.scopes or not self.scopes.isdisjoint(scopes)

    def is_good(self, now: str) -> bool:
        """Whether it is neither revoked nor expired at a time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def document(self) -> dict[str, Any]:
        """The key as it is shown, without a secret."""
        return {
            "id": self.id,
            "owner": self.owner,
            "hint": self.hint,
            "scopes": sorted(self.scopes),
            "models": None if self.models is None else sorted(self.models),
            "limits": dict(self.limits),
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "revoked_at": self.revoked_at,
        }


def create_key(
    connection: sa.Connection,
    owner: str,
    scopes: Collection[Scope],
    *,
    models: Collection[str] | None = None,
    limits: Mapping[str, int] | None = None,
    expires_at: str | None = None,
) -> tuple[Key, str]:
    """Store a new key. Returns it with its secret, which is not stored and cannot be shown again."""
    secret, key_id = new_secret(), new_id("key")
    values = {
        "id": key_id,
        "owner": owner,
        "digest": digest_of(secret),
        "hint": hint_of(secret),
        "scopes": json.dumps(sorted(scopes)),
        "models": None if models is None else json.dumps(sorted(models)),
        "limits": json.dumps(dict(limits or {})),
        "created_at": utc_now(),
        "expires_at": expires_at,
    }
    connection.execute(sa.insert(API_KEYS).values(**values))
    key = find_key(connection, key_id)
    assert key is not None
    return key, secret


def list_keys(connection: sa.Connection) -> list[Key]:
    """All keys, the oldest first."""
    return [Key.of(row) for row in connection.execute(sa.select(API_KEYS).order_by(API_KEYS.c.id))]


def revoke_key(connection: sa.Connection, key_id: str) -> Key:
    """Make a key useless from now on; one that was revoked already stays as it is. Raises MissingError."""
    unused = sa.and_(API_KEYS.c.id == key_id, API_KEYS.c.revoked_at.is_(None))
    connection.execute(sa.update(API_KEYS).where(unused).values(revoked_at=utc_now()))
    key = find_key(connection, key_id)
    if key is None:
        raise MissingError("not_found", f"there is no key {describe(key_id)}")
    return key


def find_key(connection: sa.Connection, key_id: str) -> Key | None:
    """A key by its id, if there is one."""
    row = connection.execute(sa.select(API_KEYS).where(API_KEYS.c.id == key_id)).first()
    return None if row is None else Key.of(row)


def is_still_good(connection: sa.Connection, key_id: str | None) -> bool:
    """Whether who was let in with a key, or without one if this is None, would be let in now."""
    if key_id is None:
        return not any_key(connection)
    key = find_key(connection, key_id)
    return key is not None and key.is_good(utc_now())


def any_key(connection: sa.Connection) -> bool:
    """Whether there has ever been a key: from then on, every caller needs one, even if all are revoked."""
    return connection.scalar(sa.select(API_KEYS.c.id).limit(1)) is not None
