"""Whether the service can predict and accept jobs."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from service.store.tables import TRAINERS
from service.web.context import context

__all__ = ["readiness", "trainer_is_up"]

#: A trainer counts as absent after a lease without a heartbeat, and after at least this many seconds.
TRAINER_SECONDS = 5.0


def readiness() -> tuple[dict[str, Any], list[str]]:
    """The state of each part of the service, and a clause for each part without which it is not ready.

    An absent trainer is no such part: jobs wait until one starts.
    """
    parts = context()
    storage = parts.files.disk.condition(parts.files.temporary)
    database, up = parts.database.probe.ask(trainer_is_up)
    trainer = "unknown" if up is None else "ok" if up else "absent: jobs are queued until one starts"
    state = {"database": database, "storage": storage, "trainer": trainer}
    wrong = [part for part in ("database", "storage") if not state[part].startswith(("ok", "low"))]
    return state, [f"{part} is {state[part]}" for part in wrong]


def trainer_is_up(connection: sa.Connection) -> bool:
    """Whether a trainer was seen lately."""
    now, silence = context().database.now(connection), max(TRAINER_SECONDS, context().settings.lease_seconds)
    # One that was seen in the future was seen before the clock was set back.
    seen = sa.select(TRAINERS.c.id).where(TRAINERS.c.seen_at > now - silence, TRAINERS.c.seen_at < now + silence)
    return connection.scalar(seen.limit(1)) is not None
