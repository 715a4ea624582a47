"""Fixtures for tests of the client."""

from __future__ import annotations

from pathlib import Path

import pytest

from testing.harness import Server
from testing.samples import fresh
from trainyard import Job, Trainyard


def iris_like() -> str:
    """Ninety flowers of three kinds that two of their four sizes tell apart."""
    rows = ["long,wide,tall,deep,kind"]
    for number in range(90):
        kind = number % 3
        rows.append(f"{1 + number % 7},{kind * 2 + (number % 5) / 10},{number % 11},{kind * 3 + (number % 4) / 10},")
        rows[-1] += ("setosa", "versicolor", "virginica")[kind]
    return "\n".join(rows) + "\n"


@pytest.fixture(scope="session")
def ty(server: Server) -> Trainyard:
    """A client of the shared server."""
    return Trainyard(server.client.base)


@pytest.fixture(scope="session")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file."""
    path = tmp_path_factory.mktemp("files") / "flowers.csv"
    path.write_text(iris_like())
    return path


@pytest.fixture(scope="session")
def trained_flowers(ty: Trainyard, flowers: Path) -> Job:
    """A job that has trained a single network on the file, to be read only."""
    name = fresh("flowers")
    rate = {"type": "adam", "learning_rate": 0.05}
    return ty.train(
        flowers, label="kind", name=name, hidden=[8], epochs=30, seed=1, held_out=0.2, optimizer=rate
    ).wait()
