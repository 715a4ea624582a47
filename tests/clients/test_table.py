"""Every line of the README's table of clients does what the table says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from testing.harness import ROOT, Server
from tests.clients.environments import CLIENTS, cases, program_of
from tests.clients.readme import LINES, Line
from trainyard import Trainyard

ROW = [0.8, 0.2]
#: The test of the line in a client's own environment.
ITS_TEST = "test_the_line_of_the_readme"
HERE = [line for line in LINES if line.test == "tests/clients/test_table.py"]


def test_every_row_has_a_test() -> None:
    """A row leads to this file or to the tests of a client, of which one evaluates the row's code."""
    section = (ROOT / "README.md").read_text().partition("\n## Who speaks")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| \[", section, re.MULTILINE)
    assert len(LINES) == len(rows) > 8
    elsewhere = {line.test for line in LINES} - {"tests/clients/test_table.py"}
    assert elsewhere == {str(program_of(client).relative_to(ROOT)) for client in CLIENTS}
    assert [client for client in CLIENTS if ITS_TEST not in cases(client)] == []


@pytest.mark.processes
@pytest.mark.parametrize("line", HERE, ids=lambda line: line.client)
def test_line(served: Server, line: Line, tmp_path: Path) -> None:
    """Every line returns the class or the probabilities that ``POST /predict`` does."""
    expected = served.client.post("/predict", {"model": "tour", "inputs": [ROW]}).json
    np.save(tmp_path / "rows.npy", np.array([ROW], np.float32))
    assert_same(_run(line.at(served.client.base), tmp_path), expected)


def _run(code: str, folder: Path) -> Any:
    """What a line of shell, JavaScript or Python returns."""
    if code.startswith("curl "):
        finished = subprocess.run(["bash", "-c", code], cwd=folder, capture_output=True, timeout=60, check=True)
        (folder / "answer").write_bytes(finished.stdout)
        is_array = finished.stdout.startswith(b"\x93NUMPY")
        return np.load(folder / "answer").tolist() if is_array else json.loads(finished.stdout)
    if code.startswith("await "):
        if shutil.which("node") is None:
            pytest.skip("node is missing")
        program = f"console.log(JSON.stringify({code}))"
        command = ["node", "--input-type=module", "--eval", program]
        return json.loads(subprocess.run(command, capture_output=True, timeout=60, check=True).stdout)
    return eval(code, {"Trainyard": Trainyard})


def assert_same(answer: Any, expected: Any) -> None:
    """The answer holds the same class or the same probabilities, in whatever form its protocol has."""
    if isinstance(answer, dict) and "outputs" in answer:
        answer = {output["name"]: output["data"] for output in answer["outputs"]}["probabilities"]
    elif isinstance(answer, dict):
        (answer,) = answer.values()
    values = np.ravel(answer).tolist()
    if isinstance(values[0], str):
        assert values == expected["predictions"]
    else:
        np.testing.assert_allclose(values, expected["probabilities"][0], rtol=1e-6)
