"""Documents in short form, lists by a prefix, and what a list of models says of metrics and jobs."""

from __future__ import annotations

from typing import Any

import pytest

from testing.harness import Client
from testing.samples import DATA, a_model, a_training, fresh
from tests.service.conftest import Trained

#: Each route with ``fields``, by a path that finds something, and two of the members of its documents.
ROUTES = [
    ("/models", "name", "job"),
    ("/models/{name}", "metrics", "layers"),
    ("/models/{name}/versions", "version", "metrics"),
    ("/models/{name}/versions/1", "version", "definition"),
    ("/models/{name}/checkpoints", "id", "epoch"),
    ("/datasets", "name", "rows"),
    ("/datasets/{data}", "columns", "label"),
    ("/jobs", "id", "progress"),
    ("/jobs/{job}", "state", "metrics"),
    ("/jobs/{job}/checkpoints", "id", "metrics"),
    ("/checkpoints/{checkpoint}", "bytes", "id"),
]


@pytest.fixture(scope="module")
def things(server: Any, trained: Trained) -> dict[str, str]:
    data = fresh("short")
    assert server.client.post("/datasets", {"name": data, **DATA}).status == 201
    job = trained.jobs[-1]
    return {"name": trained.name, "data": data, "job": job["id"], "checkpoint": job["checkpoint"]}


def documents(answer: Any) -> list[dict[str, Any]]:
    assert answer.status == 200, answer
    return list(answer.json["data"]) if "data" in answer.json else [answer.json]


@pytest.mark.parametrize(("path", "one", "another"), ROUTES)
class TestFields:
    """``?fields=``, wherever documents may be long."""

    def test_the_named_members_are_shown_as_they_are(
        self, client: Client, things: dict[str, str], path: str, one: str, another: str
    ) -> None:
        path = path.format_map(things)
        whole = documents(client.get(path))
        for fields in ((one,), (another, one)):
            short = documents(client.get(f"{path}?fields={','.join(fields)}"))
            assert [document.keys() for document in short] == [set(fields)] * len(whole)
            assert short == [{name: document[name] for name in fields} for document in whole]

    def test_an_unknown_name_is_refused_with_the_known_ones(
        self, client: Client, things: dict[str, str], path: str, one: str, another: str
    ) -> None:
        for wrong in ("nonsense", "", f"{one},,{another}", f"{one} "):
            refused = client.get(f"{path.format_map(things)}?fields={wrong.replace(' ', '%20')}")
            assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/fields"), wrong
            detail = refused.json["errors"][0]["detail"]
            assert one in detail
            assert another in detail


def test_a_name_that_is_nearly_right_is_told(client: Client) -> None:
    refused = client.get("/models?fields=name,metric")
    assert "did you mean 'metrics'?" in refused.json["errors"][0]["detail"]
    misspelt = client.get("/models?field=name")
    assert (misspelt.status, misspelt.json["errors"][0]["pointer"]) == (422, "/field")
    assert "did you mean 'fields'?" in misspelt.json["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=1000&fields=name,default,metrics,job,created_at", 200),
        ("limit=1001&fields=name", 422),
        ("limit=101&fields=name,classes", 422),
        ("limit=101", 422),
        ("limit=100", 200),
    ],
)
def test_a_thousand_models_come_at_once_without_definitions(client: Client, query: str, status: int) -> None:
    answer = client.get(f"/models?{query}")
    assert answer.status == status
    if status == 422:
        assert [fault["pointer"] for fault in answer.json["errors"]] == ["/limit"]


def test_a_job_is_waited_for_in_short_form(client: Client) -> None:
    name = client.define(a_model(fresh("waited")))["name"]
    job = client.train(a_training(name))["id"]
    assert client.get(f"/jobs/{job}?wait=60&fields=state").json == {"state": "succeeded"}


class TestPrefix:
    """``?prefix=``: what belongs together by its names."""

    def test_models(self, client: Client) -> None:
        names = [fresh("course_a"), fresh("course_a"), fresh("courseba")]
        for name in names:
            client.define(a_model(name))
        rows = client.get("/models?prefix=course_a-&fields=name").json["data"]
        assert rows == [{"name": names[1]}, {"name": names[0]}]
        first = client.get(f"/models?prefix=course_&fields=name&limit=1&after={names[1]}").json
        assert first == {"data": [{"name": names[0]}], "has_more": False}
        assert client.get("/models?prefix=course.").json == {"data": [], "has_more": False}

    def test_datasets(self, client: Client) -> None:
        names = [fresh("pupil-x"), fresh("pupil-x"), fresh("pupily")]
        for name in names:
            assert client.post("/datasets", {"name": name, **DATA}).status == 201
        rows = client.get("/datasets?prefix=pupil-&fields=name").json["data"]
        assert rows == [{"name": names[1]}, {"name": names[0]}]

    @pytest.mark.parametrize("path", ["/models", "/datasets"])
    def test_what_starts_no_name_is_refused(self, client: Client, path: str) -> None:
        for prefix in ("%25", "Upper", ""):
            refused = client.get(f"{path}?prefix={prefix}")
            assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/prefix")


class TestModels:
    """What a list of models tells of each without a further request."""

    def test_metrics_are_those_of_the_default_version(self, client: Client) -> None:
        name = client.define(a_model(fresh("measured")))["name"]
        assert client.get(f"/models/{name}").json["metrics"] is None
        for seed in (1, 2):
            client.run(a_training(name, seed=seed, validation={"fraction": 0.25}))
        versions = client.get(f"/models/{name}/versions").json["data"]
        assert client.get(f"/models/{name}").json["metrics"] == versions[0]["metrics"]
        assert client.put(f"/models/{name}/aliases/default", {"version": 1}).status == 200
        listed = client.get(f"/models?prefix={name}").json["data"][0]
        assert listed["metrics"] == versions[1]["metrics"] != versions[0]["metrics"]
        assert listed["metrics"]["validation_accuracy"] is not None

    def test_the_job_is_the_newest_one_in_short(self, client: Client) -> None:
        name = client.define(a_model(fresh("busy")))["name"]
        assert client.get(f"/models/{name}").json["job"] is None
        client.run(a_training(name))
        job = client.run(a_training(name, epochs=7))
        short = {key: job[key] for key in ("id", "state", "created_at", "finished_at", "progress")}
        for path in (f"/models/{name}", f"/models?prefix={name}&fields=job"):
            assert documents(client.get(path))[0]["job"] == {**short, "members": 0}
        assert client.delete(f"/jobs/{job['id']}").status == 204
        assert client.get(f"/models/{name}").json["job"]["id"] != job["id"]

    def test_the_job_says_how_many_networks_it_trains(self, client: Client) -> None:
        name = fresh("folded")
        job = client.run(a_training({"name": name, "hidden": [4]}, folds=3, epochs=2))
        found = client.get(f"/models/{name}").json
        assert found["job"]["members"] == len(job["members"]) == 3
        assert found["metrics"]["validation_accuracy"] == pytest.approx(job["held_out"]["accuracy"])
