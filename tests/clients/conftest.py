"""A server with a model of each kind, for all clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testing.harness import Server, serving
from testing.samples import ROWS, a_model, a_training

#: Rows of columns of every kind, and whether these people came.
PEOPLE = [
    {
        "age": 20 + number,
        "city": ("Rome", "Oslo")[number % 2],
        "member": number % 3 == 0,
        "came": ("no", "yes")[number % 2],
    }
    for number in range(24)
]


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the models that the clients' tests ask.

    ``tour`` takes two numbers and answers words; its version 1 has the alias ``stable``, version 2 is the default.
    ``digits`` answers whole numbers. ``people`` takes a table.
    """
    settings = {"DEFAULT_MODEL": "tour", "HOSTS": "tour.example.com", "WORKERS": 1}
    with serving(tmp_path_factory.mktemp("clients") / "data", **settings) as running:
        client = running.client
        client.define(a_model("tour"))
        client.run(a_training("tour"))
        client.run(a_training("tour", seed=4))
        assert client.put("/models/tour/aliases/stable", {"version": 1}).status == 200
        digits = {"inputs": ROWS, "labels": [number % 3 for number in range(len(ROWS))]}
        client.run({"model": {"name": "digits", "hidden": [8]}, "data": digits, "epochs": 5})
        people = {"rows": PEOPLE, "label": "came"}
        client.run({"model": {"name": "people", "hidden": [8]}, "data": people, "epochs": 5})
        yield running
