"""Another client: asks for predictions and more through an attack, in a process of its own, and times each answer.

``python -m security.bystander PORT MODEL`` asks until standard input ends, then prints what it has seen as JSON.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import perf_counter

from reliability.connections import Connection, post

__all__ = ["HEALTH", "LIST", "PREDICT", "Seen", "beside"]

#: What is asked for: a prediction of one row, whether the process lives, and a list, which needs a thread.
PREDICT, HEALTH, LIST = "/predict", "/health/live", "/models"
#: Seconds between an answer and the next request.
PAUSES = {PREDICT: 0.01, HEALTH: 0.05, LIST: 0.1}
#: One prediction in so many needs a new connection. Health checks and lists always do.
FRESH_ONE_IN = 8
_ROOT = Path(__file__).parent.parent


@dataclass
class Seen:
    """Seconds of all answers of one kind by their status, and how connections without an answer have failed."""

    seconds: dict[int, list[float]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    @property
    def times(self) -> list[float]:
        """Seconds of all answers, sorted."""
        return sorted(each for times in self.seconds.values() for each in times)

    @property
    def p99(self) -> float:
        """The time in seconds within which 99 of 100 answers came; infinity if none did."""
        times = self.times
        return times[math.ceil(0.99 * len(times)) - 1] if times else math.inf

    @property
    def longest(self) -> float:
        """The longest time in seconds; infinity without answers."""
        return max(self.times, default=math.inf)

    def __str__(self) -> str:
        times = self.times
        if not times:
            return "no answer"
        others = {status: len(each) for status, each in self.seconds.items() if status != 200}
        shown = "".join(f", {number:,} of them {status}" for status, number in others.items())
        middle = statistics.median(times) * 1000
        return (
            f"{len(times):,} answers{shown}, p50 {middle:.1f} ms, p99 {self.p99 * 1000:.1f} ms, longest "
            f"{self.longest * 1000:.0f} ms"
        )


@contextmanager
def beside(port: int, model: str) -> Iterator[dict[str, Seen]]:
    """Have another client ask during a with-block; the dict has what it has seen after the block."""
    command = [sys.executable, "-m", "security.bystander", str(port), model]
    process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    seen: dict[str, Seen] = {}
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "asking\n"
        yield seen
        output, _ = process.communicate(timeout=90)
        for kind, (seconds, failures) in json.loads(output).items():
            seen[kind] = Seen({int(status): times for status, times in seconds.items()}, failures)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _request(kind: str, model: str) -> bytes:
    if kind == PREDICT:
        return post(kind, json.dumps({"model": model, "inputs": [[0.5, 0.5]]}).encode(), {})
    return f"GET {kind} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()


def _ask(port: int, kind: str, request: bytes, seen: Seen, over: threading.Event) -> None:
    connection = Connection(("127.0.0.1", port))
    for number in count():
        if kind == PREDICT and number % FRESH_ONE_IN == 0:
            connection.close()
        begin = perf_counter()
        try:
            answer = connection.ask(request)
        except (OSError, LookupError, ValueError) as error:
            seen.failures.append(f"{type(error).__name__} after {perf_counter() - begin:.1f} s: {error}")
            connection.close()
        else:
            seen.seconds.setdefault(answer.status, []).append(perf_counter() - begin)
        if over.wait(PAUSES[kind]):
            break
    connection.close()


def main() -> None:
    """Ask until standard input ends, and print what was seen."""
    port, model = int(sys.argv[1]), sys.argv[2]
    seen, over = {kind: Seen() for kind in PAUSES}, threading.Event()
    threads = [
        threading.Thread(target=_ask, args=(port, kind, _request(kind, model), seen[kind], over)) for kind in PAUSES
    ]
    for thread in threads:
        thread.start()
    print("asking", flush=True)
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join()
    print(json.dumps({kind: (each.seconds, each.failures) for kind, each in seen.items()}))


if __name__ == "__main__":
    main()
