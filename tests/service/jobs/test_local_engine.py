"""The local engine over small scripts in place of runners: how each end of a process becomes an outcome."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.jobs.engines import local
from service.jobs.engines.engine import Order, Placement
from service.jobs.engines.local import LocalEngine, LocalPlacement
from service.jobs.outcome import Died, Failed, Finished, Outcome, Stopped, encode
from service.jobs.record import JobError
from service.settings import Settings
from testing.harness import eventually

pytestmark = pytest.mark.processes

ORDER = Order("job_1", 7)
LEASE = 5.0
#: Reads its order, and goes on as a test says.
READ = "import os, sys; order = sys.stdin.buffer.readline();"


def say(outcome: Outcome) -> str:
    return f"os.write(1, {(encode(outcome) + chr(10)).encode()!r});"


UNTIL_THE_END = "sys.stdin.buffer.read();"

Begin = Callable[[str], LocalEngine]


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """An engine whose runners are a script."""
    started: list[subprocess.Popen[bytes]] = []

    def engine_of(script: str) -> LocalEngine:
        def start(_settings: Settings, *_arguments: str, **options: Any) -> subprocess.Popen[bytes]:
            del options["variables"]
            started.append(subprocess.Popen([sys.executable, "-S", "-c", script], **options))
            return started[-1]

        monkeypatch.setattr(local, "start", start)
        settings = {"TRAINYARD_DATA": str(tmp_path), "TRAINYARD_LEASE_SECONDS": str(LEASE)}
        return LocalEngine(Settings.read(settings))

    yield engine_of
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def place(engine: LocalEngine) -> LocalPlacement:
    assert engine.ready()
    return engine.place(ORDER)


def ended(placement: Placement) -> Outcome:
    outcome: Outcome = eventually(placement.outcome, what="an outcome")
    assert placement.outcome() == outcome, "it is returned again if it could not be recorded"
    return outcome


@pytest.mark.parametrize("outcome", [Finished(), Failed("diverged", "in step 3"), Died(JobError("crashed", "x"))])
def test_the_outcome_is_what_the_runner_wrote(begin: Begin, outcome: Outcome) -> None:
    assert ended(place(begin(READ + say(outcome)))) == outcome


def test_a_runner_gets_its_order(begin: Begin) -> None:
    script = READ + f"assert order == {(ORDER.encode() + chr(10)).encode()!r};" + say(Finished())
    assert ended(place(begin(script))) == Finished()


@pytest.mark.parametrize(
    ("script", "code", "detail"),
    [
        ("sys.exit(3)", "worker_lost", "exited with status 3"),
        ("os.kill(os.getpid(), 9)", "worker_lost", "killed by SIGKILL"),
        ("os.kill(os.getpid(), 11)", "crashed", "crashed: SIGSEGV"),
        # Half a line is no outcome.
        ('os.write(1, b\'{"outcome": "finished"\'); os.kill(os.getpid(), 9)', "worker_lost", "killed by SIGKILL"),
    ],
)
def test_an_end_without_an_outcome_has_a_cause(begin: Begin, script: str, code: str, detail: str) -> None:
    assert ended(place(begin(READ + script))) == Died(JobError(code, detail))


def test_an_oom_kill_is_attributed_once(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = begin(READ + "os.kill(os.getpid(), 9)")
    kills = [1, 0]
    monkeypatch.setattr(engine._oom_kills, "since_last", lambda: kills.pop(0))
    first, second = (ended(place(engine)) for _ in range(2))
    assert isinstance(first, Died)
    assert isinstance(second, Died)
    assert (first.cause.code, second.cause.code) == ("out_of_memory", "worker_lost")


def test_a_runner_is_asked_to_stop(begin: Begin) -> None:
    placement = place(begin(READ + UNTIL_THE_END + say(Stopped())))
    assert placement.outcome() is None
    placement.ask_to_stop()
    assert ended(placement) == Stopped()


def test_a_runner_that_does_not_stop_is_killed(begin: Begin) -> None:
    placement = place(begin(READ + "signal = __import__('signal'); signal.pause()"))
    placement.ask_to_stop()
    assert placement.outcome() is None
    placement.kill()
    assert ended(placement) == Died(JobError("worker_lost", "killed by SIGKILL"))


class TestHeldUp:
    """A runner that is stopped by a signal."""

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        now = [0.0]
        monkeypatch.setattr(local, "monotonic", lambda: now[0])
        return now

    def stop(self, placement: LocalPlacement) -> None:
        os.kill(placement.process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, placement.process.pid, os.WSTOPPED | os.WNOWAIT)

    def test_it_is_killed_after_a_lease(self, begin: Begin, clock: list[float]) -> None:
        placement = place(begin(READ + UNTIL_THE_END))
        self.stop(placement)
        assert placement.outcome() is None
        clock[0] = LEASE
        assert placement.outcome() is None
        assert placement.process.poll() is None
        clock[0] = LEASE + 0.1
        assert ended(placement) == Died(local.HELD_UP)

    def test_it_goes_on_if_it_is_continued(self, begin: Begin, clock: list[float]) -> None:
        placement = place(begin(READ + UNTIL_THE_END + say(Stopped())))
        self.stop(placement)
        assert placement.outcome() is None
        os.kill(placement.process.pid, signal.SIGCONT)
        os.waitid(os.P_PID, placement.process.pid, os.WCONTINUED | os.WNOWAIT)
        assert placement.outcome() is None
        clock[0] = 10 * LEASE
        assert placement.outcome() is None
        placement.ask_to_stop()
        assert ended(placement) == Stopped()

    def test_what_it_wrote_before_counts(self, begin: Begin, clock: list[float]) -> None:
        """One that is stopped between its outcome and its end keeps nobody waiting."""
        placement = place(begin(READ + say(Finished()) + "os.kill(os.getpid(), 19)"))
        os.waitid(os.P_PID, placement.process.pid, os.WSTOPPED | os.WNOWAIT)
        assert placement.outcome() is None
        clock[0] = LEASE + 0.1
        assert ended(placement) == Finished()


class TestReady:
    """The runner that waits."""

    def test_one_waits_and_another_one_after_it_was_taken(self, begin: Begin) -> None:
        engine = begin(READ + UNTIL_THE_END)
        first = place(engine)
        second = place(engine)
        assert first.process.pid != second.process.pid
        engine.wait(0.0)
        engine.close()
        assert (first.outcome(), second.outcome()) == (None, None), "placements go on"

    def test_one_that_ends_without_an_order_is_replaced_after_a_pause(
        self, begin: Begin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = [100.0]
        monkeypatch.setattr(local, "monotonic", lambda: now[0])
        engine = begin("import sys; sys.exit(1)")
        assert engine.ready()
        eventually(lambda: not engine.ready(), what="its end is seen")
        now[0] += local.RESTART_SECONDS - 0.1
        assert not engine.ready()
        now[0] += 0.1
        assert engine.ready()

    def test_a_wait_ends_with_a_runner(self, begin: Begin) -> None:
        engine = begin(READ + say(Finished()))
        placement = place(engine)
        while placement.outcome() is None:
            engine.wait(60.0)
        engine.wait(0.0)

    def test_the_one_that_waits_ends_with_the_engine(self, begin: Begin) -> None:
        engine = begin(READ)
        assert engine.ready()
        waiting = engine._waiting
        engine.close()
        assert waiting is not None
        assert waiting.returncode == 0
