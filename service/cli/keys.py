"""Commands for keys."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from models.clock import rfc3339
from models.errors import InvalidError, TrainyardError
from models.identifiers import NAME_PATTERN
from service.cli.settings import read_settings
from trainyard.cli.command import Group, WithExample

if TYPE_CHECKING:
    from service.access.keys import Key, Scope
    from service.store.database import Database

__all__ = ["keys"]

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


class _Names(click.ParamType[tuple[str, ...]]):
    """Names, separated by commas."""

    name = "names"

    def convert(self, value: str, parameter: click.Parameter | None, context: click.Context | None) -> tuple[str, ...]:
        names = tuple(name.strip() for name in value.split(","))
        for name in names:
            if re.fullmatch(NAME_PATTERN, name) is None:
                self.fail(f"{name!r} is no name: use a-z, 0-9, ., _ and -, at most 63 of them", parameter, context)
        return names


class _Scopes(click.ParamType["frozenset[Scope]"]):
    """Scopes, separated by commas."""

    name = "scopes"

    def convert(self, value: str, parameter: click.Parameter | None, context: click.Context | None) -> frozenset[Scope]:
        from service.access.keys import Scope

        try:
            return frozenset(Scope(scope.strip()) for scope in value.split(","))
        except ValueError:
            known = ", ".join(Scope)
            self.fail(f"must be some of {known}, separated by commas. Received: {value!r}", parameter, context)


class _Limit(click.ParamType[tuple[str, int]]):
    """A limit's name and its value."""

    name = "limit"

    def convert(self, value: str, parameter: click.Parameter | None, context: click.Context | None) -> tuple[str, int]:
        name, mark, number = value.partition("=")
        if not mark or not number.isdecimal():
            self.fail(
                f"must be a name and a whole number, as in queued_jobs=5. Received: {value!r}", parameter, context
            )
        return name, int(number)


class _Expiry(click.ParamType[str]):
    """A time from now on, or a day; the end of a key."""

    name = "time"

    def convert(self, value: str, parameter: click.Parameter | None, context: click.Context | None) -> str:
        found = re.fullmatch(r"([1-9][0-9]{0,4})([hdw])", value)
        if found:
            return rfc3339(datetime.now(UTC) + int(found[1]) * _UNITS[found[2]])
        try:
            day = datetime.fromisoformat(value)
        except ValueError:
            wanted = "must be hours, days or weeks, as in 12h, 90d or 4w, or a day, as in 2027-01-31"
            self.fail(f"{wanted}. Received: {value!r}", parameter, context)
        end = day.replace(tzinfo=day.tzinfo or UTC).astimezone(UTC)
        if end <= datetime.now(UTC):
            self.fail(f"must be in the future. Received: {value!r}", parameter, context)
        return rfc3339(end)


@click.group(cls=Group, example="trainyard keys create alice\ntrainyard keys list")
def keys() -> None:
    """Make, list and revoke the keys of clients.

    As soon as there is a key, every client needs one. The service may run.
    """


@keys.command(cls=WithExample, example="trainyard keys create alice --scopes predict --models iris --expires 90d")
@click.argument("owner", type=_Names())
@click.option(
    "--scopes",
    type=_Scopes(),
    default="predict,train",
    show_default=True,
    help="What the key may do: predict, train, admin, separated by commas.",
)
@click.option("--models", type=_Names(), help="The only models that it may use, separated by commas.")
@click.option(
    "--limit",
    "limits",
    type=_Limit(),
    multiple=True,
    help="A limit of its own, as in queued_jobs=5 (docs/limits.md); may be repeated.",
)
@click.option("--expires", type=_Expiry(), help="When it ends: 12h, 90d, 4w or a day, as in 2027-01-31.")
def create(
    owner: tuple[str, ...],
    scopes: frozenset[Scope],
    models: tuple[str, ...] | None,
    limits: tuple[tuple[str, int], ...],
    expires: str | None,
) -> None:
    """Make a key for OWNER and print it.

    It is shown this once. Keys of the same owner share models, datasets and jobs. What was made without keys belongs to
    the owner "local".
    """
    from service.access.audit import Action, Subject, record
    from service.access.keys import create_key
    from service.access.limits import Limits

    if len(owner) != 1:
        raise click.BadParameter("must be one name", param_hint="OWNER")
    settings, own = read_settings(), dict(limits)
    try:
        Limits.of(settings).with_overrides(own)
    except InvalidError as error:
        raise click.BadParameter(error.detail, param_hint="--limit") from None
    database = _database()
    with database.write() as connection:
        key, secret = create_key(connection, owner[0], scopes, models=models, limits=own, expires_at=expires)
        record(connection, Action.MADE, Subject.KEY, key.id, key.owner)
    database.dispose()
    click.echo(f"Key {key.id} of {key.owner}: {_may(key)}. Keep it now: it cannot be shown again.", err=True)
    click.echo(secret)


@keys.command("list", cls=WithExample, example="trainyard keys list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_all(as_json: bool) -> None:
    """List all keys, the oldest first, without their secrets."""
    from service.access.keys import list_keys

    database = _database()
    with database.read() as connection:
        found = list_keys(connection)
    database.dispose()
    if as_json:
        click.echo(json.dumps([key.document() for key in found]))
        return
    if not found:
        click.echo("There are no keys: the service answers this machine alone. Make one: trainyard keys create NAME")
        return
    rows = [("ID", "OWNER", "ENDS WITH", "MAY", "CREATED", "STATE")]
    rows += [(key.id, key.owner, key.hint, _may(key), key.created_at[:10], _state(key)) for key in found]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


@keys.command(cls=WithExample, example="trainyard keys revoke key_1htz3m43bnmnve1q9w78a")
@click.argument("key_id", metavar="ID")
def revoke(key_id: str) -> None:
    """Make the key with this ID useless at once.

    What it made stays, and belongs to its owner.
    """
    from service.access.audit import Action, Subject, record
    from service.access.keys import revoke_key

    database = _database()
    try:
        with database.write() as connection:
            key = revoke_key(connection, key_id)
            record(connection, Action.DELETED, Subject.KEY, key.id, key.owner)
    except TrainyardError as error:
        raise click.ClickException(f"{error.detail}; trainyard keys list shows the ids") from None
    finally:
        database.dispose()
    click.echo(f"Key {key.id} of {key.owner} is revoked.")


def _database() -> Database:
    from service.store.database import Database

    database = Database(read_settings())
    database.migrate()
    return database


def _may(key: Key) -> str:
    scopes = ", ".join(sorted(key.scopes))
    return scopes if key.models is None else f"{scopes} ({', '.join(sorted(key.models))} only)"


def _state(key: Key) -> str:
    if key.revoked_at is not None:
        return f"revoked {key.revoked_at[:10]}"
    if key.expires_at is None:
        return "good"
    good = key.is_good(rfc3339(datetime.now(UTC)))
    return f"{'good until' if good else 'expired'} {key.expires_at[:16].replace('T', ' ')}"
