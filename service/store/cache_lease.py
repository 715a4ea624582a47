"""The right of a process to use again what it has read of what is served, on PostgreSQL.

Each process that keeps answers holds a shared lock, and a process that changes what is served takes the lock alone
before it commits. It first asks the holders to give theirs back; then they ask the database for every answer, until
the commit, and hold the lock again. So no process uses an answer that was changed, and none asks the database as long
as nothing changes. (C. Gray and D. Cheriton, "Leases", SOSP 1989, with a callback.)

A process that cannot reach the database goes on with the last answers that it has read, and notices within a moment
that it can reach it again. The first commits after the start of a server, or of a process that has lost a connection,
wait for that moment.

A holder that is stopped or cut off does not give its lock back. It may use its answers for ``TERM_SECONDS`` after the
database last answered it. A process that wants to commit waits for longer, ``PATIENCE_SECONDS``, then has the server
end the session that holds the lock.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from contextlib import closing, suppress
from itertools import count
from time import monotonic
from typing import Any

import sqlalchemy as sa

from service.store.advisory_locks import AdvisoryLock, end_sharers, session

__all__ = ["PATIENCE_SECONDS", "TERM_SECONDS", "CacheLease"]

_log = logging.getLogger("trainyard.database")

#: Seconds for which answers may be used after the database last answered, and seconds between two questions.
TERM_SECONDS, BEAT_SECONDS = 1.0, 0.3
#: Seconds for which a commit waits for a process that does not give its lock back.
PATIENCE_SECONDS = 2.0
#: Seconds without an answer after which the database counts as one that does not answer.
SILENCE_SECONDS = 1.5
#: Seconds between two tries then: at first, and at most.
PAUSE_SECONDS, LONGEST_PAUSE = 0.05, 0.25
#: Seconds after the start of the server, or the end of its sessions, within which each process that can reach it has
#: noticed that and come back.
RETURN_SECONDS = TERM_SECONDS + 2 * LONGEST_PAUSE
_CHANNEL = "trainyard_served"
_LOCK = AdvisoryLock.SERVED.numbers
_AGE = "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8"
_WAITS = f"SELECT EXISTS ({AdvisoryLock.SERVED.waiting})"
#: SQLSTATE of a lock that was not had within the time limit.
_NOT_AVAILABLE = "55P03"
#: The class of SQLSTATE of a server that starts or stops.
_NOT_UP = "57P"


class CacheLease:
    """The count of changes of what is served (``service.store.backend.Count``), while this process holds the lock.

    A thread holds it, from the first question on.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._reader = engine.execution_options(reading=True, isolation_level="AUTOCOMMIT")
        #: When this process last lost a connection.
        self._lost_at = -RETURN_SECONDS
        #: The count, and until when it is right by this process's clock.
        self._held: tuple[bytes, float] = (b"", 0.0)
        self._answers = True
        #: When the question was asked that the database has not answered yet.
        self._asked: float | None = None
        self._begin = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing: tuple[int, int] | None = None

    def __call__(self) -> bytes | None:
        changes, until = self._held
        if monotonic() < until:
            return changes
        if self._thread is None:
            self._start()
        return None

    def answers(self) -> bool:
        """Whether the database answers this process."""
        asked = self._asked
        return self._answers and (asked is None or monotonic() - asked < SILENCE_SECONDS)

    def note_loss(self) -> None:
        """Note that this process has lost a connection: others may have lost theirs, and not know it yet."""
        self._lost_at = monotonic()

    def recall(self, connection: sa.Connection) -> None:
        """Have all processes give the lock back, and hold it until the transaction of ``connection`` ends.

        Raises SQLAlchemy's OperationalError.
        """
        self._wait_for_all(connection)
        with self._reader.connect() as other:  # A transaction notifies others when it commits, which is too late.
            while True:
                other.exec_driver_sql(f"NOTIFY {_CHANNEL}")
                connection.exec_driver_sql("SAVEPOINT recall")
                try:
                    limit = f"set_config('lock_timeout', '{PATIENCE_SECONDS}s', true)"
                    connection.exec_driver_sql(f"SELECT {limit}, pg_advisory_xact_lock({_LOCK})")
                except sa.exc.OperationalError as error:
                    if getattr(error.orig, "sqlstate", None) != _NOT_AVAILABLE:
                        raise
                    connection.exec_driver_sql("ROLLBACK TO SAVEPOINT recall")
                    ended = end_sharers(other, AdvisoryLock.SERVED)
                    _log.warning("%d sessions of processes that are stopped or cut off were ended", ended)
                else:
                    connection.exec_driver_sql("RELEASE SAVEPOINT recall")
                    return

    def _wait_for_all(self, connection: sa.Connection) -> None:
        """Wait if the server was started, or has ended sessions, just now: processes may not have noticed that yet.

        Then every process has connected again, or its term has ended.
        """
        started = float(connection.exec_driver_sql(_AGE).scalar_one())
        left = RETURN_SECONDS - min(started, monotonic() - self._lost_at)
        if left > 0.0:
            connection.exec_driver_sql(f"SELECT pg_sleep({left:.3f})")

    def close(self) -> None:
        """Give the lock back for good."""
        with self._begin:
            if self._thread is None or self._closing is None:
                return
            self._held = (b"", 0.0)
            with suppress(OSError):  # It is closed already.
                os.write(self._closing[1], b"x")
        self._thread.join(2 * SILENCE_SECONDS)

    def _start(self) -> None:
        with self._begin:
            if self._thread is None:
                self._closing = os.pipe()
                self._thread = threading.Thread(target=self._run, name="cache-lease", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        assert self._closing is not None
        numbers = count(1)
        closed, pause = False, PAUSE_SECONDS
        while not closed:
            self._asked = monotonic()
            try:
                held = session(self._engine)
            except (self._engine.dialect.loaded_dbapi.Error, sa.exc.SQLAlchemyError) as error:
                answered = _has_answered(error)
                if self._answers and not answered:
                    _log.warning("the database does not answer; what was loaded is served: %s", str(error).strip())
                self._answers, self._asked = answered, None
                closed, pause = self._closed_within(pause), min(2 * pause, LONGEST_PAUSE)
                continue
            pause = PAUSE_SECONDS
            # If the session ends, perhaps only that: the next one shows whether the database answers.
            with closing(held), suppress(self._engine.dialect.loaded_dbapi.Error):
                # So that a wait for a writer is no silence of the database.
                held.execute("SELECT set_config('lock_timeout', '500ms', false)")
                held.execute(f"LISTEN {_CHANNEL}")
                while not closed:
                    closed = self._hold(held, numbers)
        for descriptor in self._closing:
            os.close(descriptor)

    def _hold(self, held: Any, numbers: count[int]) -> bool:
        """Hold the lock until it is asked for. Returns whether this process closes the lease."""
        self._asked = monotonic()
        try:
            held.execute(f"SELECT pg_advisory_lock_shared({_LOCK})")
        except self._engine.dialect.loaded_dbapi.Error as error:
            if error.sqlstate != _NOT_AVAILABLE:
                raise
            return False
        changes = next(numbers).to_bytes(8, "big")
        try:
            while True:
                asked = self._asked = monotonic()
                # A process that waits may have asked before this one began to listen.
                waits = held.execute(_WAITS).fetchone()[0]
                self._answers, self._asked = True, None
                if waits or self._is_recalled(held):
                    return False
                self._held = (changes, asked + TERM_SECONDS)
                if self._closed_within(BEAT_SECONDS, held):
                    return True
                if self._is_recalled(held):
                    return False
        finally:
            self._held = (b"", 0.0)
            if not held.closed:
                held.execute(f"SELECT pg_advisory_unlock_shared({_LOCK})")

    @staticmethod
    def _is_recalled(held: Any) -> bool:
        """Whether another process has asked for the lock."""
        return bool(list(held.notifies(timeout=0)))

    def _closed_within(self, seconds: float, held: Any = None) -> bool:
        """Wait for a message of the server, for at most ``seconds``. Returns whether this process closes the lease."""
        assert self._closing is not None
        watched = [self._closing[0], *([] if held is None else [held.fileno()])]
        return self._closing[0] in select.select(watched, [], [], seconds)[0]


def _has_answered(error: BaseException) -> bool:
    """Whether a server that is up refused a connection, because it has too many of them, for example."""
    state: str | None = getattr(getattr(error, "orig", error), "sqlstate", None)
    return state is not None and not state.startswith(_NOT_UP)
