"""One row predicted by its columns' names, compared to the same row as a list of numbers, within the application."""

from __future__ import annotations

import io
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from service.settings import Settings
from service.web.app import create_app
from testing.harness import serving

ROUNDS, CALLS = 40, 200
#: Number columns and columns of words of each model, and the scale of its numbers.
MODELS = {
    "4 numbers": (4, 0, "standardize"),
    "30 numbers": (30, 0, "standardize"),
    "8 numbers and 4 words": (8, 4, "standardize"),
    "30 numbers in bins": (30, 0, "robust_bins"),
}


def main() -> dict[str, Any]:
    """Measure all ways in turn; return the microseconds of each and the ratios of their medians."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        with serving(data) as server:
            for name, shape in MODELS.items():
                _train(server.client, _name(name), *shape)
        application = create_app(Settings.read({"TRAINYARD_DATA": str(data)})).wsgi_app
        bodies = {name: _bodies(_name(name), *shape[:2]) for name, shape in MODELS.items()}
        times: dict[str, dict[str, list[float]]] = {name: {"rows": [], "inputs": []} for name in MODELS}
        for _ in range(ROUNDS):
            for name, ways in bodies.items():
                for way, body in ways.items():
                    times[name][way].append(_microseconds(application, body))
    ratios = {}
    for name, ways in times.items():
        # A model with words takes no matrix, so its rows are compared to a matrix of as many numbers.
        matrix = statistics.median(ways["inputs"] or times["4 numbers"]["inputs"])
        ratios[name] = statistics.median(ways["rows"]) / matrix
        print(f"{name}: {statistics.median(ways['rows']):.1f} µs by name, {matrix:.1f} µs as a matrix, ", end="")
        print(f"ratio {ratios[name]:.2f} (goal at most 1.3)")
    return {"microseconds": times, "ratios": ratios}


def _name(label: str) -> str:
    return label.replace(" ", "-")


def _row(numbers: int, words: int) -> dict[str, Any]:
    row: dict[str, Any] = {f"n{place}": round(random.gauss(3, 10), 3) for place in range(numbers)}
    return {**row, **{f"w{place}": random.choice("abcde") for place in range(words)}}


def _train(client: Any, name: str, numbers: int, words: int, scale: str) -> None:
    rows = [{**row, "label": "ab"[row["n0"] > 3]} for row in (_row(numbers, words) for _ in range(400))]
    features = {f"n{place}": {"scale": scale} for place in range(numbers)}
    request = {
        "model": {"name": name, "hidden": [64], "features": features},
        "data": {"rows": rows, "label": "label"},
        "epochs": 2,
    }
    assert client.wait(client.train(request)["id"])["state"] == "succeeded"


def _bodies(name: str, numbers: int, words: int) -> dict[str, bytes]:
    row = _row(numbers, words)
    bodies = {"rows": json.dumps({"model": name, "rows": [row]}).encode()}
    if not words:
        bodies["inputs"] = json.dumps({"model": name, "inputs": [[*row.values()]]}).encode()
    return bodies


def _microseconds(application: Any, body: bytes) -> float:
    """The mean time of a call of the WSGI application."""
    begin = time.perf_counter()
    for _ in range(CALLS):
        call(application, body)
    return (time.perf_counter() - begin) / CALLS * 1e6


def call(application: Any, body: bytes) -> None:
    """Send a prediction's body to the WSGI application, which must answer it."""
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/predict",
        "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": "application/json",
        "SERVER_NAME": "bench",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
    }
    statuses: list[str] = []
    answer: Iterable[bytes] = application(environ, lambda status, _headers: statuses.append(status))
    assert statuses == ["200 OK"], b"".join(answer)


if __name__ == "__main__":
    main()
