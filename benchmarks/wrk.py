"""Load by wrk, which sends the next request on each of its connections as soon as the answer has arrived.

wrk is written in C: with 8 µs of processor time for a request it leaves the cores to the server, which a client in
Python would not. Its latencies are corrected for coordinated omission: for an answer that took several times as long as
the average request, requests are added that could not be sent meanwhile.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["JSON", "Load", "WrkError", "load", "parse", "require"]

SCRIPT = Path(__file__).with_name("wrk.lua")
#: Seconds after which wrk counts a request as timed out and leaves it out of the latencies.
TIMEOUT = 30
#: The headers of a JSON body.
JSON = MappingProxyType({"Content-Type": "application/json"})


class WrkError(Exception):
    """Raised if wrk is missing, cannot run, or has not measured what was asked for."""


class Load(NamedTuple):
    """What wrk has measured: seconds, milliseconds of latency, answers by status, and failures by their kind.

    Failures are those of a connection: ``connect``, ``read``, ``write`` and ``timeout``.
    """

    seconds: float
    p50: float
    p90: float
    p99: float
    longest: float
    statuses: dict[int, int]
    failures: dict[str, int]

    @property
    def answers(self) -> int:
        """Number of answers of any status."""
        return sum(self.statuses.values())

    @property
    def per_second(self) -> float:
        """Answers with status 200 per second."""
        return self.statuses.get(200, 0) / self.seconds

    def share(self, status: int) -> float:
        """The share of answers that have a status; 0 if there are no answers."""
        return self.statuses.get(status, 0) / max(self.answers, 1)

    def all_good(self) -> Load:
        """Return this load. Raises WrkError if an answer has another status than 200, a connection failed, or none
        answered: the figures would be those of errors."""
        if set(self.statuses) != {200} or any(self.failures.values()):
            raise WrkError(f"all answers must have status 200. Received: {self.statuses}, failures: {self.failures}")
        return self


def require() -> str:
    """The path of wrk. Raises WrkError if it is not installed."""
    found = shutil.which("wrk")
    if found is None:
        raise WrkError(
            "wrk is needed to measure predictions, and PATH has no program of this name. Install the Debian package: "
            "`apt-get install wrk`, or `.ci/packages wrk` as root"
        )
    return found


def load(
    port: int,
    body: bytes,
    connections: int,
    seconds: int,
    path: str = "/predict",
    headers: Mapping[str, str] = JSON,
    cores: Collection[int] = (),
) -> Load:
    """Post ``body`` to a path on so many connections for so many seconds; wrk runs on these ``cores``, or on any.

    Raises WrkError.
    """
    with tempfile.NamedTemporaryFile(prefix="trainyard-bench-") as file:
        file.write(body)
        file.flush()
        command = ["taskset", "--cpu-list", ",".join(map(str, cores))] if cores else []
        command += [require(), "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
        command += ["--timeout", f"{TIMEOUT}s", "--script", str(SCRIPT), f"http://127.0.0.1:{port}{path}"]
        command += ["--", file.name, *(part for header in headers.items() for part in header)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 2 * TIMEOUT)
    if done.returncode:
        raise WrkError(f"wrk ended with status {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return parse(done.stdout)


def parse(output: str) -> Load:
    """What wrk has printed. Raises WrkError if its last line is not that of wrk.lua."""
    line = output.rstrip().rpartition("\n")[2]
    try:
        found = json.loads(line)
        return Load(
            seconds=found["microseconds"] / 1e6,
            p50=found["p50"] / 1e3,
            p90=found["p90"] / 1e3,
            p99=found["p99"] / 1e3,
            longest=found["longest"] / 1e3,
            statuses={int(status): count for status, count in found["statuses"].items()},
            failures=found["errors"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise WrkError(f"wrk's last line must be the JSON of {SCRIPT.name}. Received: {line!r} ({error!r})") from None
