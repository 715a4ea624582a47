"""Servers for the benchmarks, on a free loopback port."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    """Return a port that is currently unused."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def gunicorn(application: str, *options: str, workers: int = 1) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run gunicorn with this project's configuration, which options override; yields its port and process."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as data:
        variables = {
            "TRAINYARD_DATA": data,
            "TRAINYARD_BIND": f"127.0.0.1:{port}",
            "TRAINYARD_WORKERS": str(workers),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--log-level", "error", *options, application],
            cwd=ROOT,
            env={**os.environ, **variables},
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait(port)
            yield port, process
        finally:
            process.terminate()
            process.wait(30)
            wait_for_free_lock(Path(data) / "trainer.lock")


def _wait(port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            if call(port, "GET", "/health/ready").get("trainer", "ok") == "ok":
                return
        except (urllib.error.URLError, ConnectionError):
            pass  # The server does not listen yet.
        time.sleep(0.05)
    raise RuntimeError(f"nothing is ready on port {port}")


def wait_for_free_lock(path: Path) -> None:
    """Wait until the trainer has released its directory; it ends shortly after its web service."""
    import fcntl

    if path.exists():
        with path.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)


def call(port: int, method: str, path: str, body: Any = None) -> Any:
    """Send a request with a JSON body and return the parsed response."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, method=method)
    with urllib.request.urlopen(request, timeout=90) as response:
        return json.loads(response.read())
