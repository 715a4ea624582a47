"""Fixtures for tests of the service."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from flask import Flask

from service.settings import Settings
from service.web.app import create_app
from testing.harness import Server
from testing.samples import a_model, a_training, fresh


class Trained(NamedTuple):
    """A model with three versions and the jobs that made them, the oldest first."""

    name: str
    jobs: list[dict[str, Any]]


@pytest.fixture(scope="session")
def trained(server: Server) -> Trained:
    """On the shared server, to be read only."""
    client = server.client
    name = fresh("trained")
    client.define(a_model(name))
    return Trained(name, [client.run(a_training(name, seed=seed)) for seed in (1, 2, 3)])


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """The application in this process, for tests of its wiring."""
    data = tmp_path_factory.mktemp("app")
    return create_app(Settings.read({"TRAINYARD_DATA": str(data), "TRAINYARD_TRAINER": "external"}))
