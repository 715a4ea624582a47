"""The right to use answers again, on a real PostgreSQL server: never beyond a change, and beyond a failure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic

import pytest
import sqlalchemy as sa

from models.registry.models import define_model
from models.registry.versions import publish, set_alias
from service.settings import Settings
from service.store.cache_lease import PATIENCE_SECONDS, RETURN_SECONDS, TERM_SECONDS
from service.store.database import Database
from service.store.tables import EVENTS
from testing.harness import ROOT, eventually
from testing.postgresql import PostgreSQL, postgresql
from testing.runs import a_definition

pytestmark = pytest.mark.processes

ASKED = {"owner": "local", "model": "m", "alias": "best"}


def settings(url: str, folder: Path) -> Settings:
    return Settings.read({"TRAINYARD_DATA": str(folder), "TRAINYARD_DATABASE_URL": url})


@pytest.fixture
def url(postgresql_server: PostgreSQL) -> Iterator[str]:
    """A database with a model of two versions and an alias."""
    with postgresql_server.database() as made:
        yield made


@pytest.fixture
def connect(url: str, tmp_path: Path) -> Iterator[Callable[[], Database]]:
    """Makes databases, each as another process has it."""
    made: list[Database] = []

    def make() -> Database:
        made.append(Database(settings(url, tmp_path / f"machine-{len(made)}")))
        return made[-1]

    first = make()
    first.migrate()
    with first.write() as connection:
        define_model(connection, a_definition(name="m"))
        for number in (1, 2):
            publish(connection, "m", "j", f"ckpt_{number}", "{}")
        set_alias(connection, "m", "best", 1)
    yield make
    for one in made:
        one.dispose()


def move(database: Database, version: int) -> None:
    with database.write() as connection:
        set_alias(connection, "m", "best", version)


def answer(database: Database) -> int:
    row = database.serving_version.first(**ASKED)
    assert row is not None
    return int(row[0])


def keeps(database: Database) -> bool:
    """Whether it has an answer without asking."""
    return database.serving_version.at_once(**ASKED) is not None


def until_kept(database: Database) -> None:
    eventually(lambda: answer(database) and keeps(database), what="a kept answer")


def test_an_answer_is_kept_until_a_change(connect: Callable[[], Database]) -> None:
    writer, reader = connect(), connect()
    until_kept(reader)
    with writer.write() as connection:
        connection.execute(sa.insert(EVENTS).values(job="j", type="log", at="", data="{}"))
    assert keeps(reader), "what is served has not changed"
    move(writer, 2)
    assert answer(reader) == 2
    until_kept(reader)
    assert answer(reader) == 2


def test_no_answer_is_older_than_the_last_change_that_was_made(connect: Callable[[], Database]) -> None:
    """Many readers ask while others write; each answer is what had been committed before, or something later."""
    writers, readers = [connect() for _ in range(2)], [connect() for _ in range(3)]
    with writers[0].write() as connection:
        for number in range(3, 203):
            publish(connection, "m", "j", f"ckpt_{number}", "{}")
    turn, committed, over = threading.Lock(), [2], threading.Event()
    move(writers[0], 2)

    def write(writer: Database) -> None:
        while True:
            with turn:  # Versions only rise, so that "later" can be seen.
                version = committed[0] + 1
                if version > 202:
                    over.set()
                    return
                move(writer, version)
                committed[0] = version

    def read(reader: Database) -> tuple[int, int]:
        asked = kept = 0
        while not over.is_set():
            known = committed[0]
            kept += keeps(reader)
            found = answer(reader)
            assert known <= found <= committed[0] + 1
            asked += 1
        return asked, kept

    with ThreadPoolExecutor(5) as threads:
        reading = [threads.submit(read, reader) for reader in readers]
        for one in [threads.submit(write, writer) for writer in writers]:
            one.result(120)
        counts = [one.result(10) for one in reading]
    assert all(asked > 100 for asked, _ in counts)


HOLDER = """
import sys
from time import monotonic
from service.settings import Settings
from service.store.database import Database
database = Database(Settings.read())
asked = {"owner": "local", "model": "m", "alias": "best"}
while database.serving_version.at_once(**asked) is None:
    database.serving_version.first(**asked)
print("holds", flush=True)
for line in sys.stdin:
    print(database.serving_version.first(**asked)[0], flush=True)
"""


@contextmanager
def holder(url: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that keeps its answer, and says it again for each line."""
    environment = {**os.environ, "TRAINYARD_DATA": str(folder), "TRAINYARD_DATABASE_URL": url}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "holds\n"
        yield process
    finally:
        process.kill()
        process.wait(10)
        process.stdin.close()
        process.stdout.close()


def test_one_that_is_stopped_delays_a_change_and_does_not_outlive_it(
    connect: Callable[[], Database], url: str, tmp_path: Path
) -> None:
    writer = connect()
    with holder(url, tmp_path / "stopped") as stopped:
        assert stopped.stdin is not None
        assert stopped.stdout is not None
        stopped.send_signal(signal.SIGSTOP)
        try:
            began = monotonic()
            move(writer, 2)
            assert TERM_SECONDS < monotonic() - began < PATIENCE_SECONDS + 2.0
            began = monotonic()
            move(writer, 1)
            assert monotonic() - began < PATIENCE_SECONDS, "it has no lock any more"
            move(writer, 2)
        finally:
            stopped.send_signal(signal.SIGCONT)
        stopped.stdin.write("\n")
        stopped.stdin.flush()
        assert stopped.stdout.readline() == "2\n"


def test_one_that_is_killed_delays_nothing(connect: Callable[[], Database], url: str, tmp_path: Path) -> None:
    writer = connect()
    with ExitStack() as stack:
        killed = stack.enter_context(holder(url, tmp_path / "killed"))
        killed.kill()
        killed.wait(10)
        began = monotonic()
        move(writer, 2)
        assert monotonic() - began < PATIENCE_SECONDS


def test_one_that_closes_delays_nothing(connect: Callable[[], Database], url: str, tmp_path: Path) -> None:
    writer, leaving = connect(), Database(settings(url, tmp_path / "leaving"))
    until_kept(leaving)
    leaving.dispose()
    began = monotonic()
    move(writer, 2)
    assert monotonic() - began < PATIENCE_SECONDS


def test_a_session_that_is_ended_is_begun_again(connect: Callable[[], Database], postgresql_server: PostgreSQL) -> None:
    """It is not taken for a database that is away: the answer is right at once."""
    reader = connect()
    for turn in range(10):
        until_kept(reader)
        postgresql_server.cut_connections(str(reader.engine.url.database), wait=True)
        move(connect(), 1 + turn % 2)
        assert answer(reader) == 1 + turn % 2
        assert reader.backend.count.answers()


class TestAServerThatIsAway:
    @pytest.fixture
    def server(self) -> Iterator[PostgreSQL]:
        """A server that nobody else uses."""
        with postgresql(durable=True) as server:
            yield server

    @pytest.fixture
    def url(self, server: PostgreSQL) -> str:
        return server.create("trainyard")

    def test_what_was_known_is_still_answered_and_what_changes_later_too(
        self, server: PostgreSQL, connect: Callable[[], Database]
    ) -> None:
        writer, reader = connect(), connect()
        move(writer, 1)
        until_kept(reader)
        server.kill()
        for _ in range(50):
            assert answer(reader) == 1
        eventually(lambda: not reader.backend.count.answers(), what="the lease's word")
        assert keeps(reader), "so that nobody waits for a server that is away"
        with pytest.raises(sa.exc.OperationalError):
            reader.serving_version.first(owner="local", model="m", alias="unknown")
        server.start()
        move(writer, 2)
        assert answer(reader) == 2
        until_kept(reader)

    def test_one_that_hangs_counts_as_away(self, server: PostgreSQL, connect: Callable[[], Database]) -> None:
        _, reader = connect(), connect()
        until_kept(reader)
        server.pause()
        try:
            eventually(lambda: not reader.backend.count.answers(), what="the lease's word")
            began = monotonic()
            assert answer(reader) == 1
            assert monotonic() - began < 0.5
        finally:
            server.go_on()
        eventually(reader.backend.count.answers, what="the server")
        until_kept(reader)


def test_after_a_lost_connection_a_change_waits_for_the_terms_of_others(
    connect: Callable[[], Database], postgresql_server: PostgreSQL
) -> None:
    """The server may have ended theirs too, and they may not have noticed that yet."""
    writer = connect()
    began = monotonic()
    move(writer, 2)
    assert monotonic() - began < RETURN_SECONDS
    postgresql_server.cut_connections(str(writer.engine.url.database), wait=True)
    began = monotonic()
    move(writer, 1)
    assert monotonic() - began > TERM_SECONDS
    began = monotonic()
    move(writer, 2)
    assert monotonic() - began < RETURN_SECONDS
