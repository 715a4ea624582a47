"""Slow clients harm nobody: who sends a byte a second, sends nothing or reads nothing is cut, and others are served."""

from __future__ import annotations

import json

from reliability.figure import Figure
from security.crowd import Crowd, Habit, Member
from security.watch import Watch, watched
from service.web.worker.connection import ANSWER_SECONDS, BODY_SECONDS, HEAD_SECONDS, REFUSED_SECONDS
from testing.samples import a_training

__all__ = ["HABITS", "SILENT", "run"]

GOALS = {"slow connections": 12_500, "cut": 12_500}
#: Seconds by which a connection may be cut later than its deadline: the loop looks at deadlines twice a second, and a
#: crowd of thousands is itself late.
SLACK = 5.0
#: Inputs and units of a layer whose checkpoint, with Adam's moments, is larger than 200 MB.
LARGE = 4400
#: Rows of the dataset whose CSV is larger than 200 MB.
ROWS, COLUMNS = 280_000, 40
_HOST = b"Host: localhost\r\n"


def _sending(method: str, path: str, kind: str = "application/json") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nContent-Type: {kind}\r\nContent-Length: 100000\r\n"
    return head.encode() + _HOST + b"\r\n"


HABITS = (
    Habit("head", b"GET /health/live HTTP/1.1\r\n" + _HOST + b"X: ", b"a"),
    Habit("body of /predict", _sending("POST", "/predict") + b'{"model": "', b"a"),
    Habit("body for no route", _sending("POST", "/no/such/route"), b"a"),
    Habit("import", _sending("POST", "/models/asked/checkpoints", "application/x-hdf5"), b"a"),
    Habit("chunks", b"POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + _HOST + b"\r\n", b"1\r\na\r\n"),
)
SILENT = Habit("silent")


def run(scale: float) -> Figure:
    """Attack a service by 40 slow clients of each kind, by 10,000, by silent ones, and by those that read nothing."""
    figure = Figure(goals=dict(GOALS))
    with watched(figure, scale) as watch:
        if scale < 1:
            silent = Habit("silent beside slow ones")
            _slow(watch, (*HABITS, silent), int(GOALS["slow connections"] * scale) // (len(HABITS) + 1))
            return figure
        # More than all workers together have threads: of one kind alone, then of each of the others.
        _slow(watch, HABITS[:1], 40)
        _slow(watch, HABITS[1:], 40)
        _slow(watch, HABITS, 2_000)
        _slow(watch, (SILENT,), 2_300)
        _unread(watch, 40)
    return figure


def _slow(watch: Watch, habits: tuple[Habit, ...], each: int) -> None:
    """Be slow until all are cut, and all that send were answered with 408."""
    name = f"{each * len(habits):,} slow: {', '.join(habit.name for habit in habits)}"
    within = max(HEAD_SECONDS, BODY_SECONDS) + SLACK
    with watch.attack(name), Crowd(watch.port) as crowd:
        crowd.join(habits, each)
        crowd.live(within, lambda: all(member.ended is not None for member in crowd.members))
        if watch.timed:  # The service takes and discards what comes behind its refusal, for some time.
            crowd.live(
                REFUSED_SECONDS + SLACK,
                lambda: all(member.cut is not None for member in crowd.members if member.habit.then),
            )
    for member in crowd.members:
        watch.figure.count("slow connections")
        fault = _fault(member, within, reset=watch.timed)
        if fault:
            watch.broke(f"{name}: {member.habit.name}: {fault}")
        else:
            watch.figure.count("cut")


def _fault(member: Member, within: float, *, reset: bool) -> str | None:
    """What is wrong with how a slow connection was treated; None if nothing is."""
    if member.ended is None:
        return f"not cut within {within:g} s; received {member.answer[:100]!r}"
    if member.ended > within:
        return f"cut after {member.ended:.1f} s, later than {within:g} s"
    wanted = 408 if member.habit.then else None
    if member.status != wanted or (wanted and b'"code":"request_timeout"' not in member.answer):
        return f"answered with {member.answer[:100]!r}, not {wanted}"
    if reset and member.habit.then and member.cut is None:
        return f"goes on sending {REFUSED_SECONDS + SLACK:g} s after the refusal"
    return None


def _unread(watch: Watch, each: int) -> None:
    """Ask for large files and read nothing: the connection is cut, so the file arrives in part only."""
    client = watch.client
    layers = [{"type": "dense", "units": LARGE}, {"type": "relu"}, {"type": "dense", "units": 2}, {"type": "softmax"}]
    client.define({"name": "large", "inputs": LARGE, "classes": 2, "layers": layers})
    data = {"inputs": [[0] * LARGE, [1] * LARGE], "labels": [0, 1]}
    job = client.run(a_training("large", data=data, epochs=0))
    row = ",".join(["0.123456789012345678"] * COLUMNS)
    table = ",".join(f"c{column}" for column in range(COLUMNS)) + ",label\n"
    table += "".join(f"{row},{number % 2}\n" for number in range(ROWS))
    kept = client.post("/datasets?name=long&label=label", table.encode(), headers={"Content-Type": "text/csv"})
    assert kept.status == 201, kept
    del table
    paths = {"checkpoint": f"/checkpoints/{job['checkpoint']}/file", "dataset": "/datasets/long/file"}
    habits = [
        Habit(f"unread {what}", f"GET {path} HTTP/1.1\r\n".encode() + _HOST + b"Accept: */*\r\n\r\n", reads=False)
        for what, path in paths.items()
    ]
    name = f"{each * len(habits)} clients that read nothing of a checkpoint or a CSV of more than 200 MB"
    # What the buffers of the system take at first counts as taken, so the first period may end well.
    within = 2 * ANSWER_SECONDS + SLACK
    with Crowd(watch.port) as crowd:
        with watch.attack(name):
            crowd.join(habits, each)
            crowd.live(within)
        crowd.drain(60)
    for member in crowd.members:
        watch.figure.count("slow connections")
        if member.ended is None or member.status != 200 or member.received > 100 * 2**20:
            received = f"{member.received:,} bytes, {json.dumps(member.answer[:60].decode('latin-1'))}"
            watch.broke(f"{name}: {member.habit.name}: not cut within {within:g} s: {received}")
        else:
            watch.figure.count("cut")
