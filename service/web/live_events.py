"""Events as they come, as server-sent events (WHATWG HTML, section 9.2). A stream holds no thread."""

from __future__ import annotations

import json
from abc import abstractmethod
from time import monotonic
from typing import NamedTuple

import sqlalchemy as sa

from models.errors import MissingError
from service.access.keys import is_still_good
from service.jobs import lifecycle
from service.jobs.events import EVERY_JOB, EventRecord, events_after, newest_event_id, seen_events
from service.jobs.record import FINAL
from service.store.database import Database
from service.web.worker.later import Later

__all__ = ["EVENTS_AT_ONCE", "LiveEvents", "LiveEventsOfAll"]

#: Seconds without events after which a stream sends a comment. This keeps proxies from closing the stream, and
#: detects clients that have disconnected.
KEEP_ALIVE_SECONDS = 15.0
EVENTS_AT_ONCE = 1000
#: Events of any owner that one look reads at most.
READ_AT_ONCE = 10_000


class _Found(NamedTuple):
    """New events, up to which id all are among them, and whether there may be more, or none any longer."""

    rows: list[EventRecord]
    seen: int
    more: bool = False
    over: bool = False


class _Events(Later):
    """A stream of events. With ``checks_key``, it ends if the caller's key is revoked or expires."""

    def __init__(self, database: Database, subject: str, after: int, *, checks_key: bool) -> None:
        self._database, self._checks_key = database, checks_key
        self.subject, self.seen = subject, after
        self._begun = False

    @abstractmethod
    def _greeting(self) -> str:
        """What comes before all events."""

    def _still_here(self) -> str:
        """What comes if there are no events for long."""
        return ": still here\n\n"

    @abstractmethod
    def _find(self, connection: sa.Connection) -> _Found:
        """The events beyond ``seen``. Raises MissingError if what they are about was deleted."""

    def look(self) -> bytes:
        gone = _Found([], self.seen, over=True)
        try:
            with self._database.read() as connection:
                found = self._find(connection)
                if self._checks_key and not is_still_good(connection, self._database.caller.key):
                    found = gone
        except MissingError:
            found = gone
        except sa.exc.OperationalError:  # The next look comes when the database answers.
            found = _Found([], self.seen)
        pieces = [] if self._begun else [self._greeting()]
        self._begun, self.seen = True, found.seen
        pieces += [f"id: {row.id}\nevent: {row.type}\ndata: {row.data}\n\n" for row in found.rows]
        if not pieces and monotonic() >= self.wake_at:
            pieces = [self._still_here()]
        if pieces:
            self.wake_at = monotonic() + KEEP_ALIVE_SECONDS
        if found.more and not self.stopping:
            self.wake_at = 0.0
        else:
            self.ended = found.over or self.stopping
        return "".join(pieces).encode()


class LiveEvents(_Events):
    """A job's events beyond the one with the id ``after``. They end with its final state."""

    def __init__(self, database: Database, job_id: str, after: int, *, checks_key: bool = False) -> None:
        super().__init__(database, job_id, after, checks_key=checks_key)

    def _greeting(self) -> str:
        return f": stream of {self.subject}\n\n"

    def _find(self, connection: sa.Connection) -> _Found:
        # Read the state first, so that every event up to the final state is among the rows.
        over = lifecycle.state_of(connection, self.subject) in FINAL
        rows = events_after(connection, self.subject, self.seen, EVENTS_AT_ONCE)
        # A job may end between these two reads. Then its last event is here, and no further one leads to another look.
        over = over or any(row.type == "state" and json.loads(row.data)["state"] in FINAL for row in rows)
        return _Found(rows, rows[-1].id if rows else self.seen, len(rows) == EVENTS_AT_ONCE, over)


class LiveEventsOfAll(_Events):
    """The events of all jobs that the caller sees, beyond the one with the id ``after``. They have no end."""

    def __init__(self, database: Database, after: int, *, checks_key: bool = False) -> None:
        super().__init__(database, EVERY_JOB, after, checks_key=checks_key)

    def _greeting(self) -> str:
        # With an id: a client that loses the connection before the first event goes on from here.
        return f": events of all jobs\nid: {self.seen}\n\n"

    def _still_here(self) -> str:
        return f": still here\nid: {self.seen}\n\n"

    def _find(self, connection: sa.Connection) -> _Found:
        newest = newest_event_id(connection)
        # The events of other owners count as seen, so that each leads to one look.
        until = min(newest, self.seen + READ_AT_ONCE)
        rows = seen_events(connection, self.seen, until, EVENTS_AT_ONCE)
        seen = rows[-1].id if len(rows) == EVENTS_AT_ONCE else max(self.seen, until)
        return _Found(rows, seen, more=seen < newest)
