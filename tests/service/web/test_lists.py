"""All lists: however many entries a page has, the database is asked the same few questions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
import sqlalchemy.event
from flask.testing import FlaskClient

from service.settings import Settings
from service.web.app import create_app
from service.web.context import Context
from testing.harness import Server
from testing.samples import DATA, a_model, fresh
from tests.service.conftest import Trained

LISTS = (
    "/models",
    "/models/{name}/versions",
    "/models/{name}/aliases",
    "/models/{name}/checkpoints",
    "/datasets",
    "/jobs",
    "/jobs/{job}/events",
    "/jobs/{job}/checkpoints",
    "/jobs/{job}/history",
    "/events",
)


@pytest.fixture(scope="module")
def asked(server: Server, trained: Trained) -> Iterator[tuple[FlaskClient, list[str]]]:
    """An application on the data of the shared server, and every statement that it runs."""
    for number in (1, 2):
        assert server.client.put(f"/models/{trained.name}/aliases/alias-{number}", {"version": 1}).status == 200
        assert server.client.post("/datasets", {"name": fresh("listed"), **DATA}).status == 201
        server.client.define(a_model(fresh("listed")))
    app = create_app(Settings.read({"TRAINYARD_DATA": str(server.data), "TRAINYARD_TRAINER": "external"}))
    context: Context = app.extensions["trainyard"]
    statements: list[str] = []

    def note(_connection: sa.Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    sqlalchemy.event.listen(context.database.engine, "before_cursor_execute", note)
    yield app.test_client(), statements
    context.database.dispose()


@pytest.mark.parametrize(
    ("path", "query"), [*((path, {}) for path in LISTS), ("/models", {"fields": "name,metrics,job", "prefix": "l"})]
)
def test_statements(asked: tuple[FlaskClient, list[str]], trained: Trained, path: str, query: dict[str, str]) -> None:
    client, statements = asked
    path = path.format(name=trained.name, job=trained.jobs[0]["id"])

    def statements_of(limit: int) -> tuple[int, list[str]]:
        statements.clear()
        page = client.get(path, query_string={"limit": limit, **query}).get_json()
        # Some ask about all entries of the page.
        selects = [re.sub(r"\(\?(, \?)*\)", "(?…)", each) for each in statements if each.startswith("SELECT")]
        return len(page["data"]), selects

    (few, one), (many, all_of_them) = statements_of(1), statements_of(100)
    assert few == 1 < many
    assert one == all_of_them
    assert 1 <= len(one) <= 3
