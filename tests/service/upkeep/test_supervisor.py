"""The files of models stay equal to the registry, by a process that runs only if it is needed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import sqlalchemy.event

from models.registry import models
from service.settings import Settings
from service.store.files import FileKind, FileStore
from service.store.tables import TRAINERS
from service.upkeep.supervisor import UpkeepSupervisor
from testing.databases import new_database
from testing.harness import Process, Server, eventually, processes_of
from testing.runs import a_definition
from testing.samples import a_model


def test_models_files_follow(make_server: Callable[..., Server]) -> None:
    server = make_server(WORKERS=1)
    client = server.start_ready()
    client.define(a_model("kept"))
    eventually(lambda: server.files("models") == ["kept.h5"], what="the file of the model")
    assert client.delete("/models/kept").status == 204
    eventually(lambda: server.files("models") == [], what="the end of the file")


@pytest.mark.processes
def test_models_files_follow_whatever_becomes_of_their_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is started if there is work, started again if it was killed, and ends if there is no work."""
    settings = Settings.read({"TRAINYARD_DATA": str(tmp_path)})
    database, files = new_database(tmp_path), FileStore(tmp_path)
    supervisor = UpkeepSupervisor(settings, database, files)

    def writers() -> list[Process]:
        return [process for process in processes_of(tmp_path) if "upkeep model-files" in process.command]

    def turned(holds: Callable[[], bool], what: str) -> None:
        def turn() -> bool:
            supervisor.turn()
            return holds()

        eventually(turn, what=what)

    def define(name: str) -> None:
        with database.write() as connection:
            models.define_model(connection, a_definition(name=name))

    try:
        define("one")
        turned(lambda: files.ids(FileKind.MODEL) == {"one"}, "the first file")
        os.kill(writers()[0].pid, signal.SIGKILL)
        define("two")
        turned(lambda: files.ids(FileKind.MODEL) == {"one", "two"}, "the second file")
        assert len(writers()) == 1
        monkeypatch.setattr("service.upkeep.supervisor.LINGER_SECONDS", 0.0)
        turned(lambda: not writers(), "the writer has left")
        with database.write() as connection:
            models.delete_model(connection, "two")
        turned(lambda: files.ids(FileKind.MODEL) == {"one"}, "the deletion of the second file")
    finally:
        supervisor.stop()
        database.dispose()
    assert not processes_of(tmp_path)


@pytest.mark.processes
def test_the_last_change_is_written_before_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that is too new for a writer to have been started."""
    settings = Settings.read({"TRAINYARD_DATA": str(tmp_path)})
    database, files = new_database(tmp_path), FileStore(tmp_path)
    monkeypatch.setattr("service.upkeep.supervisor.DELAY_SECONDS", 3600.0)
    supervisor = UpkeepSupervisor(settings, database, files)
    with database.write() as connection:
        models.define_model(connection, a_definition(name="last"))
    supervisor.turn()
    assert not processes_of(tmp_path)
    supervisor.stop()
    database.dispose()
    assert files.ids(FileKind.MODEL) == {"last"}
    assert not processes_of(tmp_path)


@pytest.mark.processes
def test_models_are_read_again_only_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.read({"TRAINYARD_DATA": str(tmp_path)})
    database, files = new_database(tmp_path), FileStore(tmp_path)
    monkeypatch.setattr("service.upkeep.supervisor.DELAY_SECONDS", 0.0)
    with database.write() as connection:
        models.define_model(connection, a_definition(name="one"))
    supervisor = UpkeepSupervisor(settings, database, files)
    selects: list[str] = []

    def note(_connection: sa.Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        selects.append(statement)

    def quiet() -> bool:
        selects.clear()
        supervisor.turn()
        return not selects

    def settled(*names: str) -> bool:
        return quiet() and files.ids(FileKind.MODEL) == {*names}

    sqlalchemy.event.listen(database.engine, "before_cursor_execute", note)
    try:
        eventually(lambda: settled("one"), what="the first file")
        assert all(quiet() for _ in range(5))
        with database.write() as connection:
            models.define_model(connection, a_definition(name="two"))
        assert not quiet()
        eventually(lambda: settled("one", "two"), what="the second file")
        assert all(quiet() for _ in range(5))
        with database.changes.write() as connection:
            connection.execute(sa.delete(TRAINERS))  # what a trainer writes of itself
        assert quiet()
    finally:
        supervisor.stop()
        database.dispose()
