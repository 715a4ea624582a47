"""Versions of models, and the aliases that name them.

Functions take an open SQLAlchemy connection and leave the transaction to the caller.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import sqlalchemy as sa

from models.clock import utc_now
from models.errors import LISTED, ConflictError, InvalidError, MissingError, Problem, describe, escaped, unknown_field
from models.identifiers import id_pattern, qualified
from models.registry.callers import own
from models.registry.names import missing
from models.registry.rows import Metrics
from models.registry.tables import ALIASES, CHECKPOINTS, MODELS, VERSIONS
from models.registry.traffic import Traffic

__all__ = [
    "DEFAULT",
    "DEFAULT_METRICS",
    "DEFAULT_VERSION",
    "LATEST",
    "MAXIMUM_VERSION",
    "SERVING_QUERY",
    "VERSION_QUERY",
    "OfJob",
    "State",
    "VersionRow",
    "Wanted",
    "alias_target",
    "aliases",
    "is_checkpoint_id",
    "list_aliases",
    "list_versions",
    "number_of",
    "publish",
    "remove_alias",
    "require_model",
    "require_version_form",
    "resolve",
    "set_alias",
    "states",
    "traffic",
]


#: The alias for requests that name no version, and the alias of the newest version.
DEFAULT, LATEST = "default", "latest"
#: The largest integer of every database.
MAXIMUM_VERSION = 2**31 - 1
#: A value that changes with every change of a model, its versions or its aliases.
State = tuple[Any, ...]


class OfJob(NamedTuple):
    """A checkpoint of a job: its ``"best"`` one, its ``"last"`` one, or one by id."""

    job: str
    checkpoint: str


#: What a request may name to be answered by: a version's number, an alias, a checkpoint's id, a checkpoint of a job, or
#: None for the default version.
Wanted = int | str | OfJob | None


@dataclass(frozen=True)
class VersionRow:
    """A version of a model, with its own definition as canonical text; ``job`` is None if it was imported."""

    model: str
    version: int
    job: str | None
    checkpoint: str
    metrics: Metrics
    created_at: str
    definition: str

    @classmethod
    def of(cls, row: sa.Row[Any]) -> VersionRow:
        """The version of a row with its model's name."""
        metrics = json.loads(row.metrics)
        return cls(row.model, row.version, row.job, row.checkpoint, metrics, row.created_at, row.definition)

    def document(self, *, whole: bool = True) -> dict[str, Any]:
        """The version's document in the API; lists leave out the definition, which may be long."""
        document = {
            "model": self.model,
            "version": self.version,
            "job": self.job,
            "checkpoint": self.checkpoint,
            "metrics": self.metrics,
            "created_at": self.created_at,
        }
        if not whole:
            return document
        # Not imported above: the trainer reads versions, and this would load NumPy there for as long as it runs.
        from models.definition.definition import ModelDefinition

        # With the defaults of fields that are younger than the text.
        return {**document, "definition": ModelDefinition.parse(self.definition).document()}


def _of_model(table: sa.Table) -> sa.ColumnElement[bool]:
    """The rows of a table that belong to the model of an enclosing select."""
    return table.c.model_number == MODELS.c.number


def _named(alias: str | sa.ColumnElement[str]) -> sa.ScalarSelect[int]:
    """The version that an alias was set to."""
    query = sa.select(ALIASES.c.version).where(_of_model(ALIASES), ALIASES.c.alias == alias)
    return query.correlate(MODELS).scalar_subquery()


#: The newest version of the model of an enclosing select; null before any.
NEWEST_VERSION = (
    sa.select(sa.func.max(VERSIONS.c.version)).where(_of_model(VERSIONS)).correlate(MODELS).scalar_subquery()
)
_NEWEST_GOOD = (
    sa.select(VERSIONS.c.version)
    .join(CHECKPOINTS, VERSIONS.c.checkpoint == CHECKPOINTS.c.id)
    .where(_of_model(VERSIONS), CHECKPOINTS.c.fault.is_(None))
    .order_by(VERSIONS.c.version.desc())
    .limit(1)
    .correlate(MODELS)
    .scalar_subquery()
)
#: The version for requests that name no version; null if there is none. It is that of the alias ``default``, else the
#: newest version without a known fault of its file, else the newest version.
DEFAULT_VERSION: sa.ColumnElement[int | None] = sa.func.coalesce(_named(DEFAULT), _NEWEST_GOOD, NEWEST_VERSION)

#: The metrics of that version, as they are stored.
DEFAULT_METRICS: sa.ScalarSelect[str | None] = (
    sa.select(VERSIONS.c.metrics)
    .where(_of_model(VERSIONS), VERSIONS.c.version == DEFAULT_VERSION)
    .correlate(MODELS)
    .scalar_subquery()
)


def _target(alias: sa.ColumnElement[str]) -> sa.ColumnElement[int | None]:
    """The version that an alias means for the model of an enclosing select; null if it means none."""
    return sa.case((alias == LATEST, NEWEST_VERSION), (alias == DEFAULT, DEFAULT_VERSION), else_=_named(alias))


_ALIAS: sa.BindParameter[str] = sa.bindparam("alias", type_=sa.String)


def _serving(version: sa.ColumnElement[Any], *more: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """What a version is served by, and ``more``, for the parameters ``owner`` and ``model``."""
    return (
        sa.select(VERSIONS.c.version, VERSIONS.c.checkpoint, CHECKPOINTS.c.fault, CHECKPOINTS.c.mtime_ns, *more)
        .select_from(MODELS)
        .join(VERSIONS, sa.and_(_of_model(VERSIONS), VERSIONS.c.version == version))
        .outerjoin(CHECKPOINTS, CHECKPOINTS.c.id == VERSIONS.c.checkpoint)
        .where(
            MODELS.c.owner == sa.bindparam("owner", type_=sa.String),
            MODELS.c.name == sa.bindparam("model", type_=sa.String),
        )
    )


_TRAFFIC = (
    sa.select(ALIASES.c.traffic)
    .where(_of_model(ALIASES), ALIASES.c.alias == _ALIAS)
    .correlate(MODELS)
    .scalar_subquery()
)
#: One row (version, checkpoint, fault and time of its file, traffic of the alias) for the parameters ``owner``,
#: ``model`` and ``alias``, or none. Who asks it must compare the caller's models.
SERVING_QUERY = _serving(_target(_ALIAS), _TRAFFIC)
#: The same by the parameter ``version``, without traffic.
VERSION_QUERY = _serving(sa.bindparam("version", type_=sa.Integer))


def number_of(connection: sa.Connection, model: str) -> sa.ScalarSelect[int]:
    """The number of the caller's model of this name, within a statement; null if there is none."""
    return own(connection, sa.select(MODELS.c.number), MODELS).where(MODELS.c.name == model).scalar_subquery()


def require_model(connection: sa.Connection, name: str) -> int:
    """The number of the model of this name; raises MissingError if there is none."""
    query = own(connection, sa.select(MODELS.c.number), MODELS).where(MODELS.c.name == name)
    number = connection.scalar(query)
    if number is None:
        raise missing(connection, "model", name)
    return int(number)


def publish(
    connection: sa.Connection,
    model: str,
    job: str | None,
    checkpoint_id: str,
    metrics: str,
    definition: str | None = None,
) -> int:
    """Make a checkpoint, of a job or imported, the next version of its model. Returns the version's number.

    ``definition`` is the canonical text of the checkpoint's definition; the model's newest one if left out.
    """
    number = require_model(connection, model)
    connection.execute(sa.update(MODELS).where(MODELS.c.number == number).values(newest=MODELS.c.newest + 1))
    newest = connection.execute(sa.select(MODELS.c.newest, MODELS.c.definition).where(MODELS.c.number == number)).one()
    values = {
        "version": newest.newest,
        "job": job,
        "checkpoint": checkpoint_id,
        "metrics": metrics,
        "created_at": utc_now(),
        "definition": newest.definition if definition is None else definition,
    }
    connection.execute(sa.insert(VERSIONS).values(model_number=number, **values))
    return int(newest.newest)


def list_versions(connection: sa.Connection, model: str, limit: int, after: int | None) -> list[VersionRow]:
    """Versions of a model, newest first; raises MissingError for an unknown model."""
    number = require_model(connection, model)
    query = _SELECT.where(VERSIONS.c.model_number == number).order_by(VERSIONS.c.version.desc()).limit(limit)
    if after is not None:
        query = query.where(VERSIONS.c.version < after)
    return [VersionRow.of(row) for row in connection.execute(query)]


_SELECT: sa.Select[Any] = sa.select(VERSIONS, MODELS.c.name.label("model")).join(MODELS, _of_model(VERSIONS))


def alias_target(connection: sa.Connection, model: str, alias: str) -> int | None:
    """The version that an alias means, ``default`` and ``latest`` too; None if these two mean none yet.

    Raises MissingError for an unknown model or alias.
    """
    found = traffic(connection, model, alias)
    return None if found is None else found.main


def traffic(connection: sa.Connection, model: str, alias: str) -> Traffic | None:
    """What answers requests that name an alias, ``default`` and ``latest`` too; None if these two mean none yet.

    Raises MissingError for an unknown model or alias.
    """
    found = own(connection, sa.select(_target(_ALIAS).label("version"), _TRAFFIC.label("traffic")), MODELS)
    query = found.where(MODELS.c.name == model)
    row = connection.execute(query, {"alias": alias}).first()
    if row is None:
        raise missing(connection, "model", model)
    if row.version is None:
        if alias in (DEFAULT, LATEST):
            return None
        raise MissingError("not_found", f"model {describe(model)} has no alias {describe(alias)}")
    return Traffic.of(row.version, row.traffic)


def resolve(connection: sa.Connection, model: str, wanted: int | str | None) -> VersionRow:
    """The version that ``wanted`` means: a number, an alias, or None for the default.

    Raises MissingError for an unknown model, version or alias, and ConflictError if nothing is published yet.
    """
    if isinstance(wanted, int):
        require_model(connection, model)
        number: int | None = wanted if wanted <= MAXIMUM_VERSION else 0  # No version has the number 0.
    else:
        number = alias_target(connection, model, DEFAULT if wanted is None else wanted)
    if number is None:
        raise ConflictError(
            "no_version", f"model {describe(model)} has no version yet; one is published when a job succeeds"
        )
    query = own(connection, _SELECT, MODELS).where(MODELS.c.name == model, VERSIONS.c.version == number)
    row = connection.execute(query).first()
    if row is None:
        raise MissingError("not_found", f"model {describe(model)} has no version {wanted or number}")
    return VersionRow.of(row)


def states(connection: sa.Connection) -> dict[str, State]:
    """The state of each model of all owners, by its qualified name.

    If it is unchanged, so is the model's file (``models.formats.model_file``).
    """
    name = (MODELS.c.owner, MODELS.c.name)
    columns = (MODELS.c.number, MODELS.c.created_at, MODELS.c.definitions, MODELS.c.newest)
    found: dict[str, State] = {}
    for owner, model, *rest in connection.execute(sa.select(*name, *columns)):
        found[qualified(owner, model)] = tuple(rest)
    of_alias = (ALIASES.c.alias, ALIASES.c.version, ALIASES.c.traffic)
    named = sa.select(*name, *of_alias).join(ALIASES, _of_model(ALIASES))
    for owner, model, *alias in connection.execute(named.order_by(*name, ALIASES.c.alias)):
        if (place := qualified(owner, model)) in found:
            found[place] += (tuple(alias),)
    return found


def aliases(connection: sa.Connection, model: str) -> dict[str, int]:
    """The aliases that were set, and the versions they name; raises MissingError for an unknown model."""
    number = require_model(connection, model)
    query = sa.select(ALIASES.c.alias, ALIASES.c.version).where(ALIASES.c.model_number == number)
    query = query.order_by(ALIASES.c.alias)
    return {row.alias: row.version for row in connection.execute(query)}


def list_aliases(connection: sa.Connection, model: str, limit: int, after: str | None) -> list[tuple[str, Traffic]]:
    """The aliases that were set, with what they name, in alphabetical order.

    Raises MissingError for an unknown model.
    """
    number = require_model(connection, model)
    query = sa.select(ALIASES).where(ALIASES.c.model_number == number)
    if after is not None:
        query = query.where(ALIASES.c.alias > after)
    rows = connection.execute(query.order_by(ALIASES.c.alias).limit(limit))
    return [(row.alias, Traffic.of(row.version, row.traffic)) for row in rows]


def set_alias(connection: sa.Connection, model: str, alias: str, target: int | Traffic) -> None:
    """Let an alias name one version or several. Raises MissingError for an unknown model or version."""
    if alias == LATEST:
        raise ConflictError(
            "reserved_alias", f"the alias {describe(LATEST)} always means the newest version and cannot be set"
        )
    wanted = Traffic.of(target, None) if isinstance(target, int) else target
    number = require_model(connection, model)
    asked = [each for each in wanted.numbers if each <= MAXIMUM_VERSION]
    query = sa.select(VERSIONS.c.version).where(VERSIONS.c.model_number == number, VERSIONS.c.version.in_(asked))
    unknown = sorted({*wanted.numbers} - set(connection.scalars(query)))
    if unknown:
        named = f"version {unknown[0]}" if len(unknown) == 1 else f"versions {', '.join(map(str, unknown))}"
        raise MissingError("not_found", f"model {describe(model)} has no {named}")
    connection.execute(sa.delete(ALIASES).where(ALIASES.c.model_number == number, ALIASES.c.alias == alias))
    values = {"alias": alias, "version": wanted.main, "traffic": wanted.text}
    connection.execute(sa.insert(ALIASES).values(model_number=number, **values))


def remove_alias(connection: sa.Connection, model: str, alias: str) -> None:
    """Delete an alias. Raises MissingError if it was not set."""
    number = require_model(connection, model)
    gone = connection.execute(sa.delete(ALIASES).where(ALIASES.c.model_number == number, ALIASES.c.alias == alias))
    if not gone.rowcount:
        raise MissingError("not_found", f"model {describe(model)} has no alias {describe(alias)}")


def is_checkpoint_id(text: str) -> bool:
    """Whether a text has the form of a checkpoint's id; an alias may have it too."""
    return re.fullmatch(id_pattern("ckpt"), text) is not None


def require_version_form(value: Any) -> Wanted:
    """Check what a request names to be answered by. Raises InvalidError if it has none of the forms of ``Wanted``."""
    if value is None or (type(value) is int and value >= 1) or (isinstance(value, str) and value):
        return value
    if isinstance(value, dict):
        return _of_job(value)
    raise InvalidError.at("/version", "must be a version's number, an alias, a checkpoint's id or an object with job")


def _of_job(value: dict[str, Any]) -> OfJob:
    known = OfJob._fields
    unknown = len(value.keys() - {*known})
    others = islice((name for name in value if name not in known), LISTED)
    problems = [Problem(f"/version/{escaped(name)}", unknown_field(name, known)) for name in others]
    job, checkpoint = value.get("job"), value.get("checkpoint")
    if not isinstance(job, str) or not job:
        problems.append(Problem("/version/job", f"must be a job's id. Received: {describe(job)}"))
    if not isinstance(checkpoint, str) or not (checkpoint in ("best", "last") or is_checkpoint_id(checkpoint)):
        detail = f'must be "best", "last" or a checkpoint\'s id. Received: {describe(checkpoint)}'
        problems.append(Problem("/version/checkpoint", detail))
    if problems:
        raise InvalidError.of(problems, unknown + len(problems) - min(unknown, LISTED))
    return OfJob(str(job), str(checkpoint))
