"""Members in real processes: the same bits as in this one, and how each end of a process is noticed."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from models.training.local_pool import LocalPool
from models.training.members import (
    Ended,
    Looked,
    MemberFailure,
    MemberLostError,
    MemberPool,
    MemberTask,
    Report,
    Saved,
    Stopped,
)
from nncore.arrays import Array
from service.jobs.members.frames import Incoming, SharedData, send
from service.jobs.members.pool import ProcessPool
from service.processes import python_path, start
from service.settings import Settings
from testing.harness import ROOT, eventually, is_gone
from testing.members import DATA, a_member, carried_out, last_reports, same_state, some_data, some_features
from testing.runs import a_definition

pytestmark = pytest.mark.processes

#: Epochs that no test waits for.
ENDLESS = 10**6

Make = Callable[[int], ProcessPool]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.read({"TRAINYARD_DATA": str(tmp_path)})


@pytest.fixture
def make(settings: Settings) -> Iterator[Make]:
    """Makes pools with the shared data, which are closed after the test."""
    made: list[ProcessPool] = []

    def pool_of(places: int) -> ProcessPool:
        made.append(ProcessPool(settings, places))
        made[-1].share(DATA, some_data())
        return made[-1]

    yield pool_of
    for pool in made:
        pool.close()


def here(task: MemberTask) -> Ended:
    """The end of a member in this process."""
    pool = LocalPool()
    pool.share(DATA, some_data())
    with threadpool_limits(1):
        found = last_reports(carried_out(pool, [task]))[task.number]
    assert isinstance(found, Ended)
    return found


def same_end(one: object, other: Ended) -> bool:
    assert isinstance(one, Ended)
    assert one.held_out is not None
    assert other.held_out is not None
    same = one.held_out.tobytes() == other.held_out.tobytes() and one.stopped_by == other.stopped_by
    return same and same_state(one.checkpoint, other.checkpoint)


def endless(number: int = 1) -> MemberTask:
    return a_member(number, epochs=ENDLESS, early_stopping=None)


def trains(pool: MemberPool, number: int = 1) -> None:
    """Wait until a member has trained some steps."""

    def steps() -> bool:
        return any(isinstance(each, Looked) and each.number == number and each.step for each in pool.reports(0.2))

    eventually(steps, what="a report of steps")


def pids(pool: ProcessPool) -> list[int]:
    """The processes of a pool."""
    return [member.process.pid for member in pool._members]


def pid_of(pool: ProcessPool, number: int) -> int:
    """The process that trains a member."""
    (found,) = [member.process.pid for member in pool._members if member.number == number]
    return found


@pytest.mark.parametrize("places", [1, 2])
def test_the_same_bits_in_any_number_of_processes(make: Make, places: int) -> None:
    tasks = [a_member(number, epochs=20) for number in (1, 2, 3, 4)]
    pool = make(places)
    found = last_reports(carried_out(pool, tasks))
    assert pool.free == places
    assert len(pids(pool)) == places, "a process trains one member after the other"
    for task in tasks:
        assert same_end(found[task.number], here(task))


def test_stopped_at_any_step_it_resumes_to_the_same_bits(make: Make) -> None:
    """Each round stops wherever it is, and the next one goes on in new processes."""
    tasks = {number: a_member(number, epochs=400) for number in (1, 2)}
    pool, left, rounds = make(2), dict(tasks), 0
    ends = {}
    while left:
        for task in left.values():
            pool.start(task)
        pool.reports(0.05)
        before = pids(pool)
        found = last_reports(pool.stop())
        assert found.keys() == left.keys()
        assert all(is_gone(pid) for pid in before)
        assert pool.free == 2
        for number, report in found.items():
            if isinstance(report, Stopped):
                left[number] = replace(tasks[number], resume=report.checkpoint)
            else:
                ends[number] = report
                del left[number]
        rounds += 1
    assert rounds > 1
    for number, task in tasks.items():
        assert same_end(ends[number], here(task))


def test_features_are_sent_as_they_are_kept(make: Make) -> None:
    """Two kinds of data side by side; the process reads the compact rows in the shared memory."""
    pool, local = make(2), LocalPool()
    tasks = [replace(a_member(number, members={"inputs": 9}), data="features") for number in (1, 2, 3)]
    for each in (pool, local):
        each.share("features", some_features())
    found = last_reports(carried_out(pool, [*tasks, a_member(4)]))
    with threadpool_limits(1):
        expected = last_reports(carried_out(local, tasks))
    for number, end in expected.items():
        assert isinstance(end, Ended)
        assert same_end(found[number], end)
    assert same_end(found[4], here(a_member(4)))


def test_a_resumed_state_of_this_process_goes_on_in_another(make: Make) -> None:
    task = a_member(epochs=4)
    whole, pool = here(task), make(1)
    for steps in range(0, whole.checkpoint.state.step, 3):
        local = LocalPool()
        local.share(DATA, some_data())
        local.start(task)
        with threadpool_limits(1):
            for _ in range(steps):
                local.reports(0)
        stopped = last_reports(local.stop())[1]
        found = last_reports(carried_out(pool, [replace(task, resume=stopped.checkpoint)]))[1]
        assert same_end(found, whole)


def test_states_on_request_while_training_goes_on(make: Make) -> None:
    """States are consistent: a run resumed from one ends like one that was not disturbed."""
    task, pool = a_member(epochs=2000), make(1)
    pool.start(task)
    pool.ask_states()
    reports = []
    while pool.free == 0:
        new = pool.reports(0.2)
        reports += new
        if any(isinstance(report, Saved) for report in new):
            pool.ask_states()
    saved = [report.checkpoint for report in reports if isinstance(report, Saved)]
    assert saved
    whole = here(task)
    assert same_end(reports[-1], whole)
    assert same_end(here(replace(task, resume=saved[len(saved) // 2])), whole)


def test_a_request_for_states_that_crosses_the_end_is_no_harm(make: Make) -> None:
    pool = make(1)
    for _ in range(5):
        pool.start(a_member(epochs=1))
        pool.ask_states()
        found = carried_out(pool, [])
        while pool.free == 0:
            found += pool.reports(0.2)
        assert isinstance(found[-1], Ended)


def test_reports_come_in_batches(make: Make) -> None:
    """Each epoch once, and at most one report in 0.2 seconds, beside the last one."""
    reports = carried_out(make(1), [a_member(epochs=4000)])
    looks = [report for report in reports if isinstance(report, Looked)]
    numbers = [record.number for look in looks for record in look.records]
    assert numbers == list(range(1, len(numbers) + 1))
    seconds = sum(record.seconds for look in looks for record in look.records)
    assert len(looks) <= seconds / 0.2 + 2


def test_a_pause_in_a_process(make: Make) -> None:
    pool = make(1)
    task = a_member(epochs=5)
    paused = last_reports(carried_out(pool, [replace(task, pause_at=2)]))[1]
    assert isinstance(paused, Stopped)
    assert paused.checkpoint.state.epoch == 2
    assert same_end(last_reports(carried_out(pool, [replace(task, resume=paused.checkpoint)]))[1], here(task))


def test_a_member_that_raises_is_reported_and_its_process_goes_on(make: Make) -> None:
    pool = make(1)
    before = pids(pool)
    wild = a_member(members={"optimizer": {"type": "sgd", "learning_rate": 1e6}}, epochs=40)
    for task, code in ((wild, "diverged"), (a_member(members={"inputs": 3}), "internal_error")):
        found = last_reports(carried_out(pool, [task]))[1]
        assert isinstance(found, MemberFailure)
        assert found.code == code
    assert same_end(last_reports(carried_out(pool, [a_member()]))[1], here(a_member()))
    assert pids(pool) == before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_killed_member_is_lost_and_the_others_go_on(make: Make, number: signal.Signals) -> None:
    pool = make(2)
    pool.start(endless(1))
    pool.start(a_member(2, epochs=2000))
    os.kill(pid_of(pool, 1), number)
    reports: list[Report] = []
    with pytest.raises(MemberLostError, match=number.name) as caught:
        for_ever(pool, reports)
    assert caught.value.number == 1
    assert caught.value.code == ("crashed" if number is signal.SIGSEGV else "worker_lost")
    assert pool.free >= 1
    while pool.free < 2:
        reports += pool.reports(0.2)
    assert same_end(reports[-1], here(a_member(2, epochs=2000)))
    assert same_end(last_reports(carried_out(pool, [a_member(1)]))[1], here(a_member(1))), "it was replaced"


def for_ever(pool: ProcessPool, found: list[Report]) -> None:
    while True:
        found += pool.reports(0.2)


@pytest.mark.parametrize("how", ["reports", "stop"])
def test_a_member_that_a_signal_has_stopped_is_lost_after_a_lease(settings: Settings, how: str) -> None:
    pool = ProcessPool(replace(settings, lease_seconds=1.0), 1)
    try:
        pool.share(DATA, some_data())
        pool.start(endless())
        trains(pool)
        os.kill(pid_of(pool, 1), signal.SIGSTOP)
        if how == "stop":
            pool.stop()
        with pytest.raises(MemberLostError, match="stopped by a signal"):
            for_ever(pool, [])
        assert pool.free == 1
    finally:
        pool.close()


def test_memory_that_ran_out_is_a_loss(make: Make) -> None:
    """Not a failure: another process, on a better day, may succeed."""
    pool = make(1)
    carried_out(pool, [a_member()])
    (pid,) = pids(pool)
    size = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (size + 2**28, size + 2**28))
    layers = [{"type": "dense", "units": units} for units in (20_000, 20_000, 3)]
    definition = a_definition(layers=[*layers, {"type": "softmax"}])
    pool.start(replace(a_member(), definition=definition))
    with pytest.raises(MemberLostError, match="memory ran out") as caught:
        for_ever(pool, [])
    assert caught.value.code == "out_of_memory"
    assert same_end(last_reports(carried_out(pool, [a_member()]))[1], here(a_member())), "in a new process"


@pytest.mark.parametrize("form", [np.asfortranarray, lambda inputs: inputs[::-1], lambda inputs: inputs.astype(float)])
def test_arrays_of_any_layout_are_shared(settings: Settings, form: Callable[[Array], Array]) -> None:
    data = some_data()
    data = replace(data, inputs=form(np.asarray(data.inputs)))
    pool, local = ProcessPool(settings, 1), LocalPool()
    try:
        ends = []
        for each in (pool, local):
            each.share(DATA, data)
            with threadpool_limits(1):
                ends.append(last_reports(carried_out(each, [a_member()]))[1])
        assert isinstance(ends[1], Ended)
        assert same_end(ends[0], ends[1])
    finally:
        pool.close()


def test_a_process_that_died_while_it_waited_is_replaced(make: Make) -> None:
    pool = make(1)
    (pid,) = pids(pool)
    carried_out(pool, [a_member()])
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: is_gone(pid), what="its end")
    assert same_end(last_reports(carried_out(pool, [a_member()]))[1], here(a_member()))


def test_a_member_that_dies_while_the_pool_stops_is_raised_afterwards(make: Make) -> None:
    pool = make(1)
    pool.start(endless())
    trains(pool)
    (pid,) = pids(pool)
    os.kill(pid, signal.SIGKILL)
    assert last_reports(pool.stop()) == {}
    with pytest.raises(MemberLostError):
        pool.reports(0)
    assert pool.reports(0) == []


def test_no_process_outlives_a_closed_pool(make: Make) -> None:
    pool = make(2)
    pool.start(endless())
    trains(pool)
    before = pids(pool)
    assert len(before) == 2
    pool.close()
    assert all(is_gone(pid) for pid in before)


PARENT = """
import sys
from service.jobs.members.pool import ProcessPool
from service.settings import Settings
from testing.members import DATA, a_member, some_data
pool = ProcessPool(Settings.read(), 3)
pool.share(DATA, some_data())
for number in (1, 2):
    pool.start(a_member(number, epochs=10**6, early_stopping=None))
seen = set()
while seen != {1, 2}:
    seen |= {report.number for report in pool.reports(0.2)}
print(*(member.process.pid for member in pool._members), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_outlives_its_runner(settings: Settings, number: signal.Signals) -> None:
    """Two members that train and one that waits end by themselves after the runner was killed."""
    variables = {**os.environ, **python_path(), **settings.environment()}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], env=variables, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        members = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(members) == 3
        assert not any(is_gone(pid) for pid in members)
        parent.send_signal(number)
        parent.wait()
        eventually(lambda: all(is_gone(pid) for pid in members), what="the end of all members")


def test_data_is_in_memory_once(settings: Settings) -> None:
    """The processes map one memory, which is sent to each of them once; a member adds little to it."""
    rows = 400_000
    data = replace(some_data(), inputs=np.zeros((rows, 20), np.float32), codes=np.arange(rows) % 3, weights=None)
    size = data.inputs.nbytes
    few = a_member(members={"inputs": 20}, epochs=1)
    pool = ProcessPool(settings, 2)
    try:
        pool.share(DATA, data)
        for number in (1, 2, 3, 4):
            pool.start(replace(few, number=number))
            if number % 2 == 0:
                last = carried_out(pool, [])
                while pool.free < 2:
                    last += pool.reports(0.2)
        for pid in pids(pool):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            memory = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("RssAnon", "RssShmem"))}
            maps = Path(f"/proc/{pid}/maps").read_text()
            assert maps.count("memfd:trainyard-members") == 1
            assert int(memory["RssAnon"]) * 1024 < 32e6 + 60e6
            assert int(memory["RssShmem"]) * 1024 <= size + rows * 8 + 2**20
    finally:
        pool.close()


def test_a_member_imports_no_database_and_no_web(settings: Settings) -> None:
    """A process that has carried out a task has imported none of these, so it starts soon and stays small."""
    source = (
        "import sys; from service.cli.main import cli\n"
        "try: cli(['member'])\n"
        "finally: print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    variables = {**os.environ, **python_path(), **settings.environment(), "OPENBLAS_NUM_THREADS": "1"}
    connection, theirs = socket.socketpair()
    with connection, theirs:
        command = [sys.executable, "-c", source]
        with subprocess.Popen(command, env=variables, stdin=theirs, stderr=subprocess.PIPE, cwd=ROOT) as process:
            theirs.close()
            shared = SharedData(DATA, some_data())
            send(connection, shared.frame, shared.descriptor)
            send(connection, a_member())
            shared.close()
            incoming, found = Incoming(), []
            while not (found and isinstance(found[-1], (Ended, MemberFailure))):
                found += incoming.add(connection.recv(2**16))
            assert isinstance(found[-1], Ended)
            connection.shutdown(socket.SHUT_WR)
            assert process.stderr is not None
            imported = process.stderr.read().decode().split()
    assert "numpy" in imported
    assert not {"sqlalchemy", "flask", "duckdb", "h5py", "alembic", "orjson"} & set(imported)


def test_frames_come_in_pieces_of_any_size() -> None:
    reports = [Looked(1, [], 3), MemberFailure(2, "diverged", "x" * 1000), Looked(3, [], 0)]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for report in reports:
            send(theirs, report)
        content = ours.recv(2**16)
    for size in (1, 7, 8, 9, 100, len(content)):
        incoming = Incoming()
        pieces = [content[start : start + size] for start in range(0, len(content), size)]
        assert [value for piece in pieces for value in incoming.add(piece)] == reports


def test_a_process_without_a_runner_ends(settings: Settings) -> None:
    process = start(settings, "member", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process.wait(timeout=60)
