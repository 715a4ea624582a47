"""Requests made from the OpenAPI document by schemathesis, and raw ones: each is answered as the document says.

Schemathesis runs in processes of its own with all its checks and those of ``security.fuzz_checks``; the process that
follows links starts when the others have ended.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from reliability.figure import Figure
from security.fuzz_checks import CHECKPOINT, KNOWN
from security.raw import attack
from testing.harness import ROOT, Server, serving
from testing.samples import CSV, a_model, a_training

__all__ = ["run"]

GOALS = {"cases of schemathesis": 16_000, "raw requests": 35_000}
#: What the service allows in this test: requests that ask for much are refused, not computed.
LIMITS: dict[str, object] = {
    "MAX_PARAMETERS": 20_000,
    "MAX_BODY_BYTES": 2**20,
    "MAX_DATASET_BYTES": 2**20,
    "MAX_IMPORT_BYTES": 2**20,
    "MAX_BATCH_BYTES": 64 * 2**20,
    "LEASE_SECONDS": 30,
}
SEED = 13
_CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


class Part(NamedTuple):
    """One process of schemathesis: its phases, its cases for an operation at scale 1, and the least scale for it."""

    phases: str
    examples: int
    least: float = 0.0


#: The first one has a fixed number of cases, which a short form has no time for.
BESIDE = (Part("coverage", 1, 1.0), Part("examples,fuzzing", 60))
#: Follows links.
LINKED = Part("stateful", 300)


def run(scale: float) -> Figure:
    """Have schemathesis and the raw requests ask a service that has one thing of each kind."""
    figure = Figure(goals=dict(GOALS))
    with (
        tempfile.TemporaryDirectory(prefix="trainyard-fuzz-") as folder,
        serving(Path(folder) / "data", **LIMITS) as server,
    ):
        before = {process.pid for process in server.processes("gunicorn")}
        environment = _seeded(server, Path(folder))
        # The raw requests need no second core.
        with ThreadPoolExecutor(2) as pool:
            parts = [
                pool.submit(_generate, server, part, scale, environment, Path(folder))
                for part in BESIDE
                if scale >= part.least
            ]
            attack(server, figure, int(GOALS["raw requests"] * scale))
            found = [part.result() for part in parts]
        # What it makes and goes on with, the others may delete by its name.
        found.append(_generate(server, LINKED, scale, environment, Path(folder)))
        for cases, failures in found:
            figure.count("cases of schemathesis", cases)
            figure.broken += failures
        if {process.pid for process in server.processes("gunicorn")} != before:
            figure.broken.append("processes of the service ended")
        if server.client.get("/health/ready").status != 200:
            figure.broken.append("the service is not ready any more")
        if "Traceback" in server.log:
            figure.broken.append(f"the log has a traceback: {server.log.partition('Traceback')[2][:2000]}")
    return figure


def _seeded(server: Server, folder: Path) -> dict[str, str]:
    """Make one of each thing; the environment that names them to schemathesis."""
    client = server.client
    client.define(a_model("spiral"))  # The document's examples have this name.
    job = client.run(a_training("spiral"))
    for name in ("points", "seed"):
        kept = client.post(f"/datasets?name={name}&label=colour", CSV.encode(), headers={"Content-Type": "text/csv"})
        assert kept.status == 201, kept
    table = client.run({"model": {"name": "table"}, "data": "points", "epochs": 2})
    assert client.put("/models/spiral/aliases/best", {"version": 1}).status == 200
    file = folder / "checkpoint.h5"
    file.write_bytes(client.get(f"/checkpoints/{job['checkpoint']}/file").body)
    known = {
        "name": ["spiral", "table"],
        "model": ["spiral", "table"],
        "version": ["1", "latest", "best"],
        "alias": ["best", "default"],
        "key": ["seed", "points", kept.json["id"]],
        "data": ["seed", "points"],
        "job_id": [job["id"], table["id"]],
        "checkpoint_id": [job["checkpoint"], table["checkpoint"]],
    }
    return {
        "SCHEMATHESIS_HOOKS": "security.fuzz_checks",
        "PYTHONPATH": str(ROOT),
        KNOWN: json.dumps(known),
        CHECKPOINT: str(file),
    }


def _generate(
    server: Server, part: Part, scale: float, environment: dict[str, str], folder: Path
) -> tuple[int, list[str]]:
    """Run one part of schemathesis: how many cases it sent, and what it found."""
    report = folder / f"{part.phases}.json"
    command = [
        *(Path(sys.executable).with_name("schemathesis"), "--config-file", _CONFIGURATION, "run"),
        *(f"{server.client.base}/openapi.json", "--phases", part.phases, "--seed", SEED, "--workers", 1),
        *("--max-examples", max(1, int(part.examples * scale)), "--no-shrink", "--no-color"),
        *("--report", "json", "--report-json-path", report, "--suppress-health-check", "all"),
    ]
    done = subprocess.run(
        [*map(str, command)], cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if not report.exists():
        return 0, [f"schemathesis ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"]
    found = json.loads(report.read_text())
    cases: int = found["test_cases"]["generated"]
    failures = [f"{part.phases}: {each['title']}: {each['operations']}" for each in found["failures"]]
    failures += [f"{part.phases}: {each['title']}" for each in found["errors"]]
    if failures:
        shown = done.stdout.partition("= FAILURES =")[2] or done.stdout[-5_000:]
        failures += [line[:400] for line in shown.splitlines()[:400] if line.strip()]
    elif done.returncode:
        failures.append(f"{part.phases}: schemathesis ended with {done.returncode}: {done.stdout[-2000:]}")
    print(f"    {part.phases}: {cases:,} cases in {found['running_time']:.0f} s", flush=True)
    return cases, failures
