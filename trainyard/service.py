"""What a service says of itself and of its callers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

__all__ = ["AuditRecord", "DryRun", "Key"]


@dataclass(frozen=True)
class Key:
    """What a caller may do; ``id`` is None if the service has no keys."""

    owner: str
    id: str | None = None
    hint: str | None = None
    scopes: Sequence[str] = ()
    models: Sequence[str] | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    limits: Mapping[str, int] = field(default_factory=dict, repr=False)
    usage: Mapping[str, int] = field(default_factory=dict, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class AuditRecord:
    """Who did what to which thing; ``key`` is None if it was done without one."""

    id: int
    action: str
    kind: str
    subject: str
    owner: str
    key: str | None = None
    at: str | None = None
    request: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class DryRun:
    """What a training run would need: ``bytes`` of memory and ``rows`` by part, and an ``estimate`` of seconds.

    The largest network has ``inputs``, ``hidden`` layers of so many units, and ``classes``.
    """

    model: str
    parameters: int
    members: int = 1
    inputs: int | None = None
    hidden: Sequence[int] = ()
    classes: int | None = None
    bytes: Mapping[str, int] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    batches_per_epoch: int = 0
    estimate: Mapping[str, float | None] = field(default_factory=dict)
    warnings: Sequence[Mapping[str, Any]] = ()
    dry_run: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
