"""Lines of the log: JSON that any reader parses, without secrets and without what exceptions quote."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import log
from service.log_output import WAITING_BYTES, Output
from testing.harness import eventually

KEY = "ty_" + "aB3_" * 6


def line(message: str, *arguments: object, text: bool = False, **members: Any) -> str:
    """The line that a message makes."""
    formatter = log.Formatter()
    formatter.process, formatter.text = "runner", text
    record = logging.makeLogRecord(
        {"name": "trainyard.x", "levelname": "WARNING", "msg": message, "args": arguments, "created": 1e9, **members}
    )
    return formatter.format(record)


@given(st.text(), st.text())
def test_every_line_is_one_json_document(message: str, member: str) -> None:
    """Also with what no encoding has, such as half of a surrogate pair."""
    made = line("%s", message, request_id=member)
    assert made.isprintable() or "\n" not in made
    assert len(made.splitlines()) == 1
    found = json.loads(made.encode())
    assert list(found)[:6] == ["at", "level", "process", "pid", "logger", "event"]
    assert (found["at"], found["level"], found["process"]) == ("2001-09-09T01:46:40.000Z", "warning", "runner")
    assert (found["pid"], found["logger"]) == (os.getpid(), "trainyard.x")
    if message.isprintable() and message.isascii() and len(message) < 2_000:
        assert (found["event"], found["request_id"]) == (message, found["request_id"])


@given(st.text())
def test_a_line_for_a_person_has_no_control_characters(message: str) -> None:
    made = line("%s", message, text=True, request_id="r1")
    assert not set(made) & {chr(code) for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}
    assert made.startswith("2001-09-09T01:46:40.000Z runner warning ")
    assert made.endswith(" request_id=r1")


def test_keys_are_cut_and_long_texts_too() -> None:
    assert KEY not in (made := line("Bearer %s", KEY, other=f"x{KEY}y"))
    assert json.loads(made)["event"] == "Bearer ty_…"
    assert json.loads(line("%s", "ty_short"))["event"] == "ty_short"
    assert len(line("x" * 10_000)) < 3_000
    assert log.redacted(f'"{KEY}"') == '"ty_…"'


def failure() -> BaseException:
    """An exception, caused by another, of which both quote a value."""
    try:
        try:
            float("secret-1")
        except ValueError as error:
            raise KeyError("secret-2") from error
    except KeyError as error:
        return error
    raise AssertionError


def test_an_exception_is_told_with_its_places_and_causes_and_without_values() -> None:
    error = failure()
    made = line("failed", exc_info=(type(error), error, error.__traceback__))
    trace = json.loads(made)["exception"]
    assert "secret" not in trace.replace('float("secret-1")', "").replace('KeyError("secret-2")', "")
    assert trace.index("ValueError: could not convert string to float: '…'") < trace.index("KeyError: '…'")
    assert 'test_log.py", line' in trace
    assert log.message_of(OSError(28, "No space left on device", "/data/x")).endswith("'/data/x'")


def test_what_nothing_handles_becomes_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    """Exceptions of the process and of its threads, and warnings."""
    before = logging.getLogger().handlers[:], sys.excepthook, threading.excepthook, logging.getLogger().level
    try:
        log.configure("runner", "json")
        error = failure()
        sys.excepthook(type(error), error, error.__traceback__)
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
    finally:
        logging.captureWarnings(False)
        logging.getLogger().handlers[:], sys.excepthook, threading.excepthook = before[:3]
        logging.getLogger().setLevel(before[3])
    lines = [json.loads(each) for each in capfd.readouterr().err.splitlines()]
    assert [each["level"] for each in lines] == ["critical", "critical"]
    assert "ZeroDivisionError" in lines[1]["exception"]


class Pipe:
    """A pipe that nobody reads yet, and an output that writes to it."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.output = Output(self.writer, lambda count: b"dropped %d\n" % count)


def test_a_reader_that_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    """Lines that find no room are counted, and the next line that is written says how many."""
    pipe = Pipe()
    output = pipe.output
    output.write_in_background()
    written = b"x" * 1_023 + b"\n"
    for _ in range(2 * WAITING_BYTES // len(written)):
        output.write([written])  # Would wait for ever if it waited for the reader.
    dropped = output.dropped
    assert dropped >= WAITING_BYTES // len(written) - 100
    assert output.full
    output.flush(0.01)  # does not wait for longer either

    read = bytearray()

    def drain() -> None:
        while piece := os.read(pipe.reader, 65_536):
            read.extend(piece)

    thread = threading.Thread(target=drain)
    thread.start()
    eventually(lambda: not output.full, what="room")
    output.write([b"after\n"])
    output.flush(20.0)
    # The thread of the output never ends, and holds the writer's end no more.
    os.close(pipe.writer)
    thread.join()
    os.close(pipe.reader)
    lines = bytes(read).splitlines(keepends=True)
    assert lines[-2:] == [b"dropped %d\n" % dropped, b"after\n"]
    assert lines[:-2] == [written] * (2 * WAITING_BYTES // len(written) - dropped)
    assert output.dropped == dropped


def test_lines_of_several_processes_do_not_mix_in_a_pipe(tmp_path: Path) -> None:
    pipe = Pipe()
    assert pipe.output.piece_bytes == 4_096
    for descriptor in (pipe.reader, pipe.writer):
        os.close(descriptor)
    with (tmp_path / "log").open("wb") as file:
        assert Output(file.fileno(), lambda _: b"").piece_bytes > 4_096


def test_a_reader_that_has_ended_stops_nothing() -> None:
    pipe = Pipe()
    os.close(pipe.reader)
    pipe.output.write([b"a\n"])
    os.close(pipe.writer)
