"""The history of a job, as pages and as a stream of lines."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from models.registry import models
from nncore.training import Epoch
from reliability.lives import make_job
from service.jobs.events import EpochEvent, TroubleEvent, add_events
from service.jobs.record import JobError
from service.settings import Settings
from service.web.app import create_app
from service.web.context import Context
from service.web.pagination import MAXIMUM_EPOCHS
from service.web.routes.history import EPOCHS_AT_ONCE, NDJSON
from testing.harness import Client, eventually
from testing.runs import a_definition
from testing.samples import a_model, a_training, fresh
from tests.service.conftest import Trained

#: More than a page has at most; no multiple of what a stream reads at a time.
EPOCHS = 2 * MAXIMUM_EPOCHS + 500


def event(epoch: int) -> EpochEvent:
    return EpochEvent(Epoch(epoch, 1.0 / epoch, 0.5, None, None, 0.001, 0.01))


def record(epoch: int) -> dict[str, Any]:
    """What the API shows of the event."""
    validation = {"validation_loss": None, "validation_log_loss": None, "validation_accuracy": None}
    rest = {"learning_rate": 0.001, "seconds": 0.01}
    return {"epoch": epoch, "loss": 1.0 / epoch, "accuracy": 0.5, **validation, **rest}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FlaskClient, Context, str]]:
    """An application with a job of many epochs."""
    data = str(tmp_path_factory.mktemp("history"))
    app = create_app(Settings.read({"TRAINYARD_DATA": data, "TRAINYARD_TRAINER": "external"}))
    context: Context = app.extensions["trainyard"]
    with context.database.write() as connection:
        models.define_model(connection, a_definition())
        job, other = make_job(connection, 1), make_job(connection, 2)
        add_events(connection, job, [event(epoch) for epoch in range(1, EPOCHS + 1)])
        add_events(connection, job, [TroubleEvent(JobError("storage_full", "no epoch"))])
        add_events(connection, other, [event(1)])
    yield app.test_client(), context, f"/jobs/{job}/history"
    context.database.dispose()


def numbers(rows: list[dict[str, Any]]) -> list[int]:
    return [row["epoch"] for row in rows]


class TestPages:
    """Bounded pages in order; without parameters, what a client of a short job has always got."""

    def test_without_parameters(self, client: Client, trained: Trained) -> None:
        answer = client.get(f"/jobs/{trained.jobs[0]['id']}/history")
        assert answer.headers["content-type"] == "application/json"
        assert numbers(answer.json["data"]) == [1, 2, 3, 4, 5]
        assert answer.json["has_more"] is False

    def test_no_page_grows_without_bound(self, parts: tuple[FlaskClient, Context, str]) -> None:
        client, _, path = parts
        first = client.get(path).get_json()
        assert numbers(first["data"]) == list(range(1, MAXIMUM_EPOCHS + 1))
        assert first["has_more"] is True
        assert first["data"][6] == record(7)
        last = client.get(f"{path}?after={2 * MAXIMUM_EPOCHS}").get_json()
        assert numbers(last["data"]) == list(range(2 * MAXIMUM_EPOCHS + 1, EPOCHS + 1))
        assert last["has_more"] is False

    @pytest.mark.parametrize("limit", [3000, 4100, MAXIMUM_EPOCHS])  # 20,500 epochs are five pages of 4,100
    def test_pages_together_are_the_whole(self, parts: tuple[FlaskClient, Context, str], limit: int) -> None:
        client, _, path = parts
        found: list[int] = []
        while True:
            after = found[-1] if found else 0
            page = client.get(f"{path}?limit={limit}&after={after}").get_json()
            assert 0 < len(page["data"]) <= limit
            found += numbers(page["data"])
            if not page["has_more"]:
                break
        assert found == list(range(1, EPOCHS + 1))

    def test_after_the_last(self, parts: tuple[FlaskClient, Context, str]) -> None:
        client, _, path = parts
        for after in (EPOCHS, 10**18 - 1):
            assert client.get(f"{path}?after={after}").get_json() == {"data": [], "has_more": False}

    @pytest.mark.parametrize(
        ("query", "pointer"),
        [
            ("limit=0", "/limit"),
            (f"limit={MAXIMUM_EPOCHS + 1}", "/limit"),
            ("limit=all", "/limit"),
            ("after=-1", "/after"),
            ("after=job_1", "/after"),
            ("points=3", "/points"),
        ],
    )
    @pytest.mark.parametrize("accept", ["application/json", NDJSON])
    def test_refusals(self, parts: tuple[FlaskClient, Context, str], query: str, pointer: str, accept: str) -> None:
        client, _, path = parts
        answer = client.get(f"{path}?{query}", headers={"Accept": accept})
        assert answer.status_code == 422
        assert [one["pointer"] for one in answer.get_json()["errors"]] == [pointer]


class TestStream:
    """All epochs as lines of JSON, few of them in memory at a time."""

    def lines(self, client: FlaskClient, path: str) -> list[dict[str, Any]]:
        answer = client.get(path, headers={"Accept": NDJSON}, buffered=True)
        assert (answer.status_code, answer.content_type) == (200, NDJSON)
        assert answer.text.endswith("\n") or not answer.text
        return [json.loads(line) for line in answer.text.splitlines()]

    def test_it_has_every_epoch(self, parts: tuple[FlaskClient, Context, str]) -> None:
        client, _, path = parts
        assert self.lines(client, path) == [record(epoch) for epoch in range(1, EPOCHS + 1)]

    @pytest.mark.parametrize("limit", [1, EPOCHS_AT_ONCE, EPOCHS_AT_ONCE + 1, MAXIMUM_EPOCHS])
    def test_a_part(self, parts: tuple[FlaskClient, Context, str], limit: int) -> None:
        client, _, path = parts
        found = numbers(self.lines(client, f"{path}?after=250&limit={limit}"))
        assert found == list(range(251, 251 + limit))
        assert self.lines(client, f"{path}?after={EPOCHS}&limit={limit}") == []

    def test_memory_is_bounded(self, parts: tuple[FlaskClient, Context, str]) -> None:
        client, _, path = parts

        def peak(query: str) -> int:
            tracemalloc.start()
            try:
                with client.get(f"{path}?{query}", headers={"Accept": NDJSON}) as answer:
                    for _ in answer.response:
                        pass
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

        peak("limit=1")
        assert peak("") < 1.25 * peak(f"limit={2 * EPOCHS_AT_ONCE}")

    def test_an_unknown_job_is_a_problem(self, client: Client) -> None:
        answer = client.get("/jobs/job_none/history", headers={"Accept": NDJSON})
        assert (answer.status, answer.json["code"]) == (404, "not_found")

    @pytest.mark.parametrize(
        "accept", ["*/*", "application/json", f"application/json, {NDJSON}", "text/html, */*;q=0.1"]
    )
    def test_json_is_the_default(self, client: Client, trained: Trained, accept: str) -> None:
        answer = client.get(f"/jobs/{trained.jobs[0]['id']}/history", headers={"Accept": accept})
        assert answer.headers["content-type"] == "application/json"

    def test_of_a_running_job(self, client: Client) -> None:
        """It ends, and has the epochs so far."""
        name = client.define(a_model(fresh("streamed")))["name"]
        job = client.train(a_training(name, epochs=10**6))["id"]
        try:
            client.until_epoch(job, 1)

            def several() -> list[int]:
                answer = client.get(f"/jobs/{job}/history", headers={"Accept": NDJSON})
                found = [json.loads(line)["epoch"] for line in answer.body.splitlines()]
                return found if len(found) > 2 else []

            found = eventually(several, what="three epochs")
        finally:
            client.post(f"/jobs/{job}/cancel")
            client.wait(job)
        assert found[:1000] == list(range(1, len(found[:1000]) + 1))
        assert found == sorted(set(found))


def test_both_forms_are_described(client: Client) -> None:
    operation = client.get("/openapi.json").json["paths"]["/jobs/{job_id}/history"]["get"]
    parameters = {one["name"]: one for one in operation["parameters"] if one.get("in") == "query"}
    assert parameters.keys() == {"limit", "after", "member"}
    assert parameters["limit"]["schema"]["maximum"] == MAXIMUM_EPOCHS
    content = operation["responses"]["200"]["content"]
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/History"}
    assert content[NDJSON]["schema"] == {"$ref": "#/components/schemas/Epoch"}
