"""Keys and their secrets, in a database of their own."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest
import sqlalchemy as sa

from models.errors import MissingError
from models.registry.callers import Caller
from service.access.key_ring import KeyRing
from service.access.keys import Key, Scope, any_key, create_key, find_key, list_keys, revoke_key
from service.access.secret import SECRET_PATTERN, digest_of, is_secret, new_secret
from service.settings import Settings
from service.store.database import Database
from testing.harness import eventually

PAST, FUTURE = "2020-01-01T00:00:00.000Z", "2999-01-01T00:00:00.000Z"


def test_secrets_differ_and_have_the_form_that_scanners_look_for() -> None:
    made = {new_secret() for _ in range(1000)}
    assert len(made) == 1000
    assert all(re.fullmatch(SECRET_PATTERN, secret) and is_secret(secret) for secret in made)


def test_a_mistyped_secret_is_recognized_without_the_database() -> None:
    """A changed, a missing and an exchanged sign."""
    secret = new_secret()
    for place in range(len("ty_"), len(secret)):
        other = next(sign for sign in string.ascii_letters if sign != secret[place])
        assert not is_secret(secret[:place] + other + secret[place + 1 :])
        assert not is_secret(secret[:place] + secret[place + 1 :])
        if place and secret[place] != secret[place - 1]:
            assert not is_secret(secret[: place - 1] + secret[place] + secret[place - 1] + secret[place + 1 :])
    for text in ("", "ty_", f"{secret} ", secret.upper(), secret.replace("ty_", "TY_"), "ty_" + "ä" * 49):
        assert not is_secret(text)


@pytest.mark.sqlite
def test_no_secret_is_stored(database: Database, tmp_path: Path) -> None:
    with database.write() as connection:
        key, secret = create_key(connection, "alice", [Scope.TRAIN])
    assert (key.owner, key.scopes, key.hint) == ("alice", {Scope.TRAIN}, f"…{secret[-4:]}")
    content = (tmp_path / "trainyard.db").read_bytes()
    assert secret.encode() not in content
    assert secret[3:30].encode() not in content
    assert digest_of(secret).encode() in content


def test_keys_are_listed_and_revoked(database: Database) -> None:
    with database.read() as connection:
        assert not any_key(connection)
    with database.write() as connection:
        first, _ = create_key(connection, "alice", [Scope.PREDICT, Scope.TRAIN])
        second, _ = create_key(connection, "bob", [Scope.PREDICT], models=["iris"], limits={"models": 3})
    with database.write() as connection:
        gone = revoke_key(connection, first.id)
        assert revoke_key(connection, first.id) == gone
        with pytest.raises(MissingError):
            revoke_key(connection, "key_none")
    assert gone.revoked_at is not None
    with database.read() as connection:
        assert any_key(connection)
        assert list_keys(connection) == [gone, second]
        assert find_key(connection, second.id) == second
        assert find_key(connection, "key_none") is None
    assert second.document()["models"] == ["iris"]
    assert second.document()["limits"] == {"models": 3}


def test_a_key_says_who_asks() -> None:
    def key(*scopes: Scope, models: frozenset[str] | None = None) -> Key:
        return Key("key_1", "alice", "…abcd", frozenset(scopes), models, {}, PAST, None, None)

    assert key(Scope.PREDICT).caller == Caller("alice", key="key_1")
    assert key(Scope.ADMIN).caller == Caller("alice", sees_all=True, key="key_1")
    assert key(Scope.TRAIN, models=frozenset({"a"})).caller.models == {"a"}
    for given in Scope:
        for wanted in Scope:
            assert key(given).may([wanted]) is (given is wanted or given is Scope.ADMIN)
    assert not key().may([Scope.PREDICT])


class TestKeyRing:
    def test_without_keys_none_is_needed(self, database: Database) -> None:
        assert KeyRing(database).find(None)[:2] == (False, None)
        assert KeyRing(database).find(new_secret())[:2] == (False, None)

    def test_a_key_counts_at_once_in_every_process(self, database: Database) -> None:
        """Both rings have asked before, and another connection makes and revokes the key."""
        other = Database(database.settings)
        rings = KeyRing(database), KeyRing(other)
        for ring in rings:
            ring.find(None)
        with other.write() as connection:
            key, secret = create_key(connection, "alice", [Scope.TRAIN])
        for ring in rings:
            assert ring.find(secret)[:2] == (True, key)
            assert ring.find(None)[:2] == (True, None)
            assert ring.find(new_secret())[:2] == (True, None)
            # With PostgreSQL, a moment after the change.
            at_once = eventually(lambda ring=ring: ring.find(secret) and ring.at_once(secret), what="a kept answer")
            assert at_once is not None
            assert at_once[:2] == (True, key)
            assert ring.is_unchanged(at_once.changes) is (at_once.changes is not None)
        with database.write() as connection:
            revoke_key(connection, key.id)
        for ring in rings:
            assert not ring.is_unchanged(at_once.changes)
            found = ring.at_once(secret)
            assert found is None or found[:2] == (True, None)  # None: it has to ask the database.
            assert ring.find(secret)[:2] == (True, None)
            assert ring.find(None)[:2] == (True, None), "the last key was revoked, and the service stays closed"
        other.dispose()

    @pytest.mark.parametrize(("expires", "good"), [(PAST, False), (FUTURE, True), (None, True)])
    def test_a_key_expires(self, database: Database, expires: str | None, good: bool) -> None:
        with database.write() as connection:
            _, secret = create_key(connection, "alice", [Scope.TRAIN], expires_at=expires)
        found = KeyRing(database).find(secret)
        assert found.needed
        assert (found.key is not None) is good

    def test_what_is_no_secret_is_not_looked_for(self, database: Database) -> None:
        with database.write() as connection:
            create_key(connection, "alice", [Scope.TRAIN])
        ring = KeyRing(database)
        for text in ("", "ty_", "' OR 1=1 --", "ty_" + "a" * 49):
            assert ring.find(text)[:2] == (True, None)


def test_the_ring_of_a_lost_database_says_so(tmp_path: Path) -> None:
    lost = Database(Settings.read({"TRAINYARD_DATA": str(tmp_path)}))  # without any table
    with pytest.raises(sa.exc.OperationalError):
        KeyRing(lost).find(None)
    lost.dispose()
