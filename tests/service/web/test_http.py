"""What holds for every route: methods, problems, request ids, lists."""

from __future__ import annotations

import http.client
import re
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

import pytest
from flask import Flask

from testing.harness import Answer, Client, Server
from testing.protocols import is_foreign
from testing.samples import PROBLEM, a_model, fresh
from tests.service.conftest import Trained

#: Addresses that lead to another one, which the client follows.
ELSEWHERE = {"/console", "/favicon.ico"}


@pytest.fixture
def routes(app: Flask, trained: Trained) -> dict[str, set[str]]:
    """Every path of the service with its methods; variables are filled with existing names."""
    job = trained.jobs[0]
    known = {
        "name": trained.name,
        "version": "1",
        "alias": "default",
        "key": "none",
        "job_id": job["id"],
        "checkpoint_id": job["checkpoint"],
        "path": "index.html",
        "address": "jobs",
    }
    found: dict[str, set[str]] = {}
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: known[match[1]], rule.rule)
        found.setdefault(path, set()).update(rule.methods or ())
    return found


def test_get_routes_answer_and_head_tells_the_same(client: Client, routes: dict[str, set[str]]) -> None:
    asked = 0
    for path, methods in routes.items():
        if "GET" in methods and "/none" not in path and path not in ELSEWHERE:
            got, head = client.get(path), client.request("HEAD", path)
            # The job trains a single network, which holds no rows out.
            assert got.status == head.status == (409 if path.endswith("/held_out") else 200), path
            assert head.body == b""
            assert head.headers["content-type"] == got.headers["content-type"]
            # Metrics count the first request by the time of the second one; a log has no length before it is read.
            if path != "/metrics" and not path.endswith("/shadow"):
                assert head.headers["content-length"] == got.headers["content-length"], path
            asked += 1
    assert asked > 20


def test_options_names_the_methods(client: Client, routes: dict[str, set[str]]) -> None:
    for path, methods in routes.items():
        answer = client.request("OPTIONS", path)
        assert answer.status == 200, path
        assert set(answer.headers["allow"].split(", ")) == methods, path


def test_other_methods_are_refused_as_problems(client: Client, routes: dict[str, set[str]]) -> None:
    for path, methods in routes.items():
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "FROBNICATE"} - methods:
            answer = client.request(method, path)
            if is_foreign(path):
                assert answer.status == 405, path
            else:
                assert_problem(answer, 405, "method_not_allowed", path)
            assert set(answer.headers["allow"].split(", ")) == methods, path


def assert_problem(answer: Answer, status: int, code: str, path: str) -> None:
    assert answer.status == status, (path, answer)
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json
    assert document.keys() == PROBLEM
    titles = {404: "Not Found", 405: "Method Not Allowed", 415: "Unsupported Media Type"}
    told = {name: document[name] for name in ("type", "title", "status", "code", "instance", "errors")}
    assert told == {
        "type": "about:blank",
        "title": titles[status],
        "status": status,
        "code": code,
        "instance": path,
        "errors": [],
    }
    assert document["detail"]
    assert document["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
def test_an_unknown_path_is_a_problem(client: Client, method: str) -> None:
    assert_problem(client.request(method, "/no/such/thing"), 404, "not_found", "/no/such/thing")


def test_another_type_is_a_problem(client: Client) -> None:
    answer = client.post("/models", b"<x/>", headers={"Content-Type": "application/xml"})
    assert_problem(answer, 415, "unsupported_media_type", "/models")


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "application/json",
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/octet-stream",
        "application/merge-patch+json",
    ],
)
def test_json_is_taken_under_the_types_that_clients_send(client: Client, kind: str | None) -> None:
    name = fresh("typed")
    body = (b'{"name": "%s", "inputs": 1, "classes": 2, "hidden": []}') % name.encode()
    connection = http.client.HTTPConnection(urlsplit(client.base).netloc, timeout=30)
    connection.request("POST", "/models", body, {} if kind is None else {"Content-Type": kind})
    response = connection.getresponse()
    assert response.status == 201, response.read()
    response.read()
    connection.close()


class TestRequestId:
    """Every response carries one."""

    @pytest.mark.parametrize("given", ["a", "id with spaces", "x" * 128, "~!@#$%^&*()", "0"])
    def test_a_fit_one_is_kept(self, client: Client, given: str) -> None:
        for path in ("/health/live", "/no/such/thing"):
            assert client.get(path, headers={"X-Request-Id": given}).headers["x-request-id"] == given

    @pytest.mark.parametrize("given", ["", "x" * 129, "é", "tab\there", None])
    def test_another_one_is_replaced(self, client: Client, given: str | None) -> None:
        headers = {} if given is None else {"X-Request-Id": given}
        ids = [client.get("/no/such/thing", headers=headers) for _ in range(2)]
        for answer in ids:
            made = answer.headers["x-request-id"]
            assert re.fullmatch(r"[\x20-\x7e]{8,128}", made)
            assert made not in ("x" * 129, given)
            assert answer.json["request_id"] == made
        assert ids[0].headers["x-request-id"] != ids[1].headers["x-request-id"]

    def test_all_workers_make_different_ones(self, server: Server) -> None:
        with ExitStack() as stack:
            # New connections go to the worker that has fewer.
            connections = [
                stack.enter_context(
                    closing(http.client.HTTPConnection(urlsplit(server.client.base).netloc, timeout=30))
                )
                for _ in range(8)
            ]
            found = set()
            for connection in connections:
                connection.request("GET", "/health/live")
                found.add(connection.getresponse().headers["X-Request-Id"])
        assert len(found) == 8
        assert len({each.partition("-")[0] for each in found}) == 2

    @pytest.mark.parametrize("path", ["/health/live", "/version", "/metrics", "/models", "/docs/", "/openapi.json"])
    def test_every_response_has_one(self, client: Client, path: str) -> None:
        assert client.get(path).headers["x-request-id"]


@pytest.mark.parametrize(
    "path", ["/", "/health/ready", "/version", "/models", "/openapi.json", "/models/none", "/none"]
)
def test_json_ends_with_a_newline(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.json
    assert answer.body.endswith(b"}\n")


@pytest.fixture(scope="module")
def names(server: Server) -> list[str]:
    """Five models, the newest first."""
    made = [fresh("listed") for _ in range(5)]
    for name in made:
        server.client.define(a_model(name))
    return made[::-1]


class TestLists:
    """Newest first, page by page."""

    def test_models(self, client: Client, names: list[str]) -> None:
        everything = [model["name"] for model in client.pages("/models", 100)]
        assert [name for name in everything if name in names] == names
        for limit in (1, 2, 3):
            assert [model["name"] for model in client.pages("/models", limit)] == everything

    def test_the_page_ends_where_it_should(self, client: Client, names: list[str]) -> None:
        page = client.get(f"/models?limit=2&after={names[1]}").json
        assert page.keys() == {"data", "has_more"}
        assert [model["name"] for model in page["data"]] == names[2:4]
        assert page["has_more"] is True
        last = client.pages("/models", 100)[-1]["name"]
        assert client.get(f"/models?after={last}").json == {"data": [], "has_more": False}

    def test_the_limit_is_20_unless_told(self, client: Client) -> None:
        have = len(client.pages("/models", 100))
        for _ in range(max(0, 21 - have)):
            client.define(a_model(fresh("many")))
        page = client.get("/models").json
        assert (len(page["data"]), page["has_more"]) == (20, True)
        assert len(client.get("/models?limit=100").json["data"]) > 20

    def test_versions(self, client: Client, trained: Trained) -> None:
        path = f"/models/{trained.name}/versions"
        for limit in (1, 2, 100):
            assert [row["version"] for row in client.pages(path, limit)] == [3, 2, 1]

    def test_jobs(self, client: Client, trained: Trained) -> None:
        page = client.get(f"/jobs?model={trained.name}").json
        assert page == {"data": [client.job(job["id"]) for job in reversed(trained.jobs)], "has_more": False}
        newest = trained.jobs[-1]["id"]
        rest = client.get(f"/jobs?model={trained.name}&after={newest}&limit=1").json
        assert ([job["id"] for job in rest["data"]], rest["has_more"]) == ([trained.jobs[1]["id"]], True)
        ids = [job["id"] for job in client.pages("/jobs", 2)]
        assert ids == sorted(ids, reverse=True)
        assert {job["id"] for job in trained.jobs} <= set(ids)

    def test_jobs_by_state(self, client: Client, trained: Trained) -> None:
        for state in ("queued", "running", "paused", "failed", "cancelled"):
            assert client.get(f"/jobs?model={trained.name}&state={state}").json["data"] == []
        assert len(client.get(f"/jobs?model={trained.name}&state=succeeded").json["data"]) == 3
        assert client.get("/jobs?model=none").json == {"data": [], "has_more": False}

    def test_checkpoints_of_a_model_and_of_a_job(self, client: Client, trained: Trained) -> None:
        ids = [row["id"] for row in client.pages(f"/models/{trained.name}/checkpoints", 4)]
        assert ids == sorted(ids, reverse=True)
        assert len(ids) == 6
        by_job = [
            row["id"] for job in reversed(trained.jobs) for row in client.pages(f"/jobs/{job['id']}/checkpoints", 1)
        ]
        assert by_job == ids

    def test_events(self, client: Client, trained: Trained) -> None:
        path = f"/jobs/{trained.jobs[0]['id']}/events"
        everything = client.get(f"{path}?limit=100").json
        assert everything["has_more"] is False
        assert client.pages(path, 3) == everything["data"]
        ids = [event["id"] for event in everything["data"]]
        assert ids == sorted(ids, reverse=True)
