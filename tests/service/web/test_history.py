"""The history of a job, as pages and as a stream of lines."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from models.registry import models
from nncore.training import Epoch
from reliability.lives import make_job
from service.jobs.events import EpochEvent, HistoryPlace, TroubleEvent, add_events
from service.jobs.record import JobError
from service.jobs.thinned_history import thinned
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
            ("points=1", "/points"),
            (f"points={MAXIMUM_EPOCHS + 1}", "/points"),
            ("epochs=3", "/epochs"),
        ],
    )
    @pytest.mark.parametrize("accept", ["application/json", NDJSON])
    def test_refusals(self, parts: tuple[FlaskClient, Context, str], query: str, pointer: str, accept: str) -> None:
        client, _, path = parts
        answer = client.get(f"{path}?{query}", headers={"Accept": accept})
        assert answer.status_code == 422
        assert [one["pointer"] for one in answer.get_json()["errors"]] == [pointer]


@pytest.fixture(scope="module")
def jagged(parts: tuple[FlaskClient, Context, str]) -> tuple[str, list[Epoch]]:
    """A job with spikes in both losses, and gaps in that of the held-out rows."""
    _, context, _ = parts
    chance = np.random.default_rng(5)
    epochs = [
        Epoch(number, float(loss), 0.5, None if number % 3 else float(other), None, 0.001, 0.01)
        for number, loss, other in zip(range(1, 3001), chance.exponential(size=3000), chance.random(3000), strict=True)
    ]
    with context.database.write() as connection:
        job = make_job(connection, 3)
        add_events(connection, job, [EpochEvent(epoch) for epoch in epochs])
    return f"/jobs/{job}/history", epochs


class TestPoints:
    """Few epochs for a drawing, of which none that stands out is lost."""

    @pytest.mark.parametrize("points", [7, 40, 400, 2999])
    def test_ends_and_extremes_are_kept(
        self, parts: tuple[FlaskClient, Context, str], jagged: tuple[str, list[Epoch]], points: int
    ) -> None:
        path, epochs = jagged
        answer = parts[0].get(f"{path}?points={points}").get_json()
        found = numbers(answer["data"])
        assert len(found) <= points
        assert found == sorted(set(found))
        by_loss = sorted(epochs, key=lambda epoch: epoch.loss)
        measured = sorted(
            (epoch for epoch in epochs if epoch.validation_loss is not None),
            key=lambda epoch: epoch.validation_loss or 0,
        )
        wanted = (epochs[0], epochs[-1], by_loss[0], by_loss[-1], measured[0], measured[-1])
        assert {epoch.number for epoch in wanted} <= set(found)
        assert answer["has_more"] is False

    def test_each_stretch_has_some(self, parts: tuple[FlaskClient, Context, str]) -> None:
        client, _, path = parts
        found = numbers(client.get(f"{path}?points=400").get_json()["data"])
        assert max(later - earlier for earlier, later in pairwise(found)) <= 2 * EPOCHS / (397 // 4)

    def test_a_short_history_is_whole(self, client: Client, trained: Trained) -> None:
        path = f"/jobs/{trained.jobs[0]['id']}/history"
        assert client.get(f"{path}?points=5").json["data"] == client.get(path).json["data"]
        assert numbers(client.get(f"{path}?points=2").json["data"]) == [1, 5]
        assert numbers(client.get(f"{path}?points=2&after=3").json["data"]) == [4, 5]

    def test_a_stream_goes_on_behind_them(self, client: Client, trained: Trained) -> None:
        job = trained.jobs[0]["id"]
        newest = client.get(f"/jobs/{job}/events?limit=1").json["data"][0]["id"]
        assert client.get(f"/jobs/{job}/history?points=40").json["event"] == newest

    def test_lines_are_the_same(self, parts: tuple[FlaskClient, Context, str], jagged: tuple[str, list[Epoch]]) -> None:
        path = f"{jagged[0]}?points=40"
        lines = parts[0].get(path, headers={"Accept": NDJSON}).text.splitlines()
        assert [json.loads(line) for line in lines] == parts[0].get(path).get_json()["data"]

    def test_each_member_has_its_own(self, parts: tuple[FlaskClient, Context, str]) -> None:
        client, context, _ = parts
        with context.database.write() as connection:
            job = make_job(connection, 4)
            events = [EpochEvent(event(epoch).record, member) for member in (1, 2) for epoch in range(1, 301)]
            add_events(connection, job, events)
        rows = client.get(f"/jobs/{job}/history?points=11").get_json()["data"]
        for member in (1, 2):
            own = numbers([row for row in rows if row["member"] == member])
            assert {1, 300} <= set(own)
            assert len(own) <= 11
        assert {row["member"] for row in client.get(f"/jobs/{job}/history?points=11&member=2").get_json()["data"]} == {
            2
        }

    def test_the_best_epoch_of_whatever_is_looked_for_is_kept(self) -> None:
        epochs = [(HistoryPlace(0, number), json.dumps(record(number))) for number in range(1, 101)]
        found = [json.loads(text)["epoch"] for text in thinned(epochs, 12, {0: 57})]
        assert 57 in found


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
    assert parameters.keys() == {"limit", "after", "member", "points"}
    assert parameters["limit"]["schema"]["maximum"] == MAXIMUM_EPOCHS
    content = operation["responses"]["200"]["content"]
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/History"}
    assert content[NDJSON]["schema"] == {"$ref": "#/components/schemas/Epoch"}
