"""A pool in this process, for tests and for the library: members take turns."""

from __future__ import annotations

from time import monotonic

from models.training.member_run import MemberRun, failed
from models.training.members import MemberData, MemberPool, MemberTask, Report

__all__ = ["LocalPool"]


class LocalPool(MemberPool):
    """Trains members in this process, and only within ``reports``; with several ``places``, in turns.

    ``reports(0)`` trains exactly one batch of the member whose turn it is.
    """

    def __init__(self, places: int = 1) -> None:
        self._places = places
        self._data: dict[str, MemberData] = {}
        #: The running members, that whose turn it is first.
        self._running: list[MemberRun] = []
        #: Reports for the next call of ``reports``.
        self._waiting: list[Report] = []

    @property
    def free(self) -> int:
        return self._places - len(self._running)

    def share(self, name: str, data: MemberData) -> None:
        self._data[name] = data.ready()

    def start(self, task: MemberTask) -> None:
        assert self.free, "there is a free place"
        try:
            self._running.append(MemberRun(task, self._data[task.data]))
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - the pool's user gets it as a report
            self._waiting.append(failed(task.number, error))

    def reports(self, seconds: float) -> list[Report]:
        found, self._waiting = self._waiting, []
        if self._running and not found:
            found += self._turn(self._running.pop(0), monotonic() + seconds)
        return found

    def ask_states(self) -> None:
        self._waiting += [run.saved() for run in self._running]

    def stop(self) -> list[Report]:
        found, self._waiting = self._waiting, []
        for run in self._running:
            found += [run.looked(), run.stop()]
        self._running = []
        return found

    def close(self) -> None:
        self._running, self._waiting = [], []

    def _turn(self, run: MemberRun, until: float) -> list[Report]:
        """Train a member until a time, but at least one batch."""
        batches = 0

        def enough() -> bool:
            nonlocal batches
            batches += 1
            return batches > 1 and monotonic() >= until

        try:
            end = run.advance(enough)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - the pool's user gets it as a report
            end = failed(run.number, error)
        if end is None:
            self._running.append(run)
            return [run.looked()]
        return [run.looked(), end]
