"""A kill never costs a committed checkpoint, of a matrix, of a table or of several members."""

from __future__ import annotations

import random
import signal
import tempfile
import time
from pathlib import Path

from reliability.figure import Figure
from reliability.injections import ABREAST, Meddled, calls_of_a_run, meddled
from reliability.runners import Runner, Store
from reliability.samples import MEMBERS, SAMPLES, Sample
from reliability.tracing import strace_missing

__all__ = ["run"]

KILLS = 2000
#: Kills of runners that have members, whose start takes longer.
OF_MEMBERS = 20


def run(scale: float) -> Figure:
    """Kill runners at random moments, and at each system call of a save that changes the disk."""
    figure = Figure(
        goals={
            "kills at random moments": KILLS,
            "after a new checkpoint": KILLS // 4,
            "within a save": KILLS // 100,
            "kills of runners with members": OF_MEMBERS,
        }
    )
    with tempfile.TemporaryDirectory(prefix="trainyard-kills-") as folder:
        members = _Members(Path(folder) / "members", figure, max(1, round(OF_MEMBERS * scale)))
        _at_random(Path(folder), figure, max(1, round(KILLS * scale)), members)
        members.end()
        missing = strace_missing()
        if missing:
            figure.broken.append(missing)
        else:
            for sample in SAMPLES:
                _at_each_call(Path(folder) / sample.dataset, figure, scale, sample)
    return figure


class _Members:
    """A store whose runner has members; it is killed some times at random while the other ones are."""

    def __init__(self, folder: Path, figure: Figure, kills: int) -> None:
        kinds = [{**kind, "epochs": 1_000_000} for kind in MEMBERS.model["network"]["kinds"]]
        network = {"network": {**MEMBERS.model["network"], "kinds": kinds}}
        self._store = Store.make(folder, network, sample=MEMBERS, checkpoint={"every_epochs": 4, "keep": 2})
        self._figure, self._moments, self._left = figure, random.Random(2), kills
        self._latest = 2.0 * _seconds_to_a_checkpoint(self._store)
        self._begin()

    def _begin(self) -> None:
        self._known = self._store.named().keys()
        self._runner, self._end = self._store.start(), time.monotonic() + self._moments.uniform(0.0, self._latest)

    def turn(self) -> None:
        """If it is time, kill the runner, and start another one unless that was the last."""
        if not self._left or time.monotonic() < self._end:
            return
        assert self._runner.kill() == -signal.SIGKILL
        self._left -= 1
        self._figure.count("kills of runners with members")
        self._figure.count("of these after a new checkpoint", int(bool(self._store.named().keys() - self._known)))
        self._figure.broken += self._store.damage()
        if self._left:
            self._begin()

    def end(self) -> None:
        """Go on until the last kill."""
        while self._left:
            time.sleep(max(0.0, self._end - time.monotonic()))
            self.turn()


def _at_random(folder: Path, figure: Figure, kills: int, members: _Members) -> None:
    """Kill runners at random, up to twice the time that they need for their first new checkpoint."""
    stores = [
        Store.make(
            folder / f"random-{number}",
            sample=SAMPLES[number % len(SAMPLES)],
            epochs=1_000_000,
            checkpoint={"every_epochs": 1, "keep": 2},
        )
        for number in range(ABREAST)
    ]
    latest, moments = 2.0 * max(map(_seconds_to_a_checkpoint, stores)), random.Random(1)
    for _ in range(-(-kills // len(stores))):
        before = [set(store.named()) for store in stores]
        runners = [store.start() for store in stores]
        time.sleep(moments.uniform(0.0, latest))
        for store, known, one in zip(stores, before, runners, strict=True):
            assert one.kill() == -signal.SIGKILL
            figure.count("kills at random moments")
            figure.count("of them with a table", int(store is not stores[0]))
            figure.count("after a new checkpoint", int(bool(store.named().keys() - known)))
            figure.count("within a save", int(any(store.temporary_files())))
            figure.broken += store.damage()
        members.turn()


def _seconds_to_a_checkpoint(store: Store) -> float:
    begin, one = time.monotonic(), store.start()
    while not store.named():
        assert time.monotonic() < begin + 30.0
        time.sleep(0.01)  # leaves the processor to the runner
    one.kill()
    return time.monotonic() - begin


def _at_each_call(folder: Path, figure: Figure, scale: float, sample: Sample) -> None:
    """Repeat a short job and kill it at each call once; a scale below 1 takes every n-th call."""
    folder.mkdir()
    fresh = Store.make(folder / "fresh", sample=sample, epochs=2, checkpoint={"every_epochs": 1})
    calls = calls_of_a_run(fresh.copy(folder / "counted"), folder / "log")
    places = [Meddled("signal=SIGKILL", *call) for call in calls]
    for place, store, _, status in meddled(fresh, folder, places, scale, Runner.wait):
        if status != -signal.SIGKILL:
            figure.broken.append(f"{place}: the runner was not killed but ended with {status}")
        figure.count("kills at a call")
        figure.broken += [f"{place}: {what}" for what in store.damage()]
