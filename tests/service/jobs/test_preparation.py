"""Rows are prepared once by each request and once by the runner of its job; modules are imported before that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from models.data.dataset import Dataset
from models.training import prepared
from service.jobs import lifecycle
from service.settings import Settings
from service.web.app import create_app
from testing.harness import ROOT
from testing.samples import DATA, a_model, a_training

#: A runner that reports at its end how often it has split rows and numbered labels.
COUNTING_RUNNER = """
import sys
from models.data.dataset import Dataset
from models.training import prepared
from service.jobs import runner
calls = []
def counted(name, function):
    return lambda *arguments: (calls.append(name), function(*arguments))[1]
prepared.stratified_split = counted("split", prepared.stratified_split)
Dataset.codes_for = counted("codes", Dataset.codes_for)
runner.main()
print(*calls, file=sys.stderr)
"""

#: A runner that reports at its end which modules were imported after it had begun to wait, which it does for a line.
IMPORTING_RUNNER = """
import io
import sys
from service.jobs import runner
class Orders(io.BufferedReader):
    def readline(self):
        self.waiting = set(sys.modules)
        return super().readline()
orders = Orders(io.FileIO(0))
sys.stdin = io.TextIOWrapper(orders)
runner.main()
print(*sorted(set(sys.modules) - orders.waiting), file=sys.stderr)
"""


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    app = create_app(Settings.read({"TRAINYARD_DATA": str(tmp_path), "TRAINYARD_TRAINER": "external"}))
    assert app.test_client().post("/models", json=a_model("counted")).status_code == 201
    return app


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often rows are split, and labels numbered, from now on."""
    seen: Counter[str] = Counter()

    def count(place: Any, attribute: str, name: str) -> None:
        function = getattr(place, attribute)

        def counted(*arguments: Any) -> Any:
            seen[name] += 1
            return function(*arguments)

        monkeypatch.setattr(place, attribute, counted)

    count(prepared, "stratified_split", "split")
    count(Dataset, "codes_for", "codes")
    return seen


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    ("validation", "expected"),
    [(None, {"codes": 1}), ({"fraction": 0.5}, {"codes": 1, "split": 1}), (DATA, {"codes": 2})],
    ids=["no validation", "a fraction", "rows apart"],
)
def test_a_request_prepares_its_rows_once(
    app: Flask, calls: Counter[str], validation: Any, expected: dict[str, int], dry_run: bool
) -> None:
    body = a_training("counted", validation=validation, dry_run=dry_run)
    assert app.test_client().post("/train", json=body).status_code == (200 if dry_run else 202)
    assert calls == expected


def run_a_job(app: Flask, program: str, data: Path, kernels: str = "numpy") -> str:
    """The last line that a runner of a job writes on standard error."""
    body = a_training("counted", validation={"fraction": 0.5})
    assert app.test_client().post("/train", json=body).status_code == 202
    with app.extensions["trainyard"].database.write() as connection:
        job = lifecycle.claim(connection, 0.0, 60.0)
    assert job is not None
    runner = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "TRAINYARD_DATA": str(data), "TRAINYARD_KERNELS": kernels},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert runner.stdin is not None
    assert runner.stdout is not None
    runner.stdin.write(json.dumps({"job": job.id, "fence": job.fence}) + "\n")
    runner.stdin.flush()
    # The end of its input would make it stop; the first line that it writes is how the job ended.
    assert json.loads(runner.stdout.readline()) == {"outcome": "finished"}
    _, errors = runner.communicate(timeout=60)
    return errors.splitlines()[-1]


@pytest.mark.processes
def test_the_runner_prepares_its_rows_once(app: Flask, tmp_path: Path) -> None:
    assert run_a_job(app, COUNTING_RUNNER, tmp_path).split() == ["codes", "split"]


@pytest.mark.processes
@pytest.mark.parametrize("kernels", ["numpy", "llvm"])
def test_a_waiting_runner_has_imported_what_a_job_needs(app: Flask, tmp_path: Path, kernels: str) -> None:
    assert run_a_job(app, IMPORTING_RUNNER, tmp_path, kernels) == ""
