"""A client that openapi-python-client makes from ``/openapi.json``, with nothing configured."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import sysconfig
import urllib.request
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest

NAME = f"generated-{uuid4().hex[:8]}"
CSV = b"x,y,colour\n" + b"".join(
    f"{number % 3 - 1},{number / 12},{('red', 'green', 'blue')[number % 3]}\n".encode() for number in range(12)
)


class Made:
    """The client that was made, and what its maker printed."""

    def __init__(self, said: str, base: str) -> None:
        self.said = said
        self.models = importlib.import_module("made.models")
        self.types = importlib.import_module("made.types")
        self.client = importlib.import_module("made").Client(base_url=base, timeout=70.0)

    def ask(self, path: str, *arguments: Any, **options: Any) -> Any:
        """What the function of an operation returns: ``datasets.upload_dataset`` is the one in that module."""
        operation: ModuleType = importlib.import_module(f"made.api.{path}")
        answer = operation.sync_detailed(*arguments, client=self.client, **options)
        assert answer.status_code < 300, answer.content
        return answer.parsed

    def file(self, content: bytes, **names: str) -> Any:
        return self.types.File(BytesIO(content), **names)


@pytest.fixture(scope="session")
def made(base: str, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("generated")
    scripts = sysconfig.get_path("scripts")
    with urllib.request.urlopen(f"{base}/openapi.json") as response:
        (folder / "openapi.json").write_bytes(response.read())
    options = ["--path", "openapi.json", "--output-path", "made", "--meta", "none"]
    finished = subprocess.run(
        [f"{scripts}/openapi-python-client", "generate", *options],
        cwd=folder,
        env={**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = finished.stdout + finished.stderr
    assert finished.returncode == 0, said
    sys.path.insert(0, str(folder))
    return Made(said, base)


@pytest.fixture(scope="session")
def trained(made: Made) -> str:
    """The name of a model that the client has uploaded data for and trained."""
    uploaded = made.ask("datasets.upload_dataset", body=made.file(CSV), name=NAME, label="colour")
    assert (uploaded.name, uploaded.rows, uploaded.label) == (NAME, 12, "colour")
    job = made.ask("training.train", body=made.models.Train(data=NAME, epochs=5))
    job = made.ask("jobs.show_job", job.id, wait=60.0)
    assert job.state == made.models.JobState.SUCCEEDED
    return str(job.model)


def test_every_operation_is_made(made: Made, base: str) -> None:
    """What is left out is another type of a body that has one, and the lines that an alias's shadow predicted."""
    warned = re.findall(r"^WARNING parsing (.*) within .*\n+(.*)", made.said, re.MULTILINE)
    others = {place: fault for place, fault in warned if not fault.startswith("Unsupported content type ")}
    assert [*others] in ([], ["GET /models/{name}/aliases/{alias}/shadow"]), others
    assert "Unable to" not in made.said
    with urllib.request.urlopen(f"{base}/openapi.json") as response:
        names = set(re.findall(rb'"operationId": ?"(\w+)"', response.read()))
    folder = Path(importlib.import_module("made").__file__ or "").parent / "api"
    found = {path.stem.encode() for path in folder.rglob("*.py")} - {b"__init__"}
    assert found == names


def test_upload_as_a_form(made: Made) -> None:
    form = made.models.UploadDatasetFilesBody(
        file=made.file(CSV, file_name="points.csv", mime_type="text/csv"), name=f"{NAME}-form", label="colour"
    )
    assert made.ask("datasets.upload_dataset", body=form).rows == 12


def test_predict_rows(made: Made, trained: str, predict: Callable[..., Any]) -> None:
    rows = [{"x": -1, "y": 0.25}, {"x": 1, "y": 0.75}]
    kind = made.models.PredictRowsRowsItemType0
    body = made.models.PredictRows(model=trained, rows=[kind.from_dict(row) for row in rows])
    answer = made.ask("predictions.predict", body=body)
    expected = predict(model=trained, rows=rows)
    assert answer.predictions == expected["predictions"]
    assert answer.probabilities == expected["probabilities"]


def test_predict_numbers(made: Made, trained: str, predict: Callable[..., Any]) -> None:
    answer = made.ask("predictions.predict", body=made.models.PredictInputs(model=trained, inputs=[[-1, 0.25]]))
    assert answer.probabilities == predict(model=trained, inputs=[[-1, 0.25]])["probabilities"]


def test_download_a_dataset(made: Made, trained: str) -> None:
    """It comes as text, whose lines are the cells that were uploaded."""
    text = made.ask("dataset_contents.download_dataset", NAME)
    cells = [line.split(",") for line in text.splitlines()]
    sent = [line.split(",") for line in CSV.decode().splitlines()]
    assert cells[0] == sent[0]
    assert [(float(x), float(y), colour) for x, y, colour in cells[1:]] == [
        (float(x), float(y), colour) for x, y, colour in sent[1:]
    ]


def test_download_and_import_a_checkpoint(made: Made, trained: str, predict: Callable[..., Any]) -> None:
    """The file that comes is the next version when it is sent back, and that version predicts the same."""
    (first,) = made.ask("models.list_versions", trained).data
    content = made.ask("checkpoints.download_checkpoint", first.checkpoint).payload.read()
    assert content.startswith(b"\x89HDF\r\n")
    version = made.ask("checkpoints.import_checkpoint", trained, body=made.file(content))
    assert version.version == first.version + 1
    asked = {"model": trained, "inputs": [[-1, 0.25]]}
    assert predict(**asked)["version"] == version.version
    assert predict(**asked)["probabilities"] == predict(**asked, version=first.version)["probabilities"]


def test_a_refusal_is_a_problem(made: Made) -> None:
    operation = importlib.import_module("made.api.models.show_model")
    problem = operation.sync("nothing-here", client=made.client)
    assert isinstance(problem, made.models.Problem)
    assert problem.code == "not_found"


def test_the_line_of_the_readme(made: Made, line: str, predict: Callable[..., Any]) -> None:
    names = {
        "Client": importlib.import_module("made").Client,
        "PredictInputs": made.models.PredictInputs,
        "predict": importlib.import_module("made.api.predictions.predict"),
    }
    assert eval(line, names).probabilities == predict(model="tour", inputs=[[0.8, 0.2]])["probabilities"]
