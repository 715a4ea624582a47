"""Versions as ONNX files from the running service: ONNX Runtime answers what the service answers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from models.formats.checkpoint_file import AnyCheckpoint
from service.settings import Settings
from service.web.app import create_app
from service.web.routes import exports
from testing.harness import ROOT, Client, Server
from testing.onnx import answer_of, session_of
from testing.runs import Recorder, a_definition, a_run
from testing.samples import ROWS, a_model, fresh
from testing.saving import save_checkpoint
from testing.table_members import an_ensemble
from testing.tables import a_frame, a_table, a_table_run, of_table
from tests.models.training.test_ensemble_run import kind

#: Rows as a client sends them, with what may be missing left out.
PEOPLE: list[dict[str, Any]] = [
    {"age": 31.5, "sex": "female", "member": True, "day": "2021-03-04"},
    {"age": None, "sex": "male", "member": None, "day": "2022-12-31T23:30:00Z"},
    {"age": 1e6, "sex": "other", "member": False, "day": None},
    {"age": -4, "sex": "NA", "member": True, "day": "1999-02-28"},
]


def published(client: Client, folder: Path, checkpoint: AnyCheckpoint) -> None:
    """Make a checkpoint the next version of its model, which is defined if it is new."""
    save_checkpoint(folder / "file.h5", checkpoint)
    document = {name: value for name, value in checkpoint.definition.document().items() if name != "inputs"}
    if checkpoint.definition.features is None:
        document["inputs"] = checkpoint.definition.inputs
    assert client.post("/models", document).status in (200, 201)
    path = f"/models/{checkpoint.definition.name}/checkpoints"
    answer = client.post(path, (folder / "file.h5").read_bytes(), headers={"Content-Type": "application/x-hdf5"})
    assert answer.status == 201, answer


@pytest.fixture(scope="module")
def points(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of two numbers with two versions."""
    definition = a_definition(name=fresh("points"))
    for seed in (1, 2):
        run = a_run(definition=definition, seed=seed)
        run.run(Recorder())
        published(server.client, tmp_path_factory.mktemp("points"), run.checkpoint())
    return definition.name


@pytest.fixture(scope="module")
def people(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of a table with members of two kinds, of which one reads bins."""
    name = fresh("people")
    kinds = [kind("binned", 4), kind("plain", 5, bins=False)]
    kinds = [{**each, "layers": [*each["layers"][:-2], {"type": "dense", "units": 2}, "softmax"]} for each in kinds]
    checkpoint = an_ensemble(
        a_table(a_frame().drop(columns="notes")),
        name=name,
        features={"age": {"scale": "robust_bins"}},
        network={"folds": 2, "kinds": kinds},
    )
    published(server.client, tmp_path_factory.mktemp("people"), checkpoint)
    return name


def export(client: Client, model: str, version: int | str = "default", **options: Any) -> Any:
    return client.get(f"/models/{model}/versions/{version}/export?format=onnx", **options)


@pytest.mark.parametrize("version", [1, 2, "default"])
def test_a_version_answers_as_it_does_here(client: Client, points: str, version: int | str) -> None:
    content = export(client, points, version).body
    onnx.checker.check_model(content, full_check=True)
    rows = [*ROWS, [1e3, -1e3], [0.0, 0.0]]
    found = answer_of(content, {"inputs": np.array(rows, np.float32)})
    number = None if version == "default" else version
    answer = client.post("/predict", {"model": points, "version": number, "inputs": rows}).json
    np.testing.assert_allclose(found["probabilities"], answer["probabilities"], rtol=0, atol=1e-5)
    assert found["predictions"].tolist() == answer["predictions"]
    facts = {each.key: each.value for each in onnx.load_from_string(content).metadata_props}
    shown = client.get(f"/models/{points}/versions/{version}").json
    assert (facts["model"], facts["version"]) == (points, str(shown["version"]))
    assert facts["checkpoint"] == shown["checkpoint"]
    assert json.loads(facts["classes"]) == shown["definition"]["classes"]


def test_a_table_with_missing_and_unseen_values(client: Client, people: str) -> None:
    answer = export(client, people)
    assert answer.status == 200, answer
    document = client.get(f"/models/{people}/versions/default").json
    assert "kinds" in document["definition"]["network"]
    assert [each.name for each in session_of(answer.body).get_inputs()] == ["age", "sex", "member", "day"]
    found = answer_of(
        answer.body,
        {
            "age": np.array([[31.5], [np.nan], [1e6], [-4.0]]),
            "sex": np.array([["female"], ["male"], ["other"], ["NA"]], object),
            "member": np.array([[1], [-1], [0], [1]]),
            "day": np.array(["2021-03-04", "2022-12-31T23:30:00", "NaT", "1999-02-28"], "datetime64[us]").astype(
                np.int64
            )[:, None],
        },
    )
    expected = client.post("/predict", {"model": people, "rows": PEOPLE}).json
    np.testing.assert_allclose(found["probabilities"], expected["probabilities"], rtol=0, atol=1e-5)
    assert found["predictions"].tolist() == expected["predictions"]


def test_the_example_of_the_page(client: Client, people: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/export.md: its lines, beside a file of the name that they read."""
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL)
    (tmp_path / "people.onnx").write_bytes(export(client, people).body)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(block, "docs/export.md", "exec"), names)
    rows = [{"age": 31.5, "sex": "female", "member": True, "day": "2021-03-04T08:30"}, {}]
    expected = client.post("/predict", {"model": people, "rows": rows}).json
    np.testing.assert_allclose(names["probabilities"], expected["probabilities"], rtol=0, atol=1e-5)
    assert names["predictions"].tolist() == expected["predictions"]


def test_it_is_a_download_like_others(client: Client, points: str) -> None:
    """A file with a name, a tag and pieces, and a record of each download in the audit trail."""

    def records() -> int:
        return len(client.get(f"/audit?action=downloaded&subject={points}/1").json["data"])

    before = records()
    whole = export(client, points, 1)
    assert whole.headers["content-type"] == "application/octet-stream"
    assert whole.headers["content-disposition"] == f"attachment; filename={points}-1.onnx"
    assert records() == before + 1
    tag = whole.headers["etag"]
    assert export(client, points, 1).headers["etag"] == tag
    assert export(client, points, 2).headers["etag"] != tag
    same = export(client, points, 1, headers={"If-None-Match": tag})
    assert (same.status, same.body) == (304, b"")
    piece = export(client, points, 1, headers={"Range": "bytes=10-19"})
    assert (piece.status, piece.body) == (206, whole.body[10:20])
    assert records() == before + 3
    named = client.get(f"/models/{points}/versions/1/export")
    assert named.body == whole.body


def test_a_text_is_refused_by_its_column(client: Client, tmp_path: Path) -> None:
    definition = of_table(a_table(), name=fresh("texts"))
    published(client, tmp_path, a_table_run(definition=definition).checkpoint())
    refused = export(client, definition.name)
    assert (refused.status, refused.json["code"]) == (409, "not_exportable")
    assert "column 'notes' is a text" in refused.json["detail"]
    assert '"features": {"notes": "ignore"}' in refused.json["detail"]


def test_what_cannot_be_exported_is_refused(client: Client, points: str) -> None:
    untrained = fresh("untrained")
    client.define(a_model(untrained))
    for path, status, code in (
        (f"/models/{points}/versions/1/export?format=pmml", 422, "validation_failed"),
        (f"/models/{points}/versions/9/export", 404, "not_found"),
        (f"/models/{points}/versions/best/export", 404, "not_found"),
        (f"/models/{fresh('absent')}/versions/1/export", 404, "not_found"),
        (f"/models/{untrained}/versions/default/export", 409, "no_version"),
    ):
        answer = client.get(path)
        assert (answer.status, answer.json["code"]) == (status, code), path
    wrong = client.get(f"/models/{points}/versions/1/export?format=keras").json["errors"]
    assert [(each["pointer"], "'onnx'" in each["detail"], "'keras'" in each["detail"]) for each in wrong] == [
        ("/format", True, True)
    ]


@pytest.mark.processes  # The file of a checkpoint is read in a process of its own.
def test_it_takes_memory_of_the_budget_and_without_the_package_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(Settings.read({"TRAINYARD_DATA": str(tmp_path), "TRAINYARD_TRAINER": "external"}))
    client, parts = app.test_client(), app.extensions["trainyard"]
    checkpoint = a_run().checkpoint()
    save_checkpoint(tmp_path / "small.h5", checkpoint)
    assert client.post("/models", json=checkpoint.definition.document()).status_code == 201
    content = (tmp_path / "small.h5").read_bytes()
    assert client.post("/models/small/checkpoints", data=content).status_code == 201
    parts.parser.close()
    assert client.get("/models/small/versions/1/export").status_code == 200
    with monkeypatch.context() as patch:
        patch.setattr(exports, "_COPIES", 10**12)
        answer = client.get("/models/small/versions/1/export")
        assert (answer.status_code, answer.get_json()["code"]) == (413, "too_large")
    for name in [name for name in sys.modules if name.startswith(("models.export.", "onnx."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    answer = client.get("/models/small/versions/1/export")
    assert (answer.status_code, answer.get_json()["code"]) == (501, "extra_missing")
    assert 'pip install "trainyard-server[onnx]"' in answer.get_json()["detail"]
    assert client.get("/models/small/versions/1").status_code == 200
    parts.database.dispose()


@pytest.mark.processes
def test_the_service_loads_the_package_with_the_first_export() -> None:
    """It takes memory, and most services export nothing."""
    code = "import sys, service.web.app; sys.exit('onnx' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
