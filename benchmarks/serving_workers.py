"""Two workers on two cores beside one worker on one core; wrk runs on the same cores, since it takes its share.

One row, 30-64-64-3, 32 connections. With one worker on two cores, wrk would have a core of its own, and two workers
could not be twice as fast.
"""

from __future__ import annotations

import os
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

CONNECTIONS, SECONDS, GOAL = 32, 2, 1.8


def measure(data: Path, rounds: int) -> tuple[dict[str, Any], list[Floor]]:
    """Print requests a second; return them by round, and the floor. A machine with one core measures nothing."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        print("not measured: this machine has one core")
        return {}, []
    request = predict(service.SMALL, np.random.default_rng(1).standard_normal((1, 30)).round(3))
    rates: dict[int, list[float]] = {1: [], 2: []}
    with ExitStack() as stack:
        ports = {
            count: stack.enter_context(service.serve(data, service.gunicorn(), workers=count, cores=cores[:count]))
            for count in rates
        }
        for _ in range(rounds + 1):
            for count, port in ports.items():
                load = wrk.load(port, request.body, CONNECTIONS, SECONDS, request.path, request.headers, cores[:count])
                rates[count].append(load.all_good().per_second)
    medians = {count: statistics.median(each[1:]) for count, each in rates.items()}  # The first round is a trial.
    for count, median in medians.items():
        print(f"{count} worker{'s' if count > 1 else ''} and wrk on {count} core{'s' if count > 1 else ''}: ", end="")
        print(f"{median:,.0f} requests/s")
    return {"rates": rates}, [Floor("two workers on two cores, times one on one", medians[2] / medians[1], GOAL)]
