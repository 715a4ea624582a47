"""Bodies that cost much more than their size: they are refused or answered within the memory that a worker may have."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from typing import NamedTuple

from reliability.figure import Figure
from security.at_once import at_once
from security.watch import Goal, Watch, watched
from testing.samples import a_training

__all__ = ["BODIES", "REFUSAL", "Body", "judge", "run", "send"]

GOALS = {"bodies": 60}
#: Seconds for one request, whatever waits before it.
PATIENCE = 300.0
#: Bytes that a refusal may have.
REFUSAL = 65_536
#: Memory in bytes of the control group: what two workers may hold at most, and all other processes.
GROUP = 3 * 2**30
#: One request alone may hold twice the share of a worker (TRAINYARD_MEMORY_BYTES, 400 MiB a worker by default); the
#: process itself has some 150 MB.
_ALONE = Goal(p99=0.1, times=1.0, refusals=True, resident=1000 * 2**20)
#: Uploads are files, which are never in memory whole.
_FILES = Goal(p99=0.1, times=1.0, refusals=True)
_JSON = "application/json"


class Body(NamedTuple):
    """A body by its size in units at scale 1, how many are sent at once, and which statuses may answer it.

    ``path`` may have the number of the request in it.
    """

    name: str
    path: str
    make: Callable[[int], bytes]
    size: int
    count: int
    statuses: set[int]
    kind: str = _JSON
    goal: Goal = _ALONE
    #: Bytes that an answer may have.
    answer: int = REFUSAL


def _repeated(before: bytes, unit: bytes, after: bytes, count: int) -> bytes:
    return b"%b%b%b" % (before, unit * count, after)


def _labels(megabytes: int) -> bytes:
    label = "x" * (megabytes * 10**6)
    return json.dumps({"name": "labels", "inputs": 1, "classes": [label, "b"], "hidden": []}).encode()


def _keys(count: int) -> bytes:
    faults = ",".join(f'"k{number}":0' for number in range(count))
    return f'{{"name":"keys","inputs":2,"classes":2,"hidden":[2],{faults}}}'.encode()


def _columns(count: int) -> bytes:
    header = ",".join(f"c{number}" for number in range(count))
    return f"{header}\n{','.join('1' * count)}\n{','.join('2' * count)}\n".encode()


def _table(rows: int) -> bytes:
    """A CSV of 100 columns, of 200 bytes a row."""
    header = ",".join(f"c{number}" for number in range(100))
    return f"{header},label\n".encode() + b"".join([b"1," * 100 + b"%d\n" % (row % 2) for row in range(rows)])


_DEFINITION = b'{"name":"x","inputs":2,"classes":2,'
_PREDICTION = b'{"model":"x","inputs":['
#: What a body may be refused with: as unreadable, as of an unknown model, as too large, as invalid, or for now.
_REFUSED = {400, 404, 413, 422, 503}

_ARRAYS = partial(_repeated, _PREDICTION, b"[],", b"[]]}")

BODIES: tuple[Body, ...] = (
    # Files first: what others leave in memory is not theirs.
    Body(
        "tables of 200 MB",
        "/datasets?name=t-{number}&label=label",
        _table,
        1_000_000,
        4,
        {201, 503},
        "text/csv",
        _FILES,
    ),
    Body("empty arrays", "/predict", _ARRAYS, 66_000_000, 4, _REFUSED),
    Body("empty objects", "/predict", partial(_repeated, _PREDICTION, b"{},", b"{}]}"), 66_000_000, 4, _REFUSED),
    Body(
        "floats behind a colon",
        "/predict",
        partial(_repeated, b'{"model":"a:b","inputs":[[', b"1.5,", b"1]]}"),
        15_000_000,
        4,
        _REFUSED,
    ),
    Body(
        "zeros as layers' units",
        "/models",
        partial(_repeated, _DEFINITION + b'"hidden":[', b"0,", b"0]}"),
        1_000_000,
        8,
        _REFUSED,
    ),
    Body(
        "zeros as layers",
        "/models",
        partial(_repeated, _DEFINITION + b'"layers":[', b"0,", b"0]}"),
        1_000_000,
        8,
        _REFUSED,
    ),
    Body("unknown members", "/models", _keys, 1_000_000, 8, _REFUSED),
    Body("a label of 60 MB", "/models", _labels, 60, 4, _REFUSED),
    Body("a label of 1 MB", "/models", _labels, 1, 4, _REFUSED),
)
#: Their time grows with the square of their number, so a short form has none.
_COLUMNS = Body("column names", "/datasets?name=c-{number}&label=c1", _columns, 10_000, 2, _REFUSED, "text/csv", _FILES)
#: Bodies of 230 MB, one after the other.
_ROW = Body("empty arrays, again and again", "/predict", _ARRAYS, 76_000_000, 3, _REFUSED)


def send(port: int, path: str, body: bytes, kind: str = _JSON) -> tuple[int, int]:
    """Post a body. Returns the status and the size of the answer, which is not kept. Raises OSError."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        # The service may refuse before it has read all.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request("POST", path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        size = 0
        while piece := answer.read(2**20):
            size += len(piece)
        return answer.status, size


def run(scale: float) -> Figure:
    """Send each body several times at once; then ask for large answers by small bodies."""
    figure = Figure(goals=dict(GOALS))
    with watched(figure, scale, memory=GROUP) as watch:
        for body in BODIES:
            _attack(watch, body, max(1, int(body.size * scale)))
        if scale >= 1:
            _attack(watch, _COLUMNS, _COLUMNS.size)
            content = _ROW.make(_ROW.size)
            with watch.attack(_ROW.name, _ROW.goal):
                for _ in range(_ROW.count):
                    judge(watch, _ROW, send(watch.port, _ROW.path, content))
        _wide_answers(watch, scale)
        _large_dataset(watch, scale)
    return figure


def _attack(watch: Watch, body: Body, size: int) -> None:
    content = body.make(size)
    name = f"{body.count} at once: {body.name}, {len(content):,} bytes"
    with watch.attack(name, body.goal):
        results = at_once(
            body.count, lambda number: send(watch.port, body.path.format(number=number), content, body.kind)
        )
    for result in results:
        judge(watch, body, result)
    print(f"    {name}: {sorted(map(str, results))}")


def judge(watch: Watch, body: Body, result: tuple[int, int] | Exception) -> None:
    """Record an answer, and as broken one that is not as it may be."""
    watch.figure.count("bodies")
    if isinstance(result, Exception):
        watch.broke(f"{body.name}: {type(result).__name__}: {result}")
        return
    status, size = result
    if status not in body.statuses or size > body.answer:
        watch.broke(
            f"{body.name}: must be answered with {sorted(body.statuses)}, {body.answer:,} bytes. Received: "
            f"{status}, {size:,} bytes"
        )


def _wide_answers(watch: Watch, scale: float) -> None:
    """Small bodies, whose answers have 65,536 probabilities a row."""
    classes = 65_536 if scale >= 1 else 4_096
    watch.client.define({"name": "wide", "inputs": 1, "classes": classes, "hidden": []})
    watch.client.run(a_training("wide", data={"inputs": [[0], [1]], "labels": [0, 1]}, epochs=0))
    answered = {200, 413, 422, 503}
    for rows in (1_000, 8_000):
        make = partial(_repeated, b'{"model":"wide","inputs":[', b"[1],", b"[1]]}")
        body = Body(f"{rows:,} rows, {classes:,} classes", "/predict", make, rows, 4, answered, answer=2**40)
        _attack(watch, body, max(1, int(rows * min(1.0, 4 * scale))))


def _large_dataset(watch: Watch, scale: float) -> None:
    """Requests of 66 bytes, each of which reads a dataset of 200 MB of CSV."""
    table = _table(max(1_000, int(1_000_000 * scale)))
    status, _ = send(watch.port, "/datasets?name=million&label=label", table, "text/csv")
    if status != 201:
        watch.broke(f"a table of {len(table):,} bytes was answered with {status}")
        return
    del table
    watch.client.define({"name": "hundred", "inputs": 100, "classes": ["0", "1"], "hidden": []})
    request = json.dumps({"model": "hundred", "dry_run": True, "data": {"dataset": "million"}}).encode()
    body = Body("dry runs on a large dataset", "/train", lambda _: request, 1, 8, {200, 503}, answer=2**20)
    _attack(watch, body, 1)
