"""An idle service: resident memory, writes, processor time, and time from the POST of a job to its first epoch."""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.servers import call, gunicorn

ROUNDS = 7
#: Models of the service whose processor time is measured.
MODELS = 5000
#: Seconds for which writes are counted and processor time is measured.
SECONDS = 30.0


def main() -> dict[str, Any]:
    """Measure one web worker and its trainer: first with no models, then with many."""
    return {**_without_models(), "processor_share": _with_models()}


def _without_models() -> dict[str, Any]:
    """Measure memory, count writes, then start some jobs one after the other."""
    with gunicorn("wsgi:app") as (port, process):
        time.sleep(2)  # By now the trainer's runner waits for a job.
        memory = {pid: _resident(pid) for pid in _family(process.pid)}
        total = sum(rss for rss, _ in memory.values()) / 2**20
        shared = sum(pss for _, pss in memory.values()) / 2**20
        print(
            f"idle service, {len(memory)} processes: {total:.0f} MB resident (goal 250), {shared:.0f} MB proportional"
        )
        flushes = _flushes_per_minute(process.pid)
        print("fsyncs per minute: " + ("not counted, as strace is missing" if flushes is None else f"{flushes:.0f}"))
        delays = []
        for number in range(ROUNDS):
            delays.append(_delay(port, number))
            time.sleep(0.5)  # By now the service is idle again.
    middle, worst = statistics.median(delays) * 1000, max(delays) * 1000
    print(f"POST /train to the first epoch: median {middle:.0f} ms, worst {worst:.0f} ms (goal 500)")
    return {
        "resident_mb": total,
        "proportional_mb": shared,
        "fsyncs_per_minute": flushes,
        "first_epoch_seconds": delays,
    }


def _with_models() -> float:
    """Return the share of one core that the service takes while it is idle and has many models."""
    with gunicorn("wsgi:app") as (port, process):
        for number in range(MODELS):
            call(port, "POST", "/models", {"name": f"idle-{number}", "inputs": 2, "classes": 2, "hidden": []})
        # The process that writes the models' files ends when it has had nothing to do for some time.
        while any("model-files" in _command(pid) for pid in _family(process.pid)):
            time.sleep(1)
        before = _processor_seconds(process.pid)
        time.sleep(SECONDS)
        share = (_processor_seconds(process.pid) - before) / SECONDS
    print(f"processor time with {MODELS} models: {share:.2%} of a core")
    return share


def _flushes_per_minute(root: int) -> float | None:
    """Return how often a process and everything below it flush a file to disk; None without strace."""
    if shutil.which("strace") is None:
        return None
    with tempfile.NamedTemporaryFile("r", prefix="trainyard-bench-") as summary:
        command = ["strace", "-f", "-c", "-U", "calls,name", "-e", "trace=fsync,fdatasync,sync_file_range,msync,syncfs"]
        attached = [argument for pid in _family(root) for argument in ("-p", str(pid))]
        tracer = subprocess.Popen([*command, "-o", summary.name, *attached], stderr=subprocess.DEVNULL)
        time.sleep(SECONDS)
        tracer.send_signal(signal.SIGINT)
        tracer.wait(30)
        rows = [line.split() for line in summary]
    calls = sum(int(row[0]) for row in rows if len(row) == 2 and row[0].isdigit() and row[1] != "total")
    return calls * 60 / SECONDS


def _processor_seconds(root: int) -> float:
    """Return the processor time so far of a process and everything below it, with children that have ended."""
    ticks = 0
    for pid in _family(root):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # It has ended.


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
