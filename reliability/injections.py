"""Runs of a short job with a fault that strace injects into one system call of each run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, TypeVar

from reliability.runners import Runner, Store
from reliability.tracing import calls_made, traced

__all__ = ["ABREAST", "Meddled", "calls_of_a_run", "meddled"]

#: Number of runs at the same time.
ABREAST = 2
End = TypeVar("End")


class Meddled(NamedTuple):
    """A fault in strace's notation, and the name and number of the thread's call that it affects."""

    fault: str
    call: str
    number: int

    def __str__(self) -> str:
        return f"{self.fault} at {self.call} number {self.number}"


def calls_of_a_run(store: Store, log: Path) -> list[tuple[str, int]]:
    """Return the calls of a run that change the disk, by name and number."""
    one = store.start(held=True)
    with traced(one.pid, log):
        one.release()
        assert one.outcome()["outcome"] == "finished"
    return calls_made(log)


def meddled(
    fresh: Store, folder: Path, places: list[Meddled], scale: float, end: Callable[[Runner], End]
) -> Iterator[tuple[Meddled, Store, Path, End]]:
    """Run a copy of ``fresh`` with each fault; yields the fault, the copy, strace's log and the result of ``end``.

    A scale below 1 takes every n-th fault. The copy is deleted before the next one is yielded.
    """
    places = places[:: max(1, round(1 / scale))]
    for first in range(0, len(places), ABREAST):
        runs = []
        with ExitStack() as all_traced:
            for index, place in enumerate(places[first : first + ABREAST]):
                store, log = fresh.copy(folder / f"meddled-{index}"), folder / f"log-{index}"
                one = store.start(held=True)
                inject = f"inject={place.call}:{place.fault}:when={place.number}"
                all_traced.enter_context(traced(one.pid, log, inject))
                runs.append((place, store, log, one))
            for *_, one in runs:
                one.release()
            ends = [end(one) for *_, one in runs]
        for (place, store, log, _), result in zip(runs, ends, strict=True):
            yield place, store, log, result
            shutil.rmtree(store.data)
