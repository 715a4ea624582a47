"""From the service's documents to frozen dataclasses, also if the service is newer or older than this client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeVar

__all__ = ["read", "time_of"]

Kind = TypeVar("Kind")


def read(kind: type[Kind], document: Mapping[str, Any], names: Mapping[str, str] | None = None, **own: Any) -> Kind:
    """A ``kind`` with the members of a document: those that it does not know are in ``extra``.

    ``names`` says which field takes a member if that is not the field of its name; times become datetimes, and lists
    tuples. ``own`` are fields that are no members. A field whose member is missing keeps its default.
    """
    known = {field.name for field in fields(kind)} - {"extra"} - set(own)  # type: ignore[arg-type]
    renamed = names or {}
    values: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in document.items():
        field = renamed.get(name, name)
        if field in known and (name in renamed or name not in renamed.values()):
            values[field] = _value(name, value)
        else:
            extra[name] = value
    make: Callable[..., Kind] = kind
    return make(**values, **own, extra=extra)


def _value(name: str, value: Any) -> Any:
    if name.endswith("_at") and isinstance(value, str):
        return time_of(value)
    return tuple(value) if isinstance(value, list) else value


def time_of(text: str) -> datetime:
    """A time of the service (RFC 3339)."""
    return datetime.fromisoformat(text)
