"""An idle service: resident memory, and time from the POST of a job to its first epoch."""

from __future__ import annotations

import statistics
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.servers import call, gunicorn

ROUNDS = 7


def main() -> dict[str, Any]:
    """Measure the memory of one web worker and its trainer, then the start of some jobs one after the other."""
    with gunicorn("wsgi:app") as (port, process):
        time.sleep(2)  # By now the trainer's runner waits for a job.
        memory = {pid: _resident(pid) for pid in _family(process.pid)}
        total = sum(rss for rss, _ in memory.values()) / 2**20
        shared = sum(pss for _, pss in memory.values()) / 2**20
        print(
            f"idle service, {len(memory)} processes: {total:.0f} MB resident (goal 250), {shared:.0f} MB proportional"
        )
        delays = []
        for number in range(ROUNDS):
            delays.append(_delay(port, number))
            time.sleep(0.5)  # By now the service is idle again.
    middle, worst = statistics.median(delays) * 1000, max(delays) * 1000
    print(f"POST /train to the first epoch: median {middle:.0f} ms, worst {worst:.0f} ms (goal 500)")
    return {"resident_mb": total, "proportional_mb": shared, "first_epoch_seconds": delays}


def _delay(port: int, number: int) -> float:
    """Return the seconds from just before the request to the start of the first epoch."""
    inputs = [[float(row), float(row % 7)] for row in range(300)]
    request = {
        "model": {"name": f"idle-{number}", "hidden": [64]},
        "data": {"inputs": inputs, "labels": [row % 3 for row in range(300)]},
        "epochs": 3,
    }
    begin = time.time()
    job = call(port, "POST", "/train", request)
    call(port, "GET", f"/jobs/{job['id']}?wait=30")
    events = call(port, "GET", f"/jobs/{job['id']}/events?limit=100")["data"]
    # The checkpoint of epoch 0 is recorded right before the first step.
    first = next(event for event in events if event["type"] == "checkpoint" and event["data"]["epoch"] == 0)
    return datetime.fromisoformat(first["at"]).timestamp() - begin


def _family(root: int) -> list[int]:
    """Return the ids of a process and all its descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue  # The process has ended.
    family = [root]
    for member in family:
        family += [pid for pid, parent in parents.items() if parent == member]
    return family


def _resident(pid: int) -> tuple[int, int]:
    """Return the resident and the proportional set size in bytes."""
    sizes = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        sizes[name] = int(rest.split()[0]) * 1024
    return sizes["Rss"], sizes["Pss"]


if __name__ == "__main__":
    main()
