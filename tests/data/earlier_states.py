"""Makes ``data.tar.gz`` and ``answers.json`` of an earlier state of the service, with that state's own service.

``make.py`` in each folder beside this module calls ``record_state``. Its argument is a work tree of that state's
commit, whose service and test client run from there in the environment of this interpreter.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["More", "record_state"]


class More(NamedTuple):
    """What a state holds beyond the first one."""

    #: Jobs, models and datasets, made while a trainer runs.
    work: Callable[[Any, Any], None]
    #: Jobs that nobody runs yet; returns their ids.
    queue: Callable[[Any, Any], list[str]]
    #: Requests whose answers are recorded: method, path and body.
    questions: Callable[[Any, Any], list[tuple[str, str, Any]]]


_NOTHING = More(lambda _client, _samples: None, lambda _client, _samples: [], lambda _client, _samples: [])


def record_state(folder: Path, harness_module: str, samples_module: str, more: More | None = None) -> None:
    """Write both files into ``folder``; the modules are those of the state's commit.

    With ``more``, the old service also ends the queue and the paused job on a copy, and their histories are recorded.
    """
    checkout = Path(sys.argv[1]).resolve()
    os.chdir(checkout)
    sys.path.insert(0, str(checkout))
    harness = importlib.import_module(harness_module)
    samples = importlib.import_module(samples_module)
    rest: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary) / "data"
        with harness.serving(data, REPORT_SECONDS=0.02, WORKERS=1) as server:
            rest["keyed"], rest["paused"] = work(server, samples, (more or _NOTHING).work)
            server.terminate()
            server.wait_until_gone()
        server = harness.Server(data, TRAINER="external", WORKERS=1)
        try:
            client = server.start()
            rest["queued"] = queue(client, samples) + (more or _NOTHING).queue(client, samples)
            recorded = record(client, samples)
            recorded += [asked(client, *each) for each in (more or _NOTHING).questions(client, samples)]
            server.terminate()
            server.wait_until_gone()
        finally:
            server.close()
        for lock in data.glob("*.lock"):
            lock.unlink()
        pack(data, folder)
        if more is not None:
            with harness.serving(data, WORKERS=1) as server:
                rest["histories"] = end_all(server.client, [*rest["queued"], rest["paused"]])
                server.terminate()
                server.wait_until_gone()
    lines = ",\n".join(json.dumps(answer, separators=(",", ":")) for answer in recorded)
    (folder / "answers.json").write_text(f'{json.dumps(rest)[:-1]},\n"answers": [\n{lines}\n]}}\n')


def end_all(client: Any, jobs: list[str]) -> dict[str, Any]:
    """The histories of jobs after they have ended; the last one is resumed."""
    assert client.post(f"/jobs/{jobs[-1]}/resume").status == 202
    for job in jobs:
        ended = client.wait(job)
        assert ended["state"] == "succeeded", ended
    return {job: client.history(job) for job in jobs}


def work(server: Any, samples: Any, more: Callable[[Any, Any], None]) -> tuple[list[dict[str, Any]], str]:
    """Models, versions, aliases, a dataset with weights, an imported version, and jobs in every final state."""
    client, a_model, a_training = server.client, samples.a_model, samples.a_training
    keyed = [ask_keyed(client, "/models", a_model("first", metadata={"of": "first"}), "model-key")]
    weighted = "x,y,colour,w\n" + "".join(
        f"{x},{y},{label},{1 + number % 2}\n"
        for number, ((x, y), label) in enumerate(zip(samples.ROWS, samples.LABELS, strict=True))
    )
    shades = client.post(
        "/datasets?name=shades&label=colour&weight=w", weighted.encode(), headers={"Content-Type": "text/csv"}
    )
    assert shades.status == 201, shades
    rows = {"name": "keyed", "inputs": samples.ROWS, "labels": samples.LABELS}
    keyed.append(ask_keyed(client, "/datasets", rows, "dataset-key"))
    on_shades = {"data": {"dataset": "shades"}, "validation": {"inputs": samples.ROWS, "labels": samples.LABELS}}
    keyed.append(ask_keyed(client, "/train", a_training("first", **on_shades), "train-key"))
    finished = client.wait(keyed[-1]["answer"]["id"])
    assert finished["state"] == "succeeded", finished
    client.run(a_training("first", seed=4, checkpoint={"every_epochs": 1, "keep": 2}, early_stopping={"patience": 2}))
    assert client.put("/models/first/aliases/stable", {"version": 1}).status == 200
    image = client.get(f"/checkpoints/{finished['checkpoint']}/file").body
    imported = client.post("/models/first/checkpoints", image, headers={"Content-Type": "application/x-hdf5"})
    assert imported.status == 201, imported

    client.define(a_model("second", classes=["red", "green", "blue"]))
    client.run(a_training("second", start_from=finished["checkpoint"]))
    client.run(a_training("second", seed=5, validation={"fraction": 0.25}))
    assert client.put("/models/second/aliases/default", {"version": 1}).status == 200

    far = {"inputs": [[x * 1e15, y * 1e15] for x, y in samples.ROWS], "labels": samples.LABELS}
    diverging = a_training("first", data=far, epochs=100, optimizer={"type": "sgd", "learning_rate": 1e6})
    failed = client.wait(client.train(diverging)["id"])
    assert failed["error"]["code"] == "diverged", failed

    # Two models that are deleted, of which one's name is defined again as something else.
    wide = [{"type": "dense", "units": 5}, {"type": "tanh"}, {"type": "dense", "units": 3}, {"type": "softmax"}]
    for name in ("gone", "again"):
        client.define(a_model(name))
        client.run(a_training(name))
        assert client.delete(f"/models/{name}").status == 204
    client.define(a_model("again", layers=wide))
    client.run(a_training("again"))

    more(client, samples)
    slow = {"epochs": 120, "batch_size": 1, "checkpoint": {"every_epochs": 10, "keep": 2}}
    cancelled = client.train(a_training("first", data={"dataset": "shades"}, **{**slow, "epochs": 1_000_000}))["id"]
    client.until_epoch(cancelled, 10)
    assert client.post(f"/jobs/{cancelled}/cancel").status == 202
    client.until_state(cancelled, "cancelled")
    paused = client.train(a_training("second", data={"dataset": "shades"}, **slow))["id"]
    client.until_epoch(paused, 20)
    assert client.post(f"/jobs/{paused}/pause").status == 202
    client.until_state(paused, "paused")
    return keyed, paused


def ask_keyed(client: Any, path: str, body: Any, key: str) -> dict[str, Any]:
    answer = client.post(path, body, headers={"Idempotency-Key": key})
    assert answer.status in (201, 202), answer
    return {"path": path, "key": key, "body": body, "status": answer.status, "answer": answer.json}


def queue(client: Any, samples: Any) -> list[str]:
    """Jobs that nobody runs yet: from the named dataset, from a checkpoint, one cancelled, one of a new model."""
    start = client.get("/models/first/versions/stable").json["checkpoint"]
    requests = [
        samples.a_training("first", data={"dataset": "shades"}, seed=11),
        samples.a_training("second", start_from=start, seed=12),
        samples.a_training("first", seed=13),
        samples.a_training(samples.a_model("late"), seed=14),
    ]
    ids = [client.train(request)["id"] for request in requests]
    assert client.post(f"/jobs/{ids[2]}/cancel").json["state"] == "cancelled"
    return [ids[0], ids[1], ids[3]]


def asked(client: Any, method: str, path: str, body: Any) -> dict[str, Any]:
    answer = client.request(method, path, body)
    return {"method": method, "path": path, "body": body, "status": answer.status, "answer": answer.json}


def record(client: Any, samples: Any) -> list[dict[str, Any]]:
    """What the state answers for all that can be read."""
    recorded = []

    def ask(method: str, path: str, body: Any = None) -> Any:
        recorded.append(asked(client, method, path, body))
        return recorded[-1]["answer"]

    models = [model["name"] for model in ask("GET", "/models?limit=100")["data"]]
    jobs = [job["id"] for job in ask("GET", "/jobs?limit=100")["data"]]
    ask("GET", f"/models?limit=2&after={models[1]}")
    for name in [*models, "gone"]:
        ask("GET", f"/models/{name}")
        ask("GET", f"/jobs?model={name}&limit=100")
        ask("GET", f"/models/{name}/aliases")
        for kind in ("versions", "checkpoints"):
            ask("GET", f"/models/{name}/{kind}?limit=100")
        for version in (1, "default", "latest", "stable", 99):
            ask("GET", f"/models/{name}/versions/{version}")
            ask("POST", "/predict", {"model": name, "inputs": samples.ROWS[:4], "version": version})
        ask("POST", "/predict", {"model": name, "inputs": samples.ROWS[:4]})
        ask("POST", "/evaluate", {"model": name, "data": {"dataset": "shades"}})
    for job in jobs:
        ask("GET", f"/jobs/{job}")
        ask("GET", f"/jobs/{job}/history")
        ask("GET", f"/jobs/{job}/events?limit=5")
        for checkpoint in ask("GET", f"/jobs/{job}/checkpoints?limit=100").get("data", []):
            ask("GET", f"/checkpoints/{checkpoint['id']}")
    for state in ("queued", "running", "paused", "succeeded", "failed", "cancelled"):
        ask("GET", f"/jobs?state={state}&limit=100")
    for after in (jobs[0], jobs[4], jobs[-1]):
        ask("GET", f"/jobs?limit=3&after={after}")
    for dataset in ask("GET", "/datasets?limit=100")["data"]:
        ask("GET", f"/datasets/{dataset['id']}")
        ask("GET", f"/datasets/{dataset['name']}")
        ask("GET", f"/datasets?limit=1&after={dataset['id']}")
    return recorded


def pack(data: Path, folder: Path) -> None:
    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        return info

    with tarfile.open(folder / "data.tar.gz", "w:gz") as archive:
        archive.add(data, "data", filter=plain)
