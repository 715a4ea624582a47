"""A real server in real processes, a small client for it, and polling with a deadline instead of sleeps."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from testing.databases import place_database, rows_of, url_of

ROOT = Path(__file__).parents[1]
FINAL = ("succeeded", "failed", "cancelled")
Value = TypeVar("Value")


def eventually(condition: Callable[[], Value], timeout: float = 20.0, what: str = "", pause: float = 0.01) -> Value:
    """The first truthy answer of ``condition``, asked again after pauses of seconds; fails when the time is up."""
    until = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"not within {timeout} s: {what or condition}; at last {value!r}")
        time.sleep(pause)


def _refuse_constant(name: str) -> None:
    """Python's parser accepts NaN and Infinity, which are not JSON."""
    raise AssertionError(f"the answer is not JSON: {name}")


class Answer(NamedTuple):
    """A response: status, headers by lower-case name, and the body's bytes."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["content-type"] in ("application/json", "application/problem+json"), self
        return json.loads(self.body, parse_constant=_refuse_constant)


class Client:
    """HTTP over urllib; returns responses with an error status too. Every request uses a new connection."""

    def __init__(self, base: str) -> None:
        self.base = base

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        timeout: float = 70.0,
    ) -> Answer:
        """Send bytes as they are, anything else as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json", **(headers or {})} if data is not None else (headers or {})
        request = urllib.request.Request(self.base + path, data, given, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return _answer(response)
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error)

    def get(self, path: str, **options: Any) -> Answer:
        return self.request("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return self.request("POST", path, b"" if body is None else body, **options)

    def put(self, path: str, body: Any, **options: Any) -> Answer:
        return self.request("PUT", path, body, **options)

    def delete(self, path: str, **options: Any) -> Answer:
        return self.request("DELETE", path, **options)

    # Steps that most tests begin or end with.

    def define(self, document: dict[str, Any]) -> dict[str, Any]:
        answer = self.post("/models", document)
        assert answer.status == 201, answer
        return answer.json

    def train(self, document: dict[str, Any]) -> dict[str, Any]:
        answer = self.post("/train", document)
        assert answer.status == 202, answer
        assert answer.headers["location"] == f"/jobs/{answer.json['id']}"
        return answer.json

    def job(self, job_id: str) -> dict[str, Any]:
        answer = self.get(f"/jobs/{job_id}")
        assert answer.status == 200, answer
        return answer.json

    def wait(self, job_id: str, seconds: float = 60.0) -> dict[str, Any]:
        """The job when it has ended."""
        until = time.monotonic() + seconds
        # One request waits for at most a minute.
        while (job := self.get(f"/jobs/{job_id}?wait={seconds:g}").json)["state"] not in FINAL:
            assert time.monotonic() < until, job
        return job

    def run(self, document: dict[str, Any]) -> dict[str, Any]:
        """Train and wait for success."""
        job = self.wait(self.train(document)["id"])
        assert job["state"] == "succeeded", job
        return job

    def until_state(self, job_id: str, *states: str, timeout: float = 20.0) -> dict[str, Any]:
        return eventually(
            lambda: (job := self.job(job_id))["state"] in states and job, timeout, f"{job_id} in {states}"
        )

    def until_epoch(self, job_id: str, epoch: int) -> dict[str, Any]:
        """The running job after it has reported this many epochs."""

        def there() -> dict[str, Any] | None:
            job = self.job(job_id)
            assert job["state"] not in FINAL, f"over before it could be disturbed: {job}"
            return job if job["state"] == "running" and job["progress"]["epoch"] >= epoch else None

        job = eventually(there, what=f"{job_id} at epoch {epoch}")
        assert job is not None
        return job

    def history(self, job_id: str) -> list[dict[str, Any]]:
        """Every epoch of a job, page by page."""
        epochs: list[dict[str, Any]] = []
        while True:
            after = f"?after={epochs[-1]['epoch']}" if epochs else ""
            page = self.get(f"/jobs/{job_id}/history{after}").json
            epochs += page["data"]
            if not page["has_more"]:
                return epochs

    def pages(self, path: str, limit: int) -> list[dict[str, Any]]:
        """All entries of a list, page by page."""
        rows: list[dict[str, Any]] = []
        after = ""
        while True:
            page = self.get(f"{path}?limit={limit}{after}").json
            assert len(page["data"]) <= limit
            rows += page["data"]
            if not page["has_more"]:
                return rows
            assert len(page["data"]) == limit
            last = page["data"][-1]
            after = f"&after={last.get('id') or last.get('version') or last['name']}"


def _answer(response: Any) -> Answer:
    return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, response.read())


class Process(NamedTuple):
    """A process that serves one data directory."""

    pid: int
    parent: int
    started: int
    command: str


def processes_of(data: Path) -> list[Process]:
    """All live processes whose environment names ``data``, the oldest first."""
    found = []
    mark = f"TRAINYARD_DATA={data}".encode()
    for place in Path("/proc").iterdir():
        if not place.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            if mark not in (place / "environ").read_bytes().split(b"\0"):
                continue
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            if fields[0] != "Z":
                command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found.append(Process(int(place.name), int(fields[1]), int(fields[19]), command))
    return sorted(found, key=lambda process: (process.started, process.pid))


def is_gone(pid: int) -> bool:
    """Whether a process has ended, so that its parent can find that out, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


class Server:
    """``gunicorn wsgi:app`` with its own data directory, on a port that the system chooses."""

    def __init__(self, data: Path, **settings: object) -> None:
        self.data = data
        self.log_path = data.with_name(f"{data.name}.log")
        # A new data directory has no compiled code, which takes a second of processor time to make.
        self.settings = {"BIND": "127.0.0.1:0", "WORKERS": 2, "KERNELS": "numpy", **settings}
        self.process: subprocess.Popen[bytes] | None = None
        self.beside: list[subprocess.Popen[bytes]] = []
        self.client = Client("")

    @property
    def environment(self) -> dict[str, str]:
        """The variables that this server and processes beside it run with."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TRAINYARD_")}
        own = {f"TRAINYARD_{name}": str(value) for name, value in self.settings.items()}
        url = url_of(self.data)
        database = {} if url is None else {"TRAINYARD_DATABASE_URL": url}
        return {**clean, **database, **own, "TRAINYARD_DATA": str(self.data), "PYTHONWARNINGS": "error"}

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def until_logged(self, text: str) -> None:
        """Wait until the log holds ``text``: what a line reports can be seen before the line."""
        eventually(lambda: text in self.log, what=f"log line with {text!r}")

    def _popen(self, *command: str | Path) -> subprocess.Popen[bytes]:
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def run_to_end(self, *command: str | Path, seconds: float = 30.0) -> subprocess.CompletedProcess[str]:
        """A command with this server's settings, and what it printed. Raises TimeoutExpired if it does not end."""
        return subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def run_beside(self, *arguments: str) -> subprocess.Popen[bytes]:
        """``python -m service …`` with the same settings; ends with the server at the latest."""
        self.beside.append(self._popen(sys.executable, "-m", "service", *arguments))
        return self.beside[-1]

    def start(self) -> Client:
        """Start, and wait until it answers.

        In a data directory that is not there yet it finds a new database; an empty one has it make its own.
        """
        if not self.data.exists() and "DATABASE_URL" not in self.settings:
            place_database(self.data)
        before = len(self.log) if self.log_path.exists() else 0
        self.process = self._popen(Path(sys.executable).with_name("gunicorn"), "wsgi:app")

        def address() -> str | None:
            assert self.process is not None
            assert self.process.poll() is None, self.log
            found = re.search(r"Listening at: (http://\S+)", self.log[before:])
            return found and found[1]

        self.client = Client(eventually(address, what="an address in gunicorn's log"))
        assert self.client.get("/health/live", timeout=20.0).status == 200
        return self.client

    def start_ready(self) -> Client:
        """Start, and wait until a trainer is running too."""
        self.start()
        # Each request takes time from the trainer that starts.
        eventually(lambda: self.client.get("/health/ready").json["trainer"] == "ok", what="a trainer", pause=0.05)
        return self.client

    def processes(self, word: str = "") -> list[Process]:
        """This server's live processes whose command has ``word`` in it, the oldest first."""
        return [process for process in processes_of(self.data) if word in process.command]

    def trainer(self) -> Process:
        """The working trainer: the one with a runner. A second one may start and end."""

        def at_work() -> Process | None:
            parents = {runner.parent for runner in self.processes("service runner")}
            return next((one for one in self.processes("service trainer") if one.pid in parents), None)

        return eventually(at_work, what="a trainer")

    def busy_runner(self) -> Process:
        """The runner of the only running job; the trainer's other runner waits and is younger."""
        trainer = self.trainer().pid
        return eventually(
            lambda: [runner for runner in self.processes("service runner") if runner.parent == trainer], what="a runner"
        )[0]

    def terminate(self) -> int:
        """Stop it as an operator would. Returns its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def wait_until_gone(self, timeout: float = 40.0) -> None:
        """Wait until the trainer has ended too."""
        eventually(lambda: not self.processes(), timeout, "the end of all processes")

    def kill_everything(self) -> None:
        """``kill -9`` to every process, as a power cut would."""
        while alive := self.processes():
            for process in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            for child in [*self.beside, *([self.process] if self.process else [])]:
                child.wait(10)

    def close(self) -> None:
        """Leave no process behind, however the test ended."""
        try:
            if self.process is not None and self.process.poll() is None:
                self.terminate()
        finally:
            self.kill_everything()

    def stored(self) -> dict[str, int]:
        """Number of rows of each table that clients can add to, and of files, temporary ones included."""
        tables = ("models", "versions", "aliases", "checkpoints", "datasets", "jobs", "events")
        with rows_of(self.data) as connection:
            counts = {table: connection.exec_driver_sql(f"SELECT count(*) FROM {table}") for table in tables}
            rows = {table: found.scalar_one() for table, found in counts.items()}
        return {
            **rows,
            **{f"{folder} files": len(self.files(folder)) for folder in ("checkpoints", "datasets")},
        }

    def files(self, folder: str) -> list[str]:
        """Names of all files in ``checkpoints`` or ``datasets``."""
        return sorted(path.name for path in (self.data / folder).iterdir())


@contextlib.contextmanager
def serving(data: Path, **settings: object) -> Iterator[Server]:
    """A server that is up for the time of a with-block."""
    server = Server(data, **settings)
    try:
        server.start_ready()
        yield server
    finally:
        server.close()
