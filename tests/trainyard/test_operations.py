"""Every operation of the service has a method, and each method was tried."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

from testing.harness import Server, eventually
from testing.protocols import is_foreign
from testing.samples import fresh
from trainyard import Trainyard
from trainyard.operations import OPERATIONS
from trainyard.requests import Request
from trainyard.responses import Response
from trainyard.transport import Transport


class Recorder:
    """A transport that notes which operations are asked for."""

    def __init__(self, transport: Transport, document: Mapping[str, Any]) -> None:
        self._transport = transport
        self._operations = [
            (method.upper(), re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), operation["operationId"])
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
            if method != "parameters" and not is_foreign(path)
        ]
        self.all = {name for _, _, name in self._operations}
        self.seen: set[str] = set()

    def send(self, request: Request, **options: Any) -> Response:
        response = self._transport.send(request, **options)
        path = request.target.partition("?")[0]
        (name,) = [
            name for method, pattern, name in self._operations if method == request.method and pattern.fullmatch(path)
        ]
        self.seen.add(name)
        return response

    def close(self) -> None:
        self._transport.close()


def test_every_operation_of_the_document_has_a_method(ty: Trainyard) -> None:
    """The table has exactly the operations of the service, other protocols aside, and each method exists."""
    document = ty.request("GET", "/openapi.json").json()
    named = {
        operation["operationId"]
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method != "parameters" and not is_foreign(path)
    }
    assert set(OPERATIONS) == named
    for place in OPERATIONS.values():
        module, _, name = place.partition(".")
        assert attrgetter(name)(import_module(f"trainyard.{module}")).__doc__, place


def test_every_operation_is_asked_for(server: Server, flowers: Path, tmp_path: Path) -> None:
    """A walk through the whole client; what it does not ask for is missing at the end."""
    plain = Trainyard(server.client.base)
    recorder = Recorder(plain.transport, plain.request("GET", "/openapi.json").json())
    ty = Trainyard(server.client.base, transport=recorder)
    name = fresh("walk")

    assert ty.is_live()
    assert ty.readiness()["trainer"] == "ok"
    assert ty.version()["trainyard"]
    assert "trainyard_" in ty.metrics()
    assert ty.index()
    assert ty.key().scopes

    dataset = ty.upload(flowers, name, "kind")
    assert dataset.rows == 90
    assert ty.dataset(name) == dataset == dataset.refresh()
    assert name in [one.name for one in ty.datasets()]
    assert {column.name for column in dataset.profile().columns} == {"long", "wide", "tall", "deep", "kind"}
    assert [row.row for row in dataset.list_rows("kind:setosa")] == list(range(1, 91, 3))
    assert dataset.download(tmp_path / "copy.csv").read_text().count("setosa") == 30

    assert name in [record.subject for record in ty.audit(kind="dataset")]
    model = ty.define(name, features={"long": "ignore"}, classes=["setosa", "versicolor", "virginica"], hidden=[8])
    assert ty.model(name) == model
    assert name in [one.name for one in ty.models()]
    job = model.train(dataset, epochs=2000, checkpoint={"every_epochs": 10})
    assert next(iter(job)).number == 1
    assert job.pause().state in ("running", "paused")
    events = job.events()
    assert next(event for event in events if event.type == "state" and event.data["state"] == "paused")
    assert job.resume().state == "queued"
    job = job.wait()
    assert [epoch.number for epoch in job.history()] == list(range(1, 2001))
    some = [epoch.number for epoch in job.history(points=50)]
    assert (some[0], some[-1], some == sorted(set(some)), 20 < len(some) < 400) == (1, 2000, True, True)
    assert job.id in [one.id for one in ty.jobs(model=name)]
    checkpoint = next(iter(job.checkpoints))
    assert checkpoint.id in [one.id for one in model.checkpoints]
    assert ty.checkpoint(checkpoint.id) == checkpoint
    assert model.publish(checkpoint).checkpoint == checkpoint.id

    file = checkpoint.download(tmp_path / "model.h5")
    assert model.import_checkpoint(file).number == 2
    assert [version.number for version in model.versions] == [2, 1]
    assert model.publish(checkpoint).number == 1  # it is one already
    assert model.version(1).definition is not None
    assert model.export(1, tmp_path / "model.onnx") == model.version(1).export(tmp_path / "model.onnx")
    assert b"trainyard" in (tmp_path / "model.onnx").read_bytes()[:100]
    assert model.promote(1).version == 1
    assert {alias.alias: alias.version for alias in model.aliases} == {"default": 1}
    assert model.alias("latest").version == 2
    assert model.promote({1: 0.75, 2: 0.25}).version == 1
    shadowed = model.promote(1, "canary", shadow={"version": 2, "log": True})
    assert (shadowed.versions, shadowed.shadow) == (
        ({"version": 1, "weight": 1.0},),
        {"version": 2, "share": 1.0, "log": True},
    )
    assert model.predict([{"wide": 4.1, "tall": 1, "deep": 6.1}], version="canary", sticky="x").version == 1
    log = tmp_path / "shadow.ndjson"
    assert eventually(lambda: model.download_shadow_log(log, "canary").read_text(), what="a line").count("\n") == 1
    model.clear_shadow_log("canary")
    assert model.download_shadow_log(log, "canary").read_text() == ""
    model.delete_alias("canary")
    model.delete_alias("default")
    assert ty.predict(name, [{"wide": 4.1, "tall": 1, "deep": 6.1}]).labels == ("virginica",)
    assert ty.evaluate(name, name).accuracy > 0.9

    members = ty.train(dataset, name=f"{name}-folds", hidden=[4], epochs=3, folds=2).wait()
    assert members.download_held_out(tmp_path / "held-out.csv").read_text().startswith("row,fold,label,prediction")
    tried = ty.sweep(
        {"data": name, "model": {"name": f"{name}-sweep", "hidden": [4]}}, {"/epochs": [1, 2]}, search="grid"
    )
    followed = ty.events(after=0)
    assert next(event for event in followed if event.data.get("job") == tried.id)
    followed.close()  # type: ignore[attr-defined]
    tried.wait()

    ended = ty.train(dataset, name=f"{name}-ended", hidden=[4], epochs=10_000_000)
    assert ended.cancel().state in ("queued", "running", "cancelled")
    assert [event.data["state"] for event in ended.events() if event.type == "state"][-1] == "cancelled"
    ended.delete()
    model.delete()
    dataset.delete()
    assert recorder.all - recorder.seen == set()
