"""Locks: held between processes, by real ones, and released however their holder ends."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.store.files import FileStore
from service.store.locks import Lock, Locks, LockTakenError
from testing.harness import ROOT

pytestmark = pytest.mark.processes

HOLD = {
    "shared": "locks.shared(Lock.WRITING)",
    "exclusive": "locks.exclusive(Lock.WRITING)",
    "keyed": "locks.keyed('POST /train', 'a')",
}


@contextmanager
def holder(data: Path, how: str, *, ready: bool = True) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a lock until its standard input ends."""
    code = (
        "import sys, pathlib\nfrom service.store.locks import Lock, Locks\nlocks = Locks(pathlib.Path(sys.argv[1]))\n"
        + ("" if how == "exit" else f"with {how}:\n    print('held', flush=True)\n    sys.stdin.read()\n")
        + ("locks.share_until_exit(Lock.WEB)\nprint('held', flush=True)\nsys.stdin.read()\n" if how == "exit" else "")
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(data)], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            if ready:
                assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_the_files_have_the_names_of_every_release(tmp_path: Path) -> None:
    """A process of an older release may hold one of them."""
    names = ["trainer.lock", "web.lock", "migrate.lock", "writing.lock", "backup.lock", "keeper.lock", "shadows.lock"]
    assert [*Lock] == names
    with Locks(tmp_path).keyed("scope", "key"):
        assert [path.name for path in tmp_path.iterdir()] == ["idempotency.lock"]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None])
@pytest.mark.parametrize("how", ["shared", "exclusive"])
def test_a_lock_goes_with_its_process(tmp_path: Path, how: str, end: signal.Signals | None) -> None:
    locks = Locks(tmp_path)
    assert locks.is_free(Lock.WRITING)
    with holder(tmp_path, HOLD[how]) as process:
        assert not locks.is_free(Lock.WRITING)
        with (
            pytest.raises(LockTakenError, match=r"another process holds .*writing\.lock"),
            locks.exclusive(Lock.WRITING),
        ):
            pass
        assert locks.is_free(Lock.BACKUP)
        if end is None:
            process.communicate()
        else:
            process.send_signal(end)
            process.wait()
        assert locks.is_free(Lock.WRITING)


def can_be_shared(data: Path) -> bool:
    """Whether the system lets this process share the lock now."""
    with (data / Lock.WRITING).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@pytest.mark.parametrize(("how", "shared"), [("shared", True), ("exclusive", False)])
def test_a_shared_lock_is_shared_and_an_exclusive_one_is_not(tmp_path: Path, how: str, shared: bool) -> None:
    with holder(tmp_path, HOLD[how]):
        assert can_be_shared(tmp_path) == shared


@pytest.mark.parametrize(
    ("how", "shared"), [("shared(Lock.WRITING)", True), ("exclusive(Lock.WRITING, wait=True)", False)]
)
def test_who_waits_gets_the_lock_when_its_holder_ends(tmp_path: Path, how: str, shared: bool) -> None:
    with holder(tmp_path, HOLD["exclusive"]) as first, holder(tmp_path, f"locks.{how}", ready=False) as second:
        assert second.stdout is not None
        with ThreadPoolExecutor(1) as reader:
            line = reader.submit(second.stdout.readline)
            assert not line.done()
            first.kill()
            assert line.result(10) == "held\n"
        assert can_be_shared(tmp_path) == shared


def test_a_lock_until_exit_lasts_until_exit(tmp_path: Path) -> None:
    with holder(tmp_path, "exit") as process:
        assert not Locks(tmp_path).is_free(Lock.WEB)
        process.kill()
        process.wait()
        assert Locks(tmp_path).is_free(Lock.WEB)


def test_a_child_inherits_no_lock(tmp_path: Path) -> None:
    """A child that is started while a lock is held, and outlives its holder, does not hold it."""
    locks = Locks(tmp_path)
    with locks.exclusive(Lock.WRITING), locks.keyed("scope", "key"):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert locks.is_free(Lock.WRITING)
        with holder(tmp_path, "locks.keyed('scope', 'key')"):
            pass
    finally:
        child.communicate(b"\n")


class TestKeys:
    """One key, one holder: between processes, threads and ``Locks`` that come and go."""

    def test_between_processes(self, tmp_path: Path) -> None:
        locks = Locks(tmp_path)
        with holder(tmp_path, HOLD["keyed"]) as process:
            with pytest.raises(LockTakenError, match="'a'"), locks.keyed("POST /train", "a"):
                pass
            with locks.keyed("POST /train", "b"), locks.keyed("POST /models", "a"):
                pass
            process.kill()
            process.wait()
            with locks.keyed("POST /train", "a"):
                pass

    def test_between_threads(self, tmp_path: Path) -> None:
        locks = Locks(tmp_path)

        def take() -> str:
            with locks.keyed("scope", "key"):
                return "taken"

        with ThreadPoolExecutor(1) as thread:
            with locks.keyed("scope", "key"), pytest.raises(LockTakenError):
                thread.submit(take).result()
            assert thread.submit(take).result() == "taken"

    def test_a_key_costs_no_descriptor_for_good(self, tmp_path: Path) -> None:
        locks = Locks(tmp_path)
        with locks.keyed("scope", "first"):
            before = len(list(Path("/proc/self/fd").iterdir()))
        for number in range(10):
            with locks.keyed("scope", str(number)):
                assert len(list(Path("/proc/self/fd").iterdir())) == before

    def test_no_other_key_lets_go_of_it(self, tmp_path: Path) -> None:
        """Closing any descriptor of the file would drop all record locks of the process."""
        locks = Locks(tmp_path)
        with locks.keyed("scope", "kept"):
            with locks.keyed("scope", "other"):
                pass
            with Locks(tmp_path).keyed("scope", "third"):
                pass
            FileStore(tmp_path)
            code = (
                "import sys, pathlib\nfrom service.store.locks import Locks, LockTakenError\ntry:\n"
                "    with Locks(pathlib.Path(sys.argv[1])).keyed('scope', 'kept'): print('taken')\n"
                "except LockTakenError: print('refused')"
            )
            done = subprocess.run(
                [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, text=True, stdout=subprocess.PIPE
            )
            assert done.stdout == "refused\n"
