"""The example of docs/tables.md, carried out with a real server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from benchmarks.table_files import FILES
from testing.harness import Client

__all__ = ["OVERRIDE", "Step", "example"]


class Step(NamedTuple):
    """A command, and the part of the answer that the page shows."""

    command: str
    answer: str


#: A request that changes single columns.
OVERRIDE = """{"data": "penguins",
 "model": {"name": "few", "features": {"year": "ignore", "island": "text", "body_mass_g": {"scale": "log"}}}}"""
ROWS = [
    {"island": "Biscoe", "bill_length_mm": 48.2, "bill_depth_mm": 14.4, "flipper_length_mm": 218, "body_mass_g": 5000},
    {"island": "Dream", "bill_length_mm": 39.5, "sex": "unknown"},
]


def example(client: Client) -> list[Step]:
    """Upload a file, train, predict; the commands and their answers."""
    content = next(file for file in FILES if file.name == "penguins").read()
    headers = {"Content-Type": "application/octet-stream"}
    uploaded = client.post("/datasets?name=penguins&label=species", content, headers=headers).json
    job = client.post("/train", {"data": "penguins"}).json
    ended = client.wait(job["id"])
    changed = client.post("/train", {**json.loads(OVERRIDE), "dry_run": True})
    assert changed.status == 200, changed
    body = {"model": "penguins", "rows": ROWS, "report": True}
    predicted = client.post("/predict", body)
    assert predicted.status == 200, predicted
    return [
        Step(
            'curl "localhost:8000/datasets?name=penguins&label=species" --data-binary @penguins.csv',
            _shown({"rows": uploaded["rows"], "columns": [_column(each) for each in uploaded["columns"]]}),
        ),
        Step("JOB=$(curl localhost:8000/train -d '{\"data\": \"penguins\"}' | grep -o 'job_\\w*')", ""),
        Step('curl "localhost:8000/jobs/$JOB?wait=30"', _shown({name: ended[name] for name in ("state", "model")})),
        Step(f"curl localhost:8000/predict -d '{json.dumps(body)}'", _shown(predicted.json)),
    ]


def _column(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: document[name] for name in ("name", "type", "missing", "use", "reason") if name in document}


def _shown(document: Mapping[str, Any]) -> str:
    """JSON with a line for each member, and one for each entry of a list of objects."""
    lines = []
    for name, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            entries = ",\n".join(f"    {json.dumps(each)}" for each in value)
            lines.append(f'  "{name}": [\n{entries}\n  ]')
        else:
            lines.append(f'  "{name}": {json.dumps(value)}')
    return "{\n" + ",\n".join(lines) + "\n}"
