"""A hostile table harms nothing: mutated CSV, NDJSON and Parquet files, for the service and for watched readers.

Each file is read by a child of the service's own reader of tables, with its limits, under strace. Some of the files are
sent to a running service instead. A file that is still good after its mutation may be accepted; a child may be ended by
its limits, which is a refusal. The processes of the service must live on, and no file but the given ones may be opened.
"""

from __future__ import annotations

import gzip
import random
import re
import shutil
import tempfile
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import duckdb

from models.errors import InvalidError
from models.reading.options import ReadOptions
from reliability.figure import Figure
from reliability.hostile import WatchedParser
from reliability.mutations import mutated
from service.settings import Settings
from testing.harness import Client, Server, serving

__all__ = ["ALLOWED", "foreign", "run"]

#: ``security.fuzz`` sends a service thousands more.
GOALS = {"mutated files": 6_000, "watched": 5_600, "through the service": 400}
#: What a child opens: the files that it was given, and what DuckDB asks the kernel about memory and processors.
ALLOWED = re.compile(
    r'"(/proc/self/fd/[034]|/proc/self/cgroup|/proc/meminfo|/proc/self/mountinfo|/proc/self/maps|/proc/self/limits'
    r'|/sys/fs/cgroup/[\w./-]*|/sys/devices/system/(cpu|node)[\w./-]*|/proc/sys/vm/overcommit_memory)"'
)
_READERS = 2
#: Pieces that mean something in text files.
_WORDS: Sequence[bytes] = (
    *(b'"', b'""', b",", b";", b"\t", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"'", b"\\"),
    *(b"1e999", b"-inf", b"nan", b"9" * 400, b"0x1f", b"1_000", b"{", b"}", b"[", b"]", b":", b"null", b"{}", b"[[[["),
    *(b"a" * 70_000, b'"' * 5_000, b"," * 5_000, b"[" * 5_000, b"'/etc/passwd'", b"2024-13-45", b"\xf0\x9f\x98\x80"),
)


def bases() -> dict[str, list[bytes]]:
    """Good files of each kind."""
    rows = [
        (row, row * 0.5, f"word {row % 4}", row % 2 == 0, f"2024-01-{row % 28 + 1:02}", "né"[: row % 3])
        for row in range(60)
    ]
    csv = "id,x,k,flag,day,note\n" + "".join(f'{a},{b},"{c}",{d},{e},{f}\n' for a, b, c, d, e, f in rows)
    german = "x;y\n" + "".join(f"{row},{row % 7};{'ja' if row % 2 else 'nein'}\n" for row in range(50))
    objects = [f'{{"a": {a}, "b": {b}, "c": "{c}", "d": {str(d).lower()}, "e": "{e}"}}' for a, b, c, d, e, _ in rows]
    lines = "\n".join(objects).encode()
    return {
        "csv": [csv.encode(), german.encode("cp1252"), csv.encode("utf-16"), gzip.compress(csv.encode())],
        "ndjson": [lines, b"[" + b",".join(each.encode() for each in objects) + b"]"],
        "parquet": [_parquet(compression) for compression in ("snappy", "zstd", "gzip", "uncompressed")],
    }


def _parquet(compression: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        path = Path(folder) / "a.parquet"
        query = "SELECT range AS a, range / 3 AS b, 'word ' || range % 5 AS c, range % 2 = 0 AS d, "
        query += "DATE '2024-01-01' + range::INTEGER AS e FROM range(300)"
        connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet, COMPRESSION {compression})")
        return path.read_bytes()


def mutation(files: dict[str, list[bytes]], number: int) -> tuple[str, bytes]:
    """The mutated file with this number, and its kind."""
    kind = sorted(files)[number % len(files)]
    chance = random.Random(number)
    content = mutated(files[kind], number)
    if kind != "parquet" and chance.random() < 0.7:
        text = bytearray(content)
        for _ in range(chance.choice((1, 2, 5))):
            place = chance.randrange(len(text) + 1)
            text[place : place + chance.choice((0, 0, 1, 9))] = chance.choice(_WORDS)
        content = bytes(text)
    return kind, content


def foreign(log: str) -> tuple[int, list[str]]:
    """From strace's log of a reader: the number of ended processes, and attempts to open a file that is not allowed."""
    # The reader opens this file last, to measure its own size, before it accepts requests.
    _, _, rest = log.partition('"/proc/self/statm"')
    calls = [line.partition(" ")[2].strip() for line in rest.splitlines()[1:]]
    ends = sum(call.startswith("+++ ") for call in calls)
    opened = [call for call in calls if re.match(r"(open|openat|openat2|creat|execve)\(", call)]
    return ends, [call for call in opened if not ALLOWED.search(call)]


class _Trial:
    def __init__(self, figure: Figure) -> None:
        self.figure, self.files, self._lock = figure, bases(), threading.Lock()

    def note(self, what: str, case: str, outcome: str) -> None:
        with self._lock:
            self.figure.count("mutated files")
            self.figure.count(what)
            if outcome in ("accepted", "refused", "ended by a limit or a crash"):
                self.figure.count(outcome)
            else:
                self.figure.broken.append(f"{case}: {outcome}")

    def read(self, parser: WatchedParser, numbers: Iterable[int]) -> None:
        """Have a watched reader read files."""
        for number in numbers:
            kind, content = mutation(self.files, number)
            self.note("watched", f"mutation {number} of {kind}", _read(parser, content))

    def send(self, client: Client, numbers: Iterable[int]) -> None:
        """Send files to the service."""
        for number in numbers:
            kind, content = mutation(self.files, number)
            headers = {"Content-Type": "application/octet-stream"}
            answer = client.post(f"/datasets?name=t-{number}", content, headers=headers)
            outcome = f"{answer.status} {answer.body[:300]!r}"
            if answer.status == 201:
                outcome = "accepted"
                client.delete(f"/datasets/t-{number}")
            elif 400 <= answer.status < 500 and answer.headers["content-type"] == "application/problem+json":
                outcome = "refused"
            self.note("through the service", f"mutation {number} of {kind}", outcome)


def _read(parser: WatchedParser, content: bytes) -> str:
    with ExitStack() as stack:
        upload, exchange, first, second = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(4))
        upload.write(content)
        try:
            table = parser.table(upload, exchange, (first, second), ReadOptions())
            assert table.rows > 0
        except InvalidError as error:
            return (
                "ended by a limit or a crash" if "killed" in error.detail or "takes too" in error.detail else "refused"
            )
        except Exception as error:  # noqa: BLE001 - any other error is reported as a broken promise
            return f"{type(error).__name__}: {error}"
        return "accepted"


def run(scale: float) -> Figure:
    """Have watched readers and a service read mutated files."""
    figure = Figure(goals=dict(GOALS))
    if shutil.which("strace") is None:
        figure.skipped = "strace is not installed"
        return figure
    trial = _Trial(figure)
    watched, sent = int(GOALS["watched"] * scale), int(GOALS["through the service"] * scale)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.read({"TRAINYARD_DATA": folder})
        parsers = [WatchedParser(settings, Path(folder) / f"{place}.log") for place in range(_READERS)]
        try:
            with ThreadPoolExecutor(_READERS) as pool:
                work = [
                    pool.submit(trial.read, each, range(place, watched, _READERS)) for place, each in enumerate(parsers)
                ]
                for each in work:
                    each.result()
        finally:
            for parser in parsers:
                parser.close()
        for parser in parsers:
            children, opened = foreign(parser.table_log.read_text())
            figure.count("processes watched", children)
            figure.broken += [f"opened a file: {call}" for call in opened]
        with serving(Path(folder) / "data", WORKERS=2) as server:
            _through(server, trial, range(watched, watched + sent))
    return figure


def _through(server: Server, trial: _Trial, numbers: range) -> None:
    """Send files to a service, whose processes must be the same afterwards."""
    before = {process.pid for process in server.processes("gunicorn")}
    trial.send(server.client, numbers)
    after = {process.pid for process in server.processes("gunicorn")}
    if before != after:
        trial.figure.broken.append(f"processes of the service ended: {sorted(before - after)}")
    if server.client.get("/health/ready").status != 200:
        trial.figure.broken.append("the service is not ready any more")
