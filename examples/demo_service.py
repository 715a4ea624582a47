"""The service that the demo runs, a client of it, and a line that shows a job."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Client", "DemoError", "service"]

ROOT = Path(__file__).resolve().parent.parent
#: The port of `make serve`, which the demo takes too if it is free.
PORT = 8000
#: Seconds between two requests for a job's progress.
LOOK_SECONDS = 0.2
#: Reports of a job from which on its remaining time is shown: the first ones know too few epochs.
ESTIMATED = 3


class DemoError(Exception):
    """A step of the demo failed or an accuracy is too low."""


class Client:
    """A client of the service."""

    def __init__(self, address: str) -> None:
        self.address = address

    def call(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """Send a request and return the parsed response. Raises DemoError with the service's error."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": content_type} if data else {}
        request = urllib.request.Request(self.address + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=90) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            raise DemoError(f"{method} {path}: {error.read().decode()}") from None

    def follow(self, job: dict[str, Any]) -> dict[str, Any]:
        """Show a job's progress on one line until it has ended."""
        reports, shown = 0, -1
        while job["state"] not in ("succeeded", "failed", "cancelled"):
            reports += job["state"] == "running"
            tenth = int(10 * job["progress"]["fraction"])
            # A log needs no line every moment.
            if sys.stdout.isatty() or tenth > shown:
                show(progress_line(job, estimated=reports >= ESTIMATED))
            shown = max(shown, tenth)
            job = self.call("GET", f"/jobs/{job['id']}?wait={LOOK_SECONDS}")
        show(progress_line(job, estimated=False) + "\n")
        if job["state"] != "succeeded":
            raise DemoError(f"job {job['id']} {job['state']}: {job['error']}")
        return job


def show(line: str) -> None:
    """Overwrite the current line if the output is a terminal; otherwise print a new line."""
    if sys.stdout.isatty():
        print("\r\033[K" + line, end="", flush=True)
    else:
        print(line.rstrip("\n"), flush=True)


def progress_line(job: dict[str, Any], *, estimated: bool) -> str:
    """Format a job's epoch or networks, loss, accuracy and, if that is ``estimated``, the remaining time."""
    progress, metrics = job["progress"], job["metrics"]
    done = round(24 * progress["fraction"])
    line = f"  [{'#' * done}{'.' * (24 - done)}] "
    if job["members"]:
        ended = sum(member["state"] == "ended" for member in job["members"])
        line += f"network {ended}/{len(job['members'])}"
    else:
        line += f"epoch {progress['epoch']:,}/{progress['epochs']:,}"
    if metrics.get("loss") is not None:
        line += f"  loss {metrics['loss']:.4f}  accuracy {metrics['accuracy']:.3f}"
    if metrics.get("validation_accuracy") is not None:
        line += f"  held out {metrics['validation_accuracy']:.3f}"
    if estimated and job["state"] == "running" and progress["eta_seconds"] is not None:
        line += f"  {progress['eta_seconds']:.0f} s left"
    return line if job["state"] == "running" else f"{line}  {job['state']}"


@contextmanager
def service(data: Path) -> Iterator[Client]:
    """Run the service with its data in ``data``; yields a client."""
    bind = f"127.0.0.1:{_free_port()}"
    log = (data.parent / "service.log").open("w")
    environment = {**os.environ, "TRAINYARD_DATA": str(data), "TRAINYARD_BIND": bind, "TRAINYARD_WORKERS": "1"}
    # In a session of its own: Ctrl-C reaches the demo alone, which then ends the service.
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "wsgi:app"],
        cwd=ROOT,
        env=environment,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    client = Client(f"http://{bind}")
    try:
        _wait_until_ready(client, process, Path(log.name))
        print(f"The service answers on {client.address}")
        yield client
    finally:
        process.terminate()
        process.wait(30)
        log.close()
        # The trainer ends shortly after its web service and then releases its lock.
        if data.is_dir():
            with (data / "trainer.lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)


def _free_port() -> int:
    """``PORT`` if nothing listens there, else one that the system chooses."""
    for port in (PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoError("no port is free")


def _wait_until_ready(client: Client, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the service and its trainer are ready."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            if client.call("GET", "/health/ready")["trainer"] == "ok":
                return
        except (urllib.error.URLError, ConnectionError, DemoError):
            pass  # The service does not listen yet, or is not ready.
        time.sleep(0.05)
    raise DemoError(f"the service did not start:\n{log.read_text()}")
