"""Versions of models, and the aliases that name them.

Functions take an open SQLAlchemy connection and leave the transaction to the caller.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from models.clock import utc_now
from models.errors import ConflictError, InvalidError, MissingError
from models.registry.rows import with_metrics
from models.registry.tables import ALIASES, CHECKPOINTS, MODELS, VERSIONS

__all__ = [
    "DEFAULT",
    "LATEST",
    "SERVING_QUERY",
    "State",
    "aliases",
    "default_of",
    "list_aliases",
    "list_versions",
    "newest_of",
    "publish",
    "remove_alias",
    "require_model",
    "require_version_form",
    "resolve",
    "set_alias",
    "states",
]


#: What a request gets that names no version, and what always means the newest.
DEFAULT, LATEST = "default", "latest"
#: What the databases' integers can hold.
MAXIMUM_VERSION = 2**31 - 1
#: What changes with every change of a model, its versions or its aliases.
State = tuple[Any, ...]


def require_model(connection: sa.Connection, name: str) -> None:
    """Raise MissingError where there is no model of this name."""
    if connection.scalar(sa.select(MODELS.c.number).where(MODELS.c.name == name)) is None:
        raise MissingError("not_found", f"there is no model {name!r}")


def publish(connection: sa.Connection, model: str, job: str | None, checkpoint_id: str, metrics: str) -> int:
    """Make a checkpoint, of a job or imported, the next version of its model; the version's number."""
    connection.execute(sa.update(MODELS).where(MODELS.c.name == model).values(newest=MODELS.c.newest + 1))
    version = connection.scalar(sa.select(MODELS.c.newest).where(MODELS.c.name == model))
    if version is None:
        raise MissingError("not_found", f"there is no model {model!r}")
    connection.execute(
        sa.insert(VERSIONS).values(
            model=model, version=version, job=job, checkpoint=checkpoint_id, metrics=metrics, created_at=utc_now()
        )
    )
    return int(version)


def list_versions(connection: sa.Connection, model: str, limit: int, after: int | None) -> list[dict[str, Any]]:
    """Versions of a model, newest first; raises MissingError for an unknown model."""
    require_model(connection, model)
    query = sa.select(VERSIONS).where(VERSIONS.c.model == model).order_by(VERSIONS.c.version.desc()).limit(limit)
    if after is not None:
        query = query.where(VERSIONS.c.version < after)
    return [with_metrics(row) for row in connection.execute(query)]


def default_of(connection: sa.Connection, model: str) -> int | None:
    """The version that serves requests which name none; None before any.

    That is the alias ``default``, else the newest whose file is not known to be at fault, else the newest.
    """
    found = connection.scalar(sa.select(ALIASES.c.version).where(ALIASES.c.model == model, ALIASES.c.alias == DEFAULT))
    if found is None:
        good = sa.join(VERSIONS, CHECKPOINTS, VERSIONS.c.checkpoint == CHECKPOINTS.c.id)
        query = sa.select(VERSIONS.c.version).select_from(good)
        query = query.where(VERSIONS.c.model == model, CHECKPOINTS.c.fault.is_(None))
        found = connection.scalar(query.order_by(VERSIONS.c.version.desc()).limit(1))
    return found if found is not None else newest_of(connection, model)


def newest_of(connection: sa.Connection, model: str) -> int | None:
    """The newest version of a model; None before any."""
    newest: int | None = connection.scalar(sa.select(sa.func.max(VERSIONS.c.version)).where(VERSIONS.c.model == model))
    return newest


def resolve(connection: sa.Connection, model: str, wanted: int | str | None) -> dict[str, Any]:
    """The version that ``wanted`` means: a number, an alias, or None for the default.

    Raises MissingError for an unknown model, version or alias, ConflictError where nothing is published yet.
    """
    require_model(connection, model)
    if wanted is None or wanted == DEFAULT:
        number = default_of(connection, model)
    elif wanted == LATEST:
        number = newest_of(connection, model)
    elif isinstance(wanted, str):
        number = aliases(connection, model).get(wanted)
        if number is None:
            raise MissingError("not_found", f"model {model!r} has no alias {wanted!r}")
    else:
        number = wanted if wanted <= MAXIMUM_VERSION else 0  # which no version has
    if number is None:
        raise ConflictError("no_version", f"model {model!r} has no version yet; one is published when a job succeeds")
    query = sa.select(VERSIONS).where(VERSIONS.c.model == model, VERSIONS.c.version == number)
    row = connection.execute(query).first()
    if row is None:
        raise MissingError("not_found", f"model {model!r} has no version {wanted or number}")
    return with_metrics(row)


#: One row (version, checkpoint, fault and time of its file) for the parameters ``model`` and ``alias``, or none.
SERVING_QUERY = sa.text(
    "SELECT versions.version, versions.checkpoint, checkpoints.fault, checkpoints.mtime_ns FROM models"
    " JOIN versions ON versions.model = models.name"
    " AND versions.version = CASE WHEN :alias = 'latest' THEN models.newest ELSE COALESCE("
    "(SELECT version FROM aliases WHERE aliases.model = models.name AND aliases.alias = :alias),"
    " CASE WHEN :alias = 'default' THEN COALESCE("
    "(SELECT good.version FROM versions AS good JOIN checkpoints AS file ON file.id = good.checkpoint"
    " WHERE good.model = models.name AND file.fault IS NULL ORDER BY good.version DESC LIMIT 1),"
    " models.newest) END) END"
    " LEFT JOIN checkpoints ON checkpoints.id = versions.checkpoint WHERE models.name = :model"
)


def states(connection: sa.Connection) -> dict[str, State]:
    """The state of each model, by name: while it is equal, so is the model's file (``models.formats.model_file``)."""
    found: dict[str, State] = {
        row.name: (row.number, row.created_at, row.newest)
        for row in connection.execute(sa.select(MODELS.c.name, MODELS.c.number, MODELS.c.created_at, MODELS.c.newest))
    }
    named = sa.text("SELECT model, alias, version FROM aliases ORDER BY model, alias")
    for model, alias, version in connection.execute(named):
        if model in found:
            found[model] += ((alias, version),)
    return found


def aliases(connection: sa.Connection, model: str) -> dict[str, int]:
    """The aliases that were set, and the versions they name; raises MissingError for an unknown model."""
    require_model(connection, model)
    query = sa.select(ALIASES.c.alias, ALIASES.c.version).where(ALIASES.c.model == model).order_by(ALIASES.c.alias)
    return {row.alias: row.version for row in connection.execute(query)}


def list_aliases(connection: sa.Connection, model: str, limit: int, after: str | None) -> list[tuple[str, int]]:
    """The aliases that were set, with their versions, in alphabetical order.

    Raises MissingError for an unknown model.
    """
    require_model(connection, model)
    query = sa.select(ALIASES.c.alias, ALIASES.c.version).where(ALIASES.c.model == model)
    if after is not None:
        query = query.where(ALIASES.c.alias > after)
    return [(row.alias, row.version) for row in connection.execute(query.order_by(ALIASES.c.alias).limit(limit))]


def set_alias(connection: sa.Connection, model: str, alias: str, version: int) -> None:
    """Let an alias name a version; raises MissingError for an unknown model or version."""
    if alias == LATEST:
        raise ConflictError("reserved_alias", f"the alias {LATEST!r} always means the newest version and cannot be set")
    try:
        resolve(connection, model, version)
    except ConflictError:
        raise MissingError("not_found", f"model {model!r} has no version {version}") from None
    remove = sa.delete(ALIASES).where(ALIASES.c.model == model, ALIASES.c.alias == alias)
    connection.execute(remove)
    connection.execute(sa.insert(ALIASES).values(model=model, alias=alias, version=version))


def remove_alias(connection: sa.Connection, model: str, alias: str) -> None:
    """Forget an alias; raises MissingError where it was not set."""
    require_model(connection, model)
    gone = connection.execute(sa.delete(ALIASES).where(ALIASES.c.model == model, ALIASES.c.alias == alias))
    if not gone.rowcount:
        raise MissingError("not_found", f"model {model!r} has no alias {alias!r}")


def require_version_form(value: Any) -> int | str | None:
    """A version as clients write it: a number, an alias, or nothing; raises InvalidError otherwise."""
    if value is None or (type(value) is int and value >= 1) or (isinstance(value, str) and value):
        return value
    raise InvalidError.at("/version", "must be a version's number or an alias")
