"""Clients from package registries, each in an environment of its own, get the answers that our own client gets.

The tests with a client are in ``programs/use_CLIENT.py``. They run once in its environment; each is a test here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import pytest

from testing.harness import Server
from tests.clients.environments import CLIENTS, Outcome, cases, outcomes, python_of


@pytest.fixture(scope="module")
def outcomes_of(served: Server, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Mapping[str, Outcome]]:
    """The outcomes of all tests with a client; those of one client run together and once."""
    return cache(lambda client: outcomes(client, served.client.base, tmp_path_factory.mktemp(client)))


@pytest.mark.processes
@pytest.mark.parametrize(("client", "case"), [(client, case) for client in CLIENTS for case in cases(client)])
def test_client(client: str, case: str, outcomes_of: Callable[[str], Mapping[str, Outcome]]) -> None:
    """Each test of a client's program passes in that client's environment."""
    if not python_of(client).exists():
        pytest.skip(f"make clients makes the environment {client}")
    failure = outcomes_of(client)[case].failure
    if failure:
        pytest.fail(failure, pytrace=False)


def test_every_environment_has_tests() -> None:
    assert {client: len(cases(client)) for client in CLIENTS if not cases(client)} == {}
