"""256 rows of 784 numbers in JSON, as npy and as V2's raw numbers, beside parsing the JSON alone.

One connection, 784-128-10. Parsing alone is ``orjson.loads`` and ``numpy.array``, in this process.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks import wrk
from benchmarks.floors import Floor
from benchmarks.serving_contestants import service
from benchmarks.serving_requests import BINARY, NPY, PREDICT, requests

__all__ = ["measure"]

ROWS, INPUTS, SECONDS = 256, 784, 2
#: The longest request in JSON relative to parsing alone, and how many times as fast the other formats are at least.
MOST, LEAST = 1.3, 8.0


def measure(data: Path, rounds: int) -> tuple[dict[str, Any], list[Floor]]:
    """Print milliseconds; return them by round, and the floors."""
    x = np.random.default_rng(2).random((ROWS, INPUTS)).round(4)
    asked = {name: each for name, each in requests(service.DIGITS, "", x).items() if name in (PREDICT, NPY, BINARY)}
    times: dict[str, list[float]] = {name: [] for name in ("alone", *asked)}
    with service.serve(data, service.gunicorn()) as port:
        for _ in range(rounds):
            times["alone"].append(_alone(asked[PREDICT].body))
            for name, request in asked.items():
                load = wrk.load(port, request.body, 1, SECONDS, request.path, request.headers).all_good()
                times[name].append(1e3 / load.per_second)
    medians = {name: statistics.median(each) for name, each in times.items()}
    for name, median in medians.items():
        size = f"{len(asked[name].body) / 1e6:.2f} MB" if name in asked else "orjson.loads and numpy.array"
        print(f"{name:24}{median:8.2f} ms  {size}")
    json = medians[PREDICT]
    return times, [
        Floor(f"{ROWS} × {INPUTS} rows in JSON, relative to parsing alone", json / medians["alone"], MOST, most=True),
        Floor(f"{ROWS} × {INPUTS} rows as npy, times as fast as JSON", json / medians[NPY], LEAST),
        Floor(f"{ROWS} × {INPUTS} rows as V2 binary, times as fast as JSON", json / medians[BINARY], LEAST),
    ]


def _alone(body: bytes) -> float:
    """Milliseconds of parsing, the median of some."""
    found = []
    for _ in range(20):
        begin = time.perf_counter()
        np.array(orjson.loads(body)["inputs"], np.float32)
        found.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(found)
