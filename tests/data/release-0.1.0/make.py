"""Makes ``data.tar.gz`` and ``answers.json`` with release 0.1.0: ``python make.py CHECKOUT``.

``CHECKOUT`` is a work tree of commit 015d591. That release's service and test client run from there, in the
environment of this interpreter (``requirements.txt`` and ``requirements-test.txt`` of that commit).
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def main() -> None:
    checkout = Path(sys.argv[1]).resolve()
    os.chdir(checkout)
    sys.path.insert(0, str(checkout))
    harness = importlib.import_module("tests.service.harness")
    samples = importlib.import_module("tests.service.samples")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        with harness.serving(data, REPORT_SECONDS=0.02, WORKERS=1) as server:
            keyed, paused = work(server, samples)
            server.terminate()
            server.wait_until_gone()
        server = harness.Server(data, TRAINER="external", WORKERS=1)
        try:
            client = server.start()
            queued = queue(client, samples)
            recorded = record(client, samples)
            server.terminate()
            server.wait_until_gone()
        finally:
            server.close()
        for lock in data.glob("*.lock"):
            lock.unlink()
        pack(data)
    lines = ",\n".join(json.dumps(answer, separators=(",", ":")) for answer in recorded)
    rest = {"paused": paused, "queued": queued, "keyed": keyed}
    (HERE / "answers.json").write_text(f'{json.dumps(rest)[:-1]},\n"answers": [\n{lines}\n]}}\n')


def work(server: Any, samples: Any) -> tuple[list[dict[str, Any]], str]:
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


def record(client: Any, samples: Any) -> list[dict[str, Any]]:
    """What the release answers for all that can be read."""
    recorded = []

    def ask(method: str, path: str, body: Any = None) -> Any:
        answer = client.request(method, path, body)
        recorded.append({"method": method, "path": path, "body": body, "status": answer.status, "answer": answer.json})
        return answer.json

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


def pack(data: Path) -> None:
    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        return info

    with tarfile.open(HERE / "data.tar.gz", "w:gz") as archive:
        archive.add(data, "data", filter=plain)


if __name__ == "__main__":
    main()
