"""A PostgreSQL server of Debian's packages, in a temporary directory, run by a user that is not root."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

import psycopg

from benchmarks.servers import free_port

__all__ = ["PostgreSQL", "postgresql"]

#: Where Debian has the programs of each release.
_PLACE = Path("/usr/lib/postgresql")
#: Without flushing to the disk, unless what a kill leaves is looked at.
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class PostgreSQL:
    """A server with databases. ``durable`` says that it flushes what it commits, as one in use does."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.folder, self.port = folder, free_port()
        releases = sorted(_PLACE.glob("*/bin"), key=lambda path: float(path.parent.name))
        assert releases, "make test installs PostgreSQL"
        self._programs = releases[-1]
        self._user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        if self._user is not None:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)
        self._run("initdb", "--pgdata", self._data, "--auth=trust", "--username=trainyard", "--no-sync")
        options = {"max_connections": "200", "listen_addresses": "127.0.0.1", "unix_socket_directories": str(folder)}
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in options.items())
            file.writelines(f"{line}\n" for line in (() if durable else _FAST))
        self._server: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _as_user(self) -> dict[str, object]:
        if self._user is None:
            return {"cwd": self.folder}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": [], "cwd": self.folder}

    def _run(self, program: str, *arguments: str | Path) -> None:
        subprocess.run(
            [self._programs / program, *arguments],
            check=True,
            capture_output=True,
            **self._as_user(),  # type: ignore[call-overload]
        )

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        until = monotonic() + 60.0
        while not self._answers():
            assert monotonic() < until, (self.folder / "log").read_text()[-2000:]
            # It ends while processes of a first one that was killed have not noticed that yet.
            if self._server is None or self._server.poll() is not None:
                self._begin()
            sleep(0.02)

    def _begin(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, "-p", str(self.port)],
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._as_user(),  # type: ignore[call-overload]
            )

    def _answers(self) -> bool:
        try:
            self.connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def connect(self, database: str) -> psycopg.Connection:
        """A connection without transactions."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="trainyard", dbname=database, autocommit=True, connect_timeout=5
        )

    def url(self, database: str) -> str:
        """The URL of a database for SQLAlchemy."""
        return f"postgresql+psycopg://trainyard@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement; the rows, if it returns any."""
        with self.connect(database) as connection:
            found = connection.execute(statement)  # type: ignore[call-overload]
            return found.fetchall() if found.description else []

    def create(self, name: str, template: str = "template0") -> str:
        """A new database, and its URL."""
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a new database, for the time of a with-block."""
        name = f"one_{secrets.token_hex(8)}"
        try:
            yield self.create(name)
        finally:
            self.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def has(self, name: str) -> bool:
        """Whether there is a database."""
        return bool(self.execute(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"))

    def cut_connections(self, database: str, *, wait: bool = False) -> int:
        """End all sessions of a database, as a fail-over does; how many. ``wait`` for their ends."""
        limit = ", 10000" if wait else ""
        sessions = f"SELECT pg_terminate_backend(pid{limit}) FROM pg_stat_activity WHERE datname = '{database}'"
        return len(self.execute(sessions))

    def _processes(self) -> list[int]:
        """Its processes: the first one, and one for each session and for other work, each of its own group."""
        assert self._server is not None
        first = self._server.pid
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [first, *map(int, children)]

    def _signal(self, number: int) -> None:
        for process in self._processes():
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def kill(self) -> None:
        """``kill -9`` to all its processes."""
        assert self._server is not None
        self._signal(signal.SIGKILL)
        self._server.wait(30)

    def kill_postmaster(self) -> None:
        """``kill -9`` to its first process alone; the others notice it and end."""
        assert self._server is not None
        self._server.kill()
        self._server.wait(30)

    def pause(self) -> None:
        """Stop all its processes by a signal: it neither answers nor ends connections."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End a pause."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Stop; sessions are ended."""
        assert self._server is not None
        if self._server.poll() is None:
            self._server.send_signal(signal.SIGINT)
            self._server.wait(60)

    def close(self) -> None:
        """Stop, and delete everything."""
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def postgresql(*, durable: bool = False) -> Iterator[PostgreSQL]:
    """A server for the time of a with-block."""
    folder = Path(tempfile.mkdtemp(prefix="trainyard-postgresql-"))
    server = PostgreSQL(folder, durable=durable)
    try:
        yield server
    finally:
        server.close()
