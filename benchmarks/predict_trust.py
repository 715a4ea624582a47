"""Predictions with sets, uncertainty and a report beside plain ones, by a version of the recipe, in the application."""

from __future__ import annotations

import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.predict_names import call
from service.settings import Settings
from service.web.app import create_app
from testing.harness import serving

TRAINING_ROWS = 800
NUMBERS, WORDS = 12, 4
#: Rows of a request, and how often it is sent.
SIZES = {1: 3000, 1000: 80}
ALL = {"coverage": 0.9, "uncertainty": True, "report": True}


def main() -> dict[str, Any]:
    """Measure both in turn; return the microseconds of each, the ratios, and the milliseconds of an explanation."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        with serving(data) as server:
            rows = [{**row, "label": _label(row)} for row in (_row() for _ in range(TRAINING_ROWS))]
            job = server.client.train({"model": {"name": "bench"}, "data": {"rows": rows, "label": "label"}})
            ended = server.client.wait(job["id"], 600)
            assert ended["state"] == "succeeded", ended
        application = create_app(Settings.read({"TRAINYARD_DATA": str(data)})).wsgi_app
        found: dict[str, Any] = {"members": len(ended["members"])}
        for size, calls in SIZES.items():
            request = {"model": "bench", "rows": [_row() for _ in range(size)]}
            bodies = [json.dumps({**request, **more}).encode() for more in ({}, ALL)]
            plain, full = _microseconds([lambda body=body: call(application, body) for body in bodies], calls)  # type: ignore[misc]
            ratio = full / plain
            print(f"rows: {size}; {plain:,.0f} µs plain, {full:,.0f} µs with all, ratio {ratio:.2f} (goal at most 1.3)")
            found |= {f"{size} rows": {"plain": plain, "all": full, "ratio": ratio}}
        body = json.dumps({"model": "bench", "rows": [_row()], "explain": True}).encode()
        (explained,) = _microseconds([lambda: call(application, body)], 40)
        print(f"explanation of one row: {explained / 1000:.1f} ms")
    return {**found, "explanation, ms": explained / 1000}


def _row() -> dict[str, Any]:
    row: dict[str, Any] = {f"n{place}": round(random.gauss(3, 10), 3) for place in range(NUMBERS)}
    return {**row, **{f"w{place}": random.choice("abcde") for place in range(WORDS)}}


def _label(row: dict[str, Any]) -> str:
    return "yes" if row["n0"] + 5 * (row["w0"] == "a") + random.gauss(0, 5) > 3 else "no"


def _microseconds(functions: list[Callable[[], object]], calls: int) -> list[float]:
    """The median time of so many calls of each function, in turn."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(calls):
        for place, function in enumerate(functions):
            begin = time.perf_counter()
            function()
            times[place].append((time.perf_counter() - begin) * 1e6)
    return [statistics.median(each) for each in times]


if __name__ == "__main__":
    main()
