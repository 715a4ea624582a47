"""SQLite: durable commits, one writer at a time, a safe journal, a local disk."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from service import mounts
from service.mounts import Mount, mount_of, network_mount_of
from service.settings import Settings, SettingsError
from service.store.database import Database
from service.store.sqlite import JOURNAL_MODE, SYNCHRONOUS
from service.store.tables import EVENTS
from testing.harness import ROOT, Server

pytestmark = pytest.mark.sqlite


def migrated(folder: Path) -> Database:
    database = Database(Settings.read({"TRAINYARD_DATA": str(folder)}))
    database.migrate()
    return database


def run(script: str, data: Path, *arguments: str) -> subprocess.Popen[str]:
    """A separate Python process over a data directory."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, *arguments],
        cwd=ROOT,
        env={**os.environ, "TRAINYARD_DATA": str(data)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    return out.strip()


class TestConnection:
    """The live connections, each of the three kinds."""

    @pytest.mark.parametrize("kind", ["read", "write", "fast"])
    def test_its_pragmas(self, tmp_path: Path, kind: str) -> None:
        database = migrated(tmp_path)
        wanted = {
            "synchronous": {"FULL": 2, "EXTRA": 3}[SYNCHRONOUS],
            "busy_timeout": 10_000,
            "journal_mode": JOURNAL_MODE.lower(),
        }
        if kind == "fast":
            connection = database.engine.raw_connection()
            found = {name: connection.cursor().execute(f"PRAGMA {name}").fetchone()[0] for name in wanted}
            connection.close()
        else:
            with getattr(database, kind)() as connection:
                found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted}
        assert found == wanted
        database.dispose()

    def test_a_write_has_the_right_to_write_from_its_begin_on(self, tmp_path: Path) -> None:
        """Another writer must wait even before the first write, but a reader need not."""
        database = migrated(tmp_path)
        with contextlib.closing(sqlite3.connect(tmp_path / "trainyard.db", timeout=0, isolation_level=None)) as other:
            with database.write():
                with pytest.raises(sqlite3.OperationalError, match="locked"):
                    other.execute("BEGIN IMMEDIATE")
                assert other.execute("SELECT count(*) FROM events").fetchone() == (0,)
            other.execute("BEGIN IMMEDIATE")
        database.dispose()

    def test_a_read_cannot_write(self, tmp_path: Path) -> None:
        """So every write is in such a transaction; the same connection may write afterwards."""
        database = migrated(tmp_path)
        row = {"job": "j", "type": "log", "at": "", "data": "{}"}
        with database.read() as connection, pytest.raises(sa.exc.OperationalError, match="readonly"):
            connection.execute(sa.insert(EVENTS).values(**row))
        with database.write() as connection:
            connection.execute(sa.insert(EVENTS).values(**row))
        with database.read() as connection:
            assert connection.scalar(sa.select(sa.func.count()).select_from(EVENTS)) == 1
        database.dispose()


COUNT_UP = """
import sys
import sqlalchemy as sa
from service.store.database import Database
from service.store.tables import EVENTS
from service.settings import Settings

database = Database(Settings.read())
for _ in range(int(sys.argv[1])):
    with database.write() as connection:
        count = connection.scalar(sa.select(sa.func.count()).select_from(EVENTS))
        row = {"job": "j", "type": "epoch", "epoch": count, "at": "", "data": "{}"}
        connection.execute(sa.insert(EVENTS).values(**row))
"""


@pytest.mark.processes
def test_processes_that_read_and_then_write_wait_for_each_other(tmp_path: Path) -> None:
    """None fails, and none sees uncommitted changes of another; epochs of a job are unique."""
    database = migrated(tmp_path)
    for process in [run(COUNT_UP, tmp_path, "40") for _ in range(3)]:
        output(process)
    with database.read() as connection:
        assert connection.scalars(sa.select(EVENTS.c.epoch).order_by(EVENTS.c.id)).all() == list(range(120))
    database.dispose()


FORK = """
import os
import sqlalchemy as sa
from service.store.database import Database
from service.store.tables import EVENTS
from service.settings import Settings

database = Database(Settings.read())

def driver_connection_after_a_write():
    with database.write() as connection:
        connection.execute(sa.insert(EVENTS).values(job="j", type="log", at="", data="{}"))
        return id(connection.connection.dbapi_connection)

before = driver_connection_after_a_write()
child = os.fork()
after = driver_connection_after_a_write()
if child == 0:
    os._exit(42 if after != before else 1)
assert after == before
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
"""


@pytest.mark.processes
def test_a_connection_is_not_used_across_a_fork(tmp_path: Path) -> None:
    """As with gunicorn --preload: the child makes its own, and the parent keeps what it has."""
    database = migrated(tmp_path)
    output(run(FORK, tmp_path))
    with database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(EVENTS)) == 3
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    database.dispose()


def test_engines_are_made_after_the_fork(server: Server) -> None:
    """Gunicorn's master has not opened the database; each of its workers has, by itself."""
    assert server.process is not None

    def opened(pid: int) -> list[str]:
        links = [link.readlink() for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()]
        return [link.name for link in links if link.name == "trainyard.db"]

    workers = [one.pid for one in server.processes("gunicorn") if one.parent == server.process.pid]
    assert len(workers) == 2
    assert opened(server.process.pid) == []
    assert all(opened(worker) for worker in workers)


SHOW_MODE = """
import sqlite3, sys
sqlite3.sqlite_version_info = tuple(map(int, sys.argv[1].split(".")))
import sqlalchemy as sa
from service.store.database import Database
from service.store.tables import EVENTS
from service.settings import Settings

database = Database(Settings.read())
database.migrate()
with database.write() as connection:
    connection.execute(sa.insert(EVENTS).values(job="j", type="log", at="", data="{}"))
    print(connection.exec_driver_sql("PRAGMA journal_mode").scalar(), end=" ")
    print(connection.exec_driver_sql("PRAGMA synchronous").scalar(), end=" ")
with database.read() as connection:
    print(connection.scalar(sa.select(sa.func.count()).select_from(EVENTS)))
"""


@pytest.mark.processes
def test_the_journal_is_chosen_by_version_and_converted(tmp_path: Path) -> None:
    """Builds of SQLite use a database in turn, and each finds what the other wrote."""
    reported = [
        output(run(SHOW_MODE, tmp_path, version)) for version in ("3.51.2", "3.51.3", "3.50.6", "3.44.6", "3.40.1")
    ]
    assert reported == ["delete 3 1", "wal 2 2", "delete 3 3", "wal 2 4", "delete 3 5"]
    assert not (tmp_path / "trainyard.db-wal").exists()


@pytest.mark.processes
def test_a_write_ahead_log_that_was_left_behind_is_taken_in(tmp_path: Path) -> None:
    """Killed before it was checkpointed: its rows are there after the conversion."""
    migrated(tmp_path / "first").dispose()
    (tmp_path / "second").mkdir()
    with contextlib.closing(sqlite3.connect(tmp_path / "first" / "trainyard.db")) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        with writer:
            writer.execute("INSERT INTO events (job, type, at, data) VALUES ('j', 'log', '', '{}')")
        for suffix in ("", "-wal"):  # as a kill leaves them
            name = f"trainyard.db{suffix}"
            (tmp_path / "second" / name).write_bytes((tmp_path / "first" / name).read_bytes())
    assert (tmp_path / "second" / "trainyard.db-wal").stat().st_size > 0
    assert output(run(SHOW_MODE, tmp_path / "second", "3.40.1")) == "delete 3 2"


def test_a_journal_that_cannot_be_had_is_reported(tmp_path: Path) -> None:
    """A database in memory has none."""
    database = Database(Settings.read({"TRAINYARD_DATA": str(tmp_path), "TRAINYARD_DATABASE_URL": "sqlite://"}))
    with pytest.raises(SettingsError, match=f"journal mode {JOURNAL_MODE}.*Received: MEMORY"):
        database.migrate()


MOUNTS = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
40 27 0:40 / /srv/nfs rw,relatime shared:1 master:2 - nfs4 server:/export rw,vers=4.2,addr=10.0.0.1
41 40 0:41 / /srv/nfs/local rw,relatime - xfs /dev/vdb rw
42 27 0:42 / /srv/with\040blank rw - cifs //server/share rw
43 27 0:43 / /srv/covered rw - nfs server:/a rw
44 27 0:44 / /srv/covered rw - ext4 /dev/vdc rw
45 27 0:45 / /srv/sshfs rw - fuse.sshfs me@server:/ rw
46 27 0:46 / /srv/ntfs rw - fuseblk /dev/vdd rw
47 27 0:47 / /srv/mergerfs rw - fuse.mergerfs a:b rw
48 27 0:48 / /srv/host rw - 9p share rw,trans=virtio
49 27 0:49 / /srv/lustre rw - lustre 10.0.0.2@tcp:/scratch rw
"""


@pytest.fixture
def table_of_mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of mounts in the place of this machine's."""
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS.lstrip())
    monkeypatch.setattr(mounts, "MOUNTS", table)
    return table


class TestFilesystem:
    """Paths that count as lying on a network filesystem."""

    @pytest.mark.parametrize(
        ("path", "kind", "place"),
        [
            ("/srv/nfs/data/trainyard.db", "nfs4", "/srv/nfs"),
            ("/srv/nfs", "nfs4", "/srv/nfs"),
            ("/srv/with blank/data", "cifs", "/srv/with blank"),
            ("/srv/sshfs/x", "fuse.sshfs", "/srv/sshfs"),
            ("/srv/lustre/x", "lustre", "/srv/lustre"),
        ],
    )
    def test_a_network(self, table_of_mounts: Path, path: str, kind: str, place: str) -> None:
        assert network_mount_of(Path(path)) == Mount(kind, Path(place))

    @pytest.mark.parametrize(
        ("path", "kind"),
        [
            ("/var/lib", "ext4"),
            ("/srv/nfs-but-not", "ext4"),
            ("/srv/nfs/local/x", "xfs"),
            ("/srv/covered/x", "ext4"),
            ("/srv/ntfs/x", "fuseblk"),
            ("/srv/mergerfs/x", "fuse.mergerfs"),
            ("/srv/host/x", "9p"),
        ],
    )
    def test_no_network(self, table_of_mounts: Path, path: str, kind: str) -> None:
        mount = mount_of(Path(path))
        assert mount is not None
        assert mount.type == kind
        assert network_mount_of(Path(path)) is None

    def test_a_link_is_followed(self, table_of_mounts: Path, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to("/srv/nfs")
        assert network_mount_of(tmp_path / "link" / "data") == Mount("nfs4", Path("/srv/nfs"))

    def test_the_table_of_this_machine(self) -> None:
        mount = mount_of(Path("/proc/self/status"))
        assert mount is not None
        assert mount.type == "proc"

    def test_where_the_system_does_not_tell(self, table_of_mounts: Path) -> None:
        table_of_mounts.unlink()
        assert network_mount_of(Path("/srv/nfs")) is None


class TestStart:
    """Refusals at the start."""

    @pytest.mark.parametrize(
        "variables",
        [
            {"TRAINYARD_DATA": "/srv/nfs/data"},
            {"TRAINYARD_DATA": "/tmp", "TRAINYARD_DATABASE_URL": "sqlite:////srv/nfs/data/x.db"},
            {"TRAINYARD_DATA": "/tmp", "TRAINYARD_DATABASE_URL": "sqlite+pysqlite:////srv/nfs/data/x.db?timeout=1"},
        ],
    )
    def test_sqlite_on_a_network(self, table_of_mounts: Path, variables: dict[str, str]) -> None:
        with pytest.raises(SettingsError, match=r"local disk for SQLite.*PostgreSQL.*/srv/nfs is mounted as nfs4"):
            Settings.read(variables).prepare()
        assert not Path("/srv/nfs").exists()

    def test_other_databases_and_places(self, table_of_mounts: Path, tmp_path: Path) -> None:
        table_of_mounts.write_text(table_of_mounts.read_text().replace("/srv/nfs ", f"{tmp_path}/far "))
        url = "postgresql://user@host/name"
        Settings.read({"TRAINYARD_DATA": f"{tmp_path}/far/data", "TRAINYARD_DATABASE_URL": url}).prepare()
        assert (tmp_path / "far" / "data").is_dir()
        Settings.read({"TRAINYARD_DATA": f"{tmp_path}/near"}).prepare()
        url = f"sqlite:///{tmp_path}/near/x.db"
        Settings.read({"TRAINYARD_DATA": f"{tmp_path}/far/data", "TRAINYARD_DATABASE_URL": url}).prepare()

    @pytest.mark.parametrize("command", [["gunicorn", "wsgi:app"], ["service", "trainer"], ["service", "migrate"]])
    def test_the_service_itself(
        self, table_of_mounts: Path, make_server: Callable[..., Server], tmp_path: Path, command: list[str]
    ) -> None:
        """A message and no traceback; nothing was created."""
        table_of_mounts.write_text(table_of_mounts.read_text().replace("/srv/nfs ", f"{tmp_path} "))
        script = (
            "import sys, runpy; from pathlib import Path; import service.mounts;"
            "service.mounts.MOUNTS = Path(sys.argv[1]); sys.argv[1:] = sys.argv[3:];"
            f"runpy.run_module({command[0]!r}, run_name='__main__', alter_sys=True)"
        )
        server = make_server()
        done = server.run_to_end(sys.executable, "-c", script, table_of_mounts, *command)
        assert done.returncode != 0
        assert "must be on a local disk for SQLite" in done.stderr
        assert f"{tmp_path} is mounted as nfs4" in done.stderr
        assert "Traceback" not in done.stderr
        assert not server.data.exists()
