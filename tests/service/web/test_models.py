"""Models, versions and aliases over HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from testing.harness import Client, Server, eventually
from testing.samples import DATA, ROWS, a_model, a_training, fresh
from tests.models.definition.test_definition import CANONICAL
from tests.service.conftest import Trained

HDF5 = {"Content-Type": "application/x-hdf5"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class TestDefine:
    """``POST /models`` and its effects."""

    def test_the_answer_is_canonical(self, client: Client) -> None:
        name = fresh("model")
        short = {
            "name": name,
            "inputs": 2,
            "classes": ["red", "green", "blue"],
            "hidden": [64],
            "optimizer": {"type": "adam"},
        }
        answer = client.post("/models", short)
        assert (answer.status, answer.headers["location"]) == (201, f"/models/{name}")
        document = answer.json
        assert TIME.fullmatch(document.pop("created_at"))
        state = {"default": None, "metrics": None, "job": None}
        assert document == {**CANONICAL, "name": name, "parameters": 2 * 64 + 64 + 64 * 3 + 3, **state}

    def test_the_same_definition_again_is_answered_with_200(self, client: Client) -> None:
        name = fresh("model")
        first = client.post("/models", a_model(name))
        spelled_out = {key: first.json[key] for key in CANONICAL}
        for again in (a_model(name), spelled_out):
            answer = client.post("/models", again)
            assert (answer.status, answer.json) == (200, first.json)
            assert answer.headers["location"] == f"/models/{name}"
        assert client.get(f"/models/{name}").json == first.json

    def test_another_definition_is_the_newest(self, client: Client) -> None:
        name = fresh("model")
        first = client.define(a_model(name))
        answer = client.post("/models", a_model(name, dtype="float64"))
        assert (answer.status, answer.headers["location"]) == (200, f"/models/{name}")
        assert answer.json == {**first, "dtype": "float64"}
        assert client.get(f"/models/{name}").json == answer.json

    def test_another_definition_is_a_conflict_if_it_must_be_the_same(self, client: Client) -> None:
        name = fresh("model")
        first = client.post("/models", a_model(name, exact=True))
        assert first.status == 201
        assert client.post("/models", a_model(name, exact=True)).status == 200
        answer = client.post("/models", a_model(name, dtype="float64", exact=True))
        assert (answer.status, answer.json["code"]) == (409, "name_taken")
        assert client.get(f"/models/{name}").json == first.json

    def test_several_at_once_leave_one_of_them(self, client: Client) -> None:
        name = fresh("model")
        with ThreadPoolExecutor(6) as pool:
            bodies = [a_model(name, metadata={"of": number}) for number in range(6)]
            answers = list(pool.map(lambda body: client.post("/models", body), bodies))
        assert sorted(answer.status for answer in answers) == [200] * 5 + [201]
        assert client.get(f"/models/{name}").json in [answer.json for answer in answers]

    def test_two_at_once_make_one(self, client: Client) -> None:
        name = fresh("model")
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: client.post("/models", a_model(name)), range(6)))
        assert sorted(answer.status for answer in answers) == [200] * 5 + [201]
        assert len({answer.body for answer in answers}) == 1

    def test_odd_but_right_members(self, client: Client) -> None:
        name = fresh("odd") + "._-"
        classes = ["", "ü", "a\nb", '"', "\u0000"]
        metadata = {"a/b": [1, None, {"é": 1.5}], "": "x"}
        body = {"name": name, "inputs": 1, "classes": classes, "hidden": [], "metadata": metadata, "dtype": "float64"}
        document = client.define(body)
        assert (document["classes"], document["metadata"], document["dtype"]) == (classes, metadata, "float64")
        assert client.get(f"/models/{name}").json == document


def definition_of(client: Client, name: str) -> dict[str, Any]:
    """A model's newest definition."""
    document = client.get(f"/models/{name}").json
    return {key: document[key] for key in CANONICAL}


class TestVersions:
    """Versions that trainings have published."""

    def test_each_training_publishes_the_next(self, client: Client, trained: Trained) -> None:
        assert [job["version"] for job in trained.jobs] == [1, 2, 3]
        assert client.get(f"/models/{trained.name}").json["default"] == 3

    @pytest.mark.parametrize(("named", "number"), [("1", 1), ("2", 2), ("latest", 3), ("default", 3)])
    def test_one_version(self, client: Client, trained: Trained, named: str, number: int) -> None:
        job = trained.jobs[number - 1]
        document = client.get(f"/models/{trained.name}/versions/{named}").json
        assert TIME.fullmatch(document.pop("created_at"))
        assert document == {
            "model": trained.name,
            "version": number,
            "job": job["id"],
            "checkpoint": job["checkpoint"],
            "metrics": job["metrics"],
            "definition": definition_of(client, trained.name),
        }

    def test_the_list_holds_the_same_without_definitions(self, client: Client, trained: Trained) -> None:
        page = client.get(f"/models/{trained.name}/versions").json
        shown = [client.get(f"/models/{trained.name}/versions/{number}").json for number in (3, 2, 1)]
        for version in shown:
            del version["definition"]
        assert page == {"data": shown, "has_more": False}

    def test_each_version_has_the_definition_that_its_job_trained(self, client: Client) -> None:
        """By `POST /models` and within `POST /train`; a job by name trains the newest one. All of them are served."""
        name = fresh("model")
        client.define(a_model(name))
        definitions = [definition_of(client, name)]
        jobs = [client.run(a_training(name))]
        assert client.post("/models", a_model(name, dtype="float64")).status == 200
        definitions.append(definition_of(client, name))
        jobs.append(client.run(a_training(name)))
        jobs.append(client.run(a_training({"name": name, "hidden": [3]})))
        definitions.append(definition_of(client, name))
        assert [job["version"] for job in jobs] == [1, 2, 3]
        path = f"/models/{name}/versions"
        assert [client.get(f"{path}/{number}").json["definition"] for number in (1, 2, 3)] == definitions
        assert [definition["dtype"] for definition in definitions] == ["float32", "float64", "float32"]
        assert [definition["layers"][0]["units"] for definition in definitions] == [8, 8, 3]
        for number in (1, 2, 3):
            assert client.post("/predict", {"model": name, "inputs": ROWS, "version": number}).status == 200
            assert client.post("/evaluate", {"model": name, "data": DATA, "version": number}).status == 200
        # A file of another definition does not fit the newest one; one that fits has it.
        file, other = (client.get(f"/checkpoints/{jobs[place]['checkpoint']}/file").body for place in (2, 1))
        assert client.post(f"/models/{name}/checkpoints", other, headers=HDF5).status == 422
        imported = client.post(f"/models/{name}/checkpoints", file, headers=HDF5)
        assert (imported.status, imported.json["definition"]) == (201, definitions[2])
        start = client.post("/train", a_training(name, start_from=jobs[1]["checkpoint"]))
        assert (start.status, start.json["errors"][0]["pointer"]) == (422, "/start_from")

    def test_a_model_without_versions(self, client: Client) -> None:
        name = client.define(a_model(fresh("model")))["name"]
        assert client.get(f"/models/{name}/versions").json == {"data": [], "has_more": False}
        assert client.get(f"/models/{name}/checkpoints").json == {"data": [], "has_more": False}
        assert client.get(f"/models/{name}/versions/latest").json["code"] == "no_version"


class TestAliases:
    """Names for versions."""

    @pytest.fixture
    def name(self, client: Client) -> str:
        """A model with two versions."""
        name = client.define(a_model(fresh("aliased")))["name"]
        for seed in (1, 2):
            client.run(a_training(name, seed=seed, epochs=1))
        return str(name)

    def served(self, client: Client, name: str, **wanted: Any) -> int:
        return int(client.post("/predict", {"model": name, "inputs": [[0, 1]], **wanted}).json["version"])

    def test_set_get_move_delete(self, client: Client, name: str) -> None:
        path = f"/models/{name}/aliases/best"
        for version in (1, 2, 1):
            answer = client.put(path, {"version": version})
            shares = {"versions": [{"version": version, "weight": 1.0}], "shadow": None}
            expected = {"model": name, "alias": "best", "version": version, **shares}
            assert (answer.status, answer.json) == (200, expected)
            shown = client.get(path).json
            assert (shown["version"], shown["shadow"], len(shown["versions"])) == (version, None, 1)
            assert self.served(client, name, version="best") == version
            assert client.get(f"/models/{name}/versions/best").json["version"] == version
        assert client.get(f"/models/{name}/aliases").json == {
            "data": [expected],
            "has_more": False,
        }
        gone = client.delete(path)
        assert (gone.status, gone.body) == (204, b"")
        assert client.get(path).status == client.delete(path).status == 404
        assert client.post("/predict", {"model": name, "inputs": [[0, 1]], "version": "best"}).status == 404

    def test_the_list_has_pages(self, client: Client, name: str) -> None:
        path = f"/models/{name}/aliases"
        names = sorted(f"alias-{number}" for number in range(102))
        for alias in reversed(names):
            assert client.put(f"{path}/{alias}", {"version": 1}).status == 200
        first = client.get(path).json
        assert ([row["alias"] for row in first["data"]], first["has_more"]) == (names[:100], True)
        rest = client.get(f"{path}?after={names[99]}").json
        assert ([row["alias"] for row in rest["data"]], rest["has_more"]) == (names[100:], False)
        middle = client.get(f"{path}?limit=7&after={names[20]}").json
        assert ([row["alias"] for row in middle["data"]], middle["has_more"]) == (names[21:28], True)
        for query in ("limit=101", "limit=0", "after=Not a name", "before=x"):
            assert client.get(f"{path}?{query.replace(' ', '%20')}").status == 422, query

    def test_default_follows_the_newest_until_it_is_set(self, client: Client, name: str) -> None:
        path = f"/models/{name}/aliases/default"
        assert client.get(path).json["version"] == 2
        assert client.delete(path).status == 404
        assert client.put(path, {"version": 1}).status == 200
        assert client.get(f"/models/{name}").json["default"] == self.served(client, name) == 1
        assert client.run(a_training(name, epochs=1))["version"] == 3
        assert client.get(f"/models/{name}").json["default"] == self.served(client, name) == 1
        assert self.served(client, name, version="latest") == 3
        assert client.get(f"/models/{name}/aliases/latest").json["version"] == 3
        assert client.delete(path).status == 204
        assert client.get(f"/models/{name}").json["default"] == self.served(client, name) == 3

    def test_latest_cannot_be_set(self, client: Client, name: str) -> None:
        path = f"/models/{name}/aliases/latest"
        assert client.put(path, {"version": 1}).json["code"] == "reserved_alias"
        assert client.get(path).json["version"] == 2

    def test_every_worker_follows_at_once(self, client: Client, name: str) -> None:
        for version in (1, 2, 1, 2):
            assert client.put(f"/models/{name}/aliases/default", {"version": version}).status == 200
            assert {self.served(client, name) for _ in range(10)} == {version}

    def test_without_versions(self, client: Client) -> None:
        name = client.define(a_model(fresh("model")))["name"]
        for alias in ("default", "latest"):
            answer = client.get(f"/models/{name}/aliases/{alias}")
            assert (answer.status, answer.json["version"]) == (200, None)


class TestDelete:
    """Deleting a model and its files, and active jobs that prevent it."""

    @pytest.fixture
    def busy(self, client: Client) -> Iterator[tuple[str, str]]:
        """A model with a job that would take minutes, and that job."""
        name = client.define(a_model(fresh("busy")))["name"]
        job = client.train(a_training(name, epochs=10**6))["id"]
        client.until_epoch(job, 1)
        yield name, job
        client.post(f"/jobs/{job}/cancel")
        client.wait(job)

    def test_it_takes_versions_and_files_along(self, client: Client, server: Server) -> None:
        name = client.define(a_model(fresh("gone")))["name"]
        job = client.run(a_training(name, epochs=1))
        ids = [row["id"] for row in client.pages(f"/models/{name}/checkpoints", 10)]
        assert {f"{key}.h5" for key in ids} <= set(server.files("checkpoints"))
        answer = client.delete(f"/models/{name}")
        assert (answer.status, answer.body) == (204, b"")
        assert not {f"{key}.h5" for key in ids} & set(server.files("checkpoints"))
        for path in (f"/models/{name}", f"/models/{name}/versions/1", f"/checkpoints/{job['checkpoint']}"):
            assert client.get(path).status == 404
        assert client.post("/predict", {"model": name, "inputs": [[1, 2]]}).status == 404
        assert client.job(job["id"])["state"] == "succeeded"
        assert client.delete(f"/models/{name}").status == 404

    def test_a_name_may_be_used_again_for_something_else(self, client: Client) -> None:
        name = client.define(a_model(fresh("again")))["name"]
        client.run(a_training(name, epochs=1))
        assert client.delete(f"/models/{name}").status == 204
        client.define(a_model(name, dtype="float64"))
        assert client.post("/predict", {"model": name, "inputs": [[1, 2]]}).json["code"] == "no_version"
        assert client.run(a_training(name, epochs=1))["version"] == 1

    def test_an_active_job_is_in_the_way(self, client: Client, busy: tuple[str, str]) -> None:
        name, job = busy
        answer = client.delete(f"/models/{name}")
        assert (answer.status, answer.json["code"]) == (409, "model_in_use")
        assert client.get(f"/models/{name}").status == 200
        assert client.job(job)["state"] == "running"

    def test_force_cancels_it(self, client: Client, server: Server, busy: tuple[str, str]) -> None:
        name, job = busy
        runner = server.busy_runner().pid
        assert client.delete(f"/models/{name}?force=true").status == 204
        assert client.job(job)["state"] == "cancelled"
        assert client.get(f"/models/{name}").status == 404
        eventually(lambda: runner not in [one.pid for one in server.processes("runner")], what="the runner has left")
        of_the_job = [event for event in client.pages(f"/jobs/{job}/events", 100) if event["type"] == "checkpoint"]
        files = set(server.files("checkpoints"))
        assert not {f"{event['data']['checkpoint']}.h5" for event in of_the_job} & files
        assert client.job(job)["state"] == "cancelled"
        # The trainer goes on to the next job.
        client.define(a_model(name))
        assert client.run(a_training(name, epochs=1))["version"] == 1
