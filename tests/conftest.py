"""Fixtures for all tests: the server that most of them share, databases, and the data they train on."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings

from models.registry.models import define_model
from service.store.database import Database
from testing.databases import drop_databases, new_database, use_postgresql, uses_postgresql
from testing.harness import ROOT, Client, Server, serving
from testing.postgresql import PostgreSQL, postgresql
from testing.runs import a_definition

# Tests share few cores with servers, so times of single examples vary too much for a deadline.
settings.register_profile("trainyard", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("trainyard")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--database postgresql`` has all tests use a PostgreSQL server, which they start, instead of SQLite."""
    parser.addoption("--database", choices=("sqlite", "postgresql"), default="sqlite")


@pytest.fixture(scope="session", autouse=True)
def _databases(request: pytest.FixtureRequest) -> Iterator[None]:
    """The kind of database that the tests use."""
    if request.config.getoption("--database") == "sqlite":
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        use_postgresql(request.getfixturevalue("postgresql_server"), patch)
        yield


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQL]:
    """A PostgreSQL server for tests that leave it running."""
    closed, _guard.closed = _guard.closed, False
    with postgresql() as server:
        _guard.closed = closed
        yield server


@pytest.fixture(autouse=True)
def _drop_databases(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave no database of a test in a server."""
    folder = request.getfixturevalue("tmp_path") if uses_postgresql() else None
    yield
    if folder is not None:
        drop_databases(folder)


#: Fixtures that start processes.
SERVERS = {"server", "make_server", "browser", "postgresql_server"}
#: What Python reports when a process starts another one.
STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use a server, which ``make quick`` leaves out, and those that use a browser.

    Files with such tests come first. They take long, and a long file at the end would occupy one of several workers
    while the others have nothing left to do.
    """
    on_postgresql = items and items[0].config.getoption("--database") == "postgresql"
    for item in items:
        if on_postgresql and item.get_closest_marker("sqlite") is not None:
            item.add_marker(pytest.mark.skip(reason="this is about SQLite"))
        if SERVERS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("processes")
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("console")
    long = {item.path for item in items if item.get_closest_marker("processes") is not None}
    items.sort(key=lambda item: item.path not in long)


class _Guard:
    """Lets no process start while a test runs that is not marked."""

    closed = False

    def __call__(self, event: str, _arguments: tuple[object, ...]) -> None:
        if self.closed and event in STARTS:
            raise RuntimeError(f"{event}: mark a test that starts a process with pytest.mark.processes")


_guard = _Guard()
sys.addaudithook(_guard)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Keep the guard closed during a test that is not marked, and while its fixtures are made."""
    _guard.closed = item.get_closest_marker("processes") is None
    try:
        return (yield)
    finally:
        _guard.closed = False


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A shared server for tests that do not change its state."""
    data = tmp_path_factory.mktemp("shared") / "data"
    data.mkdir()  # so that the service makes its database here by itself
    with serving(data) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Client:
    """A client of the shared server."""
    return server.client


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Creates servers, not yet started, that are stopped after the test.

    They have one worker unless the test asks for several: each takes more than a second of processor time to start.
    """
    made: list[Server] = []

    def make(name: str = "data", **options: object) -> Server:
        made.append(Server(tmp_path / name, **{"WORKERS": 1, **options}))
        return made[-1]

    try:
        yield make
    finally:
        for running in made:
            running.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A new database with one model, that of ``a_definition``."""
    made = new_database(tmp_path)
    with made.write() as connection:
        define_model(connection, a_definition())
    yield made
    made.dispose()


@pytest.fixture
def connection(database: Database) -> Iterator[sa.Connection]:
    """A transaction that may write to ``database``."""
    with database.write() as opened:
        yield opened


@pytest.fixture(scope="session")
def digits_csv() -> bytes:
    """1,797 handwritten digits of 8 × 8 pixels with their names as labels, as the example has them."""
    example = ROOT / "examples" / "digits.csv"
    if example.exists():
        return example.read_bytes()
    from sklearn.datasets import load_digits

    images = load_digits()
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*(f"pixel_{index}" for index in range(64)), "label"])
    for pixels, target in zip(images.data.astype(int).tolist(), images.target.tolist(), strict=True):
        writer.writerow([*pixels, names[target]])
    return text.getvalue().encode()
