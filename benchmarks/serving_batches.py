"""Batches across requests: one row of 784-2048-2048-10, with the setting on and off."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import wrk
from benchmarks.floors import Floor
from benchmarks.serving_contestants import service
from benchmarks.serving_requests import predict

__all__ = ["measure"]

SECONDS = 2
#: How many times as many rows a second, by connections; with one, a loss of a twentieth is what rounds differ by.
GOALS = {1: 0.95, 32: 3.0}


def measure(data: Path, rounds: int) -> tuple[dict[str, Any], list[Floor]]:
    """Print rows a second; return them by connections, setting and round, and the floors."""
    request = predict(service.WIDE, np.random.default_rng(3).random((1, 784)).round(3))
    rates: dict[int, dict[str, list[float]]] = {count: {"on": [], "off": []} for count in GOALS}
    with ExitStack() as stack:
        ports = {
            setting: stack.enter_context(service.serve(data, service.gunicorn(), batching=setting))
            for setting in ("on", "off")
        }
        for port in ports.values():
            wrk.load(port, request.body, max(GOALS), 1, request.path).all_good()
        for _ in range(rounds):
            for count, by_setting in rates.items():
                for setting, port in ports.items():
                    load = wrk.load(port, request.body, count, SECONDS, request.path).all_good()
                    by_setting[setting].append(load.per_second)
    floors = []
    for count, by_setting in rates.items():
        on, off = (statistics.median(by_setting[setting]) for setting in ("on", "off"))
        print(f"{count:2} connections: {on:,.0f} rows/s on, {off:,.0f} off")
        floors.append(Floor(f"batching, times as many rows a second, {count} connections", on / off, GOALS[count]))
    return {"rows_per_second": rates}, floors
