"""JavaScript, with nothing but the fetch that Node and browsers have."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from testing.harness import Server

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(shutil.which("node") is None, reason="node is missing"),
]


def test_fetch(served: Server) -> None:
    """Raw tensors come and go as Float32Array; JSON and V1 say the same."""
    program = Path(__file__).parent / "programs" / "fetch.mjs"
    finished = subprocess.run(
        ["node", program, served.client.base], capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout)
    expected = served.client.post("/predict", {"model": "tour", "inputs": [[-1, 0.25], [1, 0.75]]}).json
    probabilities = np.float32(expected["probabilities"])
    assert found["binary"]["shape"] == [2, 3]
    np.testing.assert_array_equal(np.float32(found["binary"]["data"]).reshape(2, 3), probabilities)
    outputs = {output["name"]: output["data"] for output in found["json"]["outputs"]}
    np.testing.assert_allclose(np.reshape(outputs["probabilities"], (2, 3)), probabilities, rtol=1e-6)
    assert outputs["predictions"] == expected["predictions"]
    np.testing.assert_allclose(found["instances"]["predictions"], probabilities, rtol=1e-6)
