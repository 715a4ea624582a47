"""Fixtures for tests of the command line: it runs in a process of its own, against a real service."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from testing.harness import ROOT, Client, Server
from testing.samples import fresh
from tests.trainyard.conftest import iris_like

#: The command as a program that Ctrl-C reaches, also if the tests run where it does not: in the background of a shell.
PROGRAM = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from trainyard.cli.main import main; main(prog_name='trainyard')"
)
Done = subprocess.CompletedProcess[str]


def environment(url: str, **variables: str) -> dict[str, str]:
    """The variables of a user's shell: none of Trainyard's but the address of the service.

    COLUMNS and LINES, which some shells and runners of tests export, would stand for the size of a terminal.
    """
    others = ("NO_COLOR", "DISPLAY", "WAYLAND_DISPLAY", "COLUMNS", "LINES")
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith("TRAINYARD_") and name not in others
    }
    own = {"TRAINYARD_URL": url, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "PYTHONUTF8": "1"}
    return {**clean, **own, **variables}


class Shell(NamedTuple):
    """A folder, and the address of a service in the environment."""

    folder: Path
    url: str

    @property
    def client(self) -> Client:
        """What asks the service without the command line."""
        return Client(self.url)

    def __call__(
        self, *words: str | Path, stdin: str | None = None, variables: Mapping[str, str] | None = None
    ) -> Done:
        """``trainyard …``, and what it printed."""
        return self.run(sys.executable, "-m", "trainyard", *words, stdin=stdin, variables=variables)

    def run(self, *words: str | Path, stdin: str | None = None, variables: Mapping[str, str] | None = None) -> Done:
        """Any program in the same place."""
        return subprocess.run(
            words,
            cwd=self.folder,
            env=environment(self.url, **(variables or {})),
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def sh(self, line: str) -> Done:
        """A line of shell."""
        return self.run("sh", "-c", line)


@pytest.fixture
def shell(server: Server, tmp_path: Path) -> Shell:
    """A folder with a file of flowers, beside the shared server."""
    (tmp_path / "flowers.csv").write_text(iris_like())
    return Shell(tmp_path, server.client.base)


@pytest.fixture
def beside(make_server: Callable[..., Server], tmp_path: Path) -> Callable[..., Shell]:
    """Starts a server of the test's own, and is beside it."""

    def start(**settings: Any) -> Shell:
        server = make_server(**settings)
        server.start_ready()
        (tmp_path / "flowers.csv").write_text(iris_like())
        return Shell(tmp_path, server.client.base)

    return start


class Made(NamedTuple):
    """A model of two versions, its dataset, and the jobs that made the versions, the oldest first."""

    model: str
    dataset: str
    jobs: list[str]


@pytest.fixture(scope="session")
def made(server: Server) -> Made:
    """On the shared server, to be read only."""
    client, name = server.client, fresh("cli")
    answer = client.post(
        f"/datasets?name={name}&label=kind", iris_like().encode(), headers={"Content-Type": "text/csv"}
    )
    assert answer.status == 201, answer
    jobs: list[str] = []
    for units in (4, 8):
        request = {
            "data": {"dataset": name},
            "model": {"name": name, "hidden": [units]},
            "epochs": 30,
            "validation": 0.2,
            "publish": "best",
            "optimizer": {"type": "adam", "learning_rate": 0.05},
        }
        jobs.append(client.train(request)["id"])
        client.until_state(jobs[-1], "succeeded", timeout=300.0)
    return Made(name, name, jobs)
