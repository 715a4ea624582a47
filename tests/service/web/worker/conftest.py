"""Servers that the tests of the front door share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.service.web.worker.servers import Gunicorn, gunicorn


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    """One worker with two threads, and the deadlines of production."""
    with gunicorn(tmp_path_factory.mktemp("door") / "place", "--threads", "2", "--keep-alive", "30") as server:
        yield server


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    """One worker with one thread."""
    with gunicorn(tmp_path_factory.mktemp("narrow") / "place", "--threads", "1", "--keep-alive", "30") as server:
        yield server
