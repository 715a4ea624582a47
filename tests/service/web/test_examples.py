"""The examples of the OpenAPI document run as they stand, on a fresh service, one after the other.

Paths and bodies are those of the document. What exists only at run time comes from earlier answers: the ids of jobs and
checkpoints through the document's links. Deletions come last, in reverse.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from testing.harness import Answer, Client, Server

#: Ids in examples, which stand for those of what the examples have made.
ID = re.compile(r"(job|ckpt)_06f3n9w0s5vkqk2d3a4b5")
#: What is asked of a job that has not ended, and in which state it is.
OF_ACTIVE_JOBS = {"cancel_job": "running", "pause_job": "running", "resume_job": "paused"}
#: A job that would take minutes.
LONG = {"data": "sample", "model": {"name": "long", "hidden": [4]}, "epochs": 10**6}


class Step(NamedTuple):
    """An operation with one of its bodies, if it takes one."""

    method: str
    path: str
    operation: dict[str, Any]
    parameters: list[dict[str, Any]]
    body: Any

    @property
    def name(self) -> str:
        return str(self.operation["operationId"])


class Tour:
    """Sends the examples, and remembers the ids that answers lead to."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.document = client.get("/openapi.json").json
        self.known: dict[str, str] = {}

    def steps(self) -> list[Step]:
        """All of them in the order of the document, the deletions last in reverse."""
        found = [
            Step(method.upper(), path, operation, [*item.get("parameters", []), *operation.get("parameters", [])], body)
            for path, item in self.document["paths"].items()
            for method, operation in item.items()
            if method != "parameters"
            for body in self._bodies(operation)
        ]
        return sorted(
            found, key=lambda step: (step.method == "DELETE", -found.index(step) if step.method == "DELETE" else 0)
        )

    def _bodies(self, operation: dict[str, Any]) -> Iterator[Any]:
        content = operation.get("requestBody", {}).get("content", {})
        if not content:
            yield None
        elif "application/json" not in content:
            yield b""  # a file
        else:
            name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
            yield from self.document["components"]["schemas"][name]["examples"]

    def send(self, step: Step) -> Answer:
        values = {"job_id": self._job_for(step.name), "checkpoint_id": self.known.get("checkpoint_id", "")}
        values |= {one["name"]: one["example"] for one in step.parameters if one["in"] == "path" and "example" in one}
        body, headers = step.body, {}
        if step.name == "import_checkpoint":
            body = self.client.get(f"/checkpoints/{self.known['checkpoint_id']}/file").body
            headers = {"Content-Type": next(iter(step.operation["requestBody"]["content"]))}
        elif body is not None:
            body = json.loads(ID.sub(self._of_kind, json.dumps(body)))
        answer = self.client.request(step.method, step.path.format_map(values), body, headers)
        if answer.status < 300:
            self._follow(step, answer)
        return answer

    def _of_kind(self, found: re.Match[str]) -> str:
        return self.known["job_id" if found[1] == "job" else "checkpoint_id"]

    def _job_for(self, operation: str) -> str:
        wanted = OF_ACTIVE_JOBS.get(operation)
        if wanted is None:
            return self.known.get("job_id", "")
        job = str(self.client.train(LONG)["id"])
        self.client.until_state(job, "running", timeout=120)
        if wanted == "paused":
            assert self.client.post(f"/jobs/{job}/pause").status == 202
            self.client.until_state(job, "paused", timeout=120)
        return job

    def _follow(self, step: Step, answer: Answer) -> None:
        """Wait for a job, and note what the answer leads to; the first of each kind stays."""
        if answer.status == 202:
            job = answer.json["id"]
            if step.name in OF_ACTIVE_JOBS:
                if step.name != "cancel_job":
                    assert self.client.post(f"/jobs/{job}/cancel").status == 202
                assert self.client.wait(job)["state"] == "cancelled"
            else:
                ended = self.client.wait(job, 240)
                assert ended["state"] == "succeeded", ended
        for link in step.operation["responses"].get(str(answer.status), {}).get("links", {}).values():
            for name, expression in link["parameters"].items():
                value: Any = answer.json
                for part in expression.removeprefix("$response.body#/").split("/"):
                    value = value[int(part) if isinstance(value, list) else part]
                self.known.setdefault(name, value)


@pytest.mark.slow
def test_the_examples_run_one_after_the_other(make_server: Callable[..., Server]) -> None:
    tour = Tour(make_server(DEFAULT_MODEL="sample").start_ready())
    for step in tour.steps():
        answer = tour.send(step)
        assert 200 <= answer.status < 300, (step.name, step.body, answer)
    assert tour.client.get("/datasets").json["data"] == []


def test_variables_of_paths_have_examples(client: Client) -> None:
    """All but ids, which a page cannot know."""
    shown: dict[str, set[str]] = {}
    for path, item in client.get("/openapi.json").json["paths"].items():
        for one in item.get("parameters", []):
            shown.setdefault(one["name"], set()).add(str(one.get("example")))
            assert f"{{{one['name']}}}" in path
    ids = {"job_id", "checkpoint_id"}
    assert {name for name, examples in shown.items() if examples == {"None"}} == ids
    assert all(len(examples) == 1 for examples in shown.values())
