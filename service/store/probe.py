"""Whether the database answers and takes writes: asked on a connection of its own, with little patience."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa

__all__ = ["PATIENCE_SECONDS", "Probe"]

#: Seconds for which something else may keep the database from being written before it counts as locked.
PATIENCE_SECONDS = 1.0
Answer = TypeVar("Answer")


class Probe:
    """Connects to the database for each question, so that it does not wait for those of requests.

    ``lock`` finds out why nothing can be written within ``PATIENCE_SECONDS``; None if it can. ``is_busy`` says of an
    error that another program keeps the database from being read.
    """

    def __init__(
        self,
        engine: sa.Engine,
        lock: Callable[[sa.Connection], str | None],
        is_busy: Callable[[sa.exc.SQLAlchemyError], bool],
    ) -> None:
        self.engine, self._lock, self._is_busy = engine, lock, is_busy

    def ask(self, question: Callable[[sa.Connection], Answer], *, writes: bool = True) -> tuple[str, Answer | None]:
        """``ok`` and the answer of a select, or what is wrong: ``locked`` or ``unavailable``, with a sentence.

        ``writes`` says that it counts too whether something could be written.
        """
        try:
            with self.engine.connect() as connection:
                reason = self._lock(connection) if writes else None
                return ("ok", question(connection)) if reason is None else (f"locked: {reason}", None)
        except sa.exc.SQLAlchemyError as error:
            if self._is_busy(error):
                return "locked: another program holds its lock, and nothing can be read", None
            return f"unavailable: {type(error).__name__}", None
