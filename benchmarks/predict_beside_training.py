"""Latency of single-row /predict without a job, and while members of the default recipe train on all cores."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks import asked_model, long_job, processor, wrk
from benchmarks.long_job import Pace
from benchmarks.servers import gunicorn
from benchmarks.wrk import Load
from service.settings import Settings

ROUNDS, SECONDS, CONNECTIONS = 5, 5, 8
#: The longest p99 beside a job that we aim for, relative to that without.
GOAL = 3.0


def main() -> dict[str, Any]:
    """Alternate; print and return latencies and the job's pace, with and without predictions."""
    workers, body = Settings.read({}).workers, asked_model.body()
    without: list[Load] = []
    beside: list[Load] = []
    alone: list[Pace] = []
    disturbed: list[Pace] = []
    with gunicorn("wsgi:app", workers=workers) as (port, _):
        asked_model.train(port)
        long_job.upload(port)
        wrk.load(port, body, CONNECTIONS, 1).all_good()
        for seed in range(ROUNDS):
            without.append(wrk.load(port, body, CONNECTIONS, SECONDS).all_good())
            with long_job.training(port, seed) as job:
                alone.append(job.alone(SECONDS))
                load, pace = job.during(lambda: wrk.load(port, body, CONNECTIONS, SECONDS).all_good())
                beside.append(load)
                disturbed.append(pace)
    print(f"{processor.name()}, {processor.cores()} cores; {workers} worker processes; {ROUNDS} rounds, medians\n")
    print(f"{f'connections: {CONNECTIONS}':28}{'requests/s':>12}{'p50, ms':>10}{'p99, ms':>10}")
    for name, loads in (("without a job", without), ("beside a job", beside)):
        print(
            f"{name:28}{_median(loads, 'per_second'):12,.0f}{_median(loads, 'p50'):10.2f}{_median(loads, 'p99'):10.2f}"
        )
    ratio = _median(beside, "p99") / _median(without, "p99")
    print(f"p99 beside a job is {ratio:.2f} times p99 without (goal at most {GOAL:g})\n")
    print(f"{'the job':28}{'epochs/s':>12}{'steps/s':>10}")
    for name, paces in (("without predictions", alone), ("beside predictions", disturbed)):
        print(f"{name:28}{_median(paces, 'epochs'):12.2f}{_median(paces, 'steps'):10,.0f}")
    return {
        "without_a_job": [load._asdict() for load in without],
        "beside_a_job": [load._asdict() for load in beside],
        "p99_ratio": ratio,
        "job_alone": [pace._asdict() for pace in alone],
        "job_beside_predictions": [pace._asdict() for pace in disturbed],
    }


def _median(measured: list[Load] | list[Pace], figure: str) -> float:
    return float(statistics.median(getattr(each, figure) for each in measured))


if __name__ == "__main__":
    main()
