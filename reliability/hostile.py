"""A hostile file harms nothing: hand-made bad files and mutated good files, for the service and a watched parser.

Bad files are sent to ``POST /models/{name}/checkpoints`` of a running service, and to the service's parser under
strace. Some of the mutated files are sent to the service, which reads each of them in a separate process. The others
are read by the same code with the same limits, many per process (``reliability.reading``), under strace. A file that is
still good after its mutation may be accepted.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py

from models.definition.definition import ModelDefinition
from models.errors import InvalidError, UnreadableError
from reliability.figure import Figure
from reliability.mutations import mutated
from service.settings import Settings
from service.uploads.parser import UploadParser
from service.uploads.reader_process import ReaderProcess
from testing.bad_features import BAD_FEATURES, GOOD_TABLE, ODD_FEATURES, TABLE_DATA, TABLE_MODEL, TABLE_ROWS
from testing.bad_files import BAD, GOOD, MODEL, large_attribute, many_attributes, truncated
from testing.bad_members import BAD_MEMBERS, GOOD_MEMBERS, MEMBERS_DATA, MEMBERS_MODEL, MEMBERS_ROWS
from testing.harness import Client, Process, Server, serving
from testing.samples import CLASSES, DATA, ROWS

__all__ = ["WatchedParser", "foreign_opens", "run"]

GOALS = {"mutated files": 20_000, "through the service": 4_000, "watched": 16_000}
#: The most resident memory of any process of the service that reads no file itself.
PEAK_KILOBYTES = 500_000
#: strace logs every call that can open a file.
_STRACE = ("strace", "-f", "--seccomp-bpf", "-e", "trace=open,openat,openat2,creat,execve", "-o")
_TINY = {"name": "tiny", "inputs": 2, "classes": CLASSES, "hidden": [], "optimizer": {"type": "sgd"}}
_MODELS = (MODEL, _TINY, TABLE_MODEL)
#: One in so many mutated files is of members, whose files are larger and take longer.
MEMBERS_ONE_IN = 16
#: A short form sends one in so many bad files to the service, and one in so many of members at all:
#: tests/service/uploads sends the service every one.
FEW = 4
#: By model of a table: data to train it on, and rows to predict.
_TABLES: dict[str, tuple[Any, Any]] = {
    TABLE_MODEL["name"]: (TABLE_DATA, TABLE_ROWS),
    MEMBERS_MODEL["name"]: (MEMBERS_DATA, MEMBERS_ROWS),
}
_ROOT = Path(__file__).parent.parent
#: The same environment as the service's parsers have.
_QUIET = {"PATH": os.defpath, "HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1"}
_FILE = {"Content-Type": "application/x-hdf5"}


class WatchedReader(ReaderProcess):
    """A process of the service that reads untrusted files, under strace."""

    def __init__(self, settings: Settings, command: str, log: Path) -> None:
        super().__init__(settings, command, 600)
        self.log = log

    def _launch(self, control: socket.socket) -> subprocess.Popen[bytes]:
        command = [*_STRACE, str(self.log), sys.executable, "-m", "service", self._command]
        environment = {**_QUIET, **self._settings.environment()}
        return subprocess.Popen(
            command, cwd=_ROOT, env=environment, stdin=control, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip


class WatchedParser(UploadParser):
    """The service's own parser processes, under strace; ``log`` is that of the one for checkpoints."""

    def __init__(self, settings: Settings, log: Path) -> None:
        super().__init__(settings)
        self.log, self.table_log = log, log.with_name(f"tables-{log.name}")
        self._checkpoints = WatchedReader(settings, "parser", self.log)
        self._tables = WatchedReader(settings, "table-reader", self.table_log)


def foreign_opens(log: str) -> tuple[int, list[str]]:
    """Return, from strace's log of a parser, the number of ended children and all attempts to open a file.

    The attempts include those of the parser itself after its start.
    """
    # A parser opens this file last, to measure its own size, before it accepts requests.
    _, _, rest = log.partition('"/proc/self/statm"')
    calls = [line.partition(" ")[2].strip() for line in rest.splitlines()[1:]]
    ends = sum(call.startswith("+++ ") for call in calls)
    return ends, [call for call in calls if re.match(r"(open|openat|openat2|creat|execve)\(", call)]


def run(scale: float) -> Figure:
    """Send each bad file to the service and to a watched parser; then send mutated files to one of them."""
    figure = Figure(goals=dict(GOALS))
    if shutil.which("strace") is None:
        figure.skipped = "strace is not installed"
        return figure
    with tempfile.TemporaryDirectory() as folder:
        _check_watch(Path(folder), figure)
        with serving(Path(folder) / "data", WORKERS=2) as server:
            watched = WatchedParser(Settings.read({"TRAINYARD_DATA": folder}), Path(folder) / "strace.log")
            try:
                _try_all(server, watched, figure, Path(folder), scale)
            finally:
                watched.close()
    return figure


def _check_watch(folder: Path, figure: Figure) -> None:
    """Verify that the watch works: it must report a program that reads external storage."""
    path, log = folder / "external.h5", folder / "control.log"
    path.write_bytes(BAD["external raw storage"].make())
    script = """
import os, sys, h5py
open("/proc/self/statm").close()
if not os.fork():
    h5py.File(sys.argv[1])["parameters/0_dense/weights"][()]
else:
    os.wait()
"""
    subprocess.run([*_STRACE, log, sys.executable, "-c", script, path], check=True, stdout=subprocess.DEVNULL)
    if not any("/etc/passwd" in call for call in foreign_opens(log.read_text())[1]):
        figure.broken.append("the watch does not work: it missed a file that was opened")


class _Trial:
    """The service, a watched parser and the results of the files sent to them."""

    def __init__(self, server: Server, watched: WatchedParser, figure: Figure) -> None:
        self.client, self.watched, self.figure = server.client, watched, figure
        self.definitions = {model["name"]: ModelDefinition.load(model) for model in (*_MODELS, MEMBERS_MODEL)}
        for model in (*_MODELS, MEMBERS_MODEL):
            self.client.define(model)
        self.bases = {name: list(_bases(self.client, name)) for name in self.definitions}
        self._lock = threading.Lock()

    def service(self, model: str, content: bytes) -> str:
        """Send a file to the service; return "accepted", "refused" or what is wrong with the response."""
        answer = self.client.post(f"/models/{model}/checkpoints", content, headers=_FILE)
        if answer.status == 201:
            return self._served(model, answer.json["version"])
        typed = answer.headers["content-type"] == "application/problem+json" and answer.json["code"]
        return "refused" if typed and 400 <= answer.status < 500 else f"{answer.status} {answer.body[:300]!r}"

    def _served(self, model: str, version: int) -> str:
        """Ask for predictions of an accepted version, and what its features are; "accepted" if all is answered."""
        rows = {"rows": _TABLES[model][1]} if model in _TABLES else {"inputs": ROWS}
        answers = [
            self.client.post("/predict", {"model": model, "version": version, **rows}),
            self.client.get(f"/models/{model}/versions/{version}"),
        ]
        for answer in answers:
            if answer.status not in (200, 422):
                return f"accepted, then {answer.status} {answer.body[:300]!r}"
        return "accepted"

    def parser(self, model: str, content: bytes) -> str:
        """Send a file to the watched parser; return "accepted", "refused" or the error."""
        with tempfile.TemporaryFile() as upload, tempfile.TemporaryFile() as exchange:
            upload.write(content)
            try:
                self.watched.checkpoint(upload, exchange, self.definitions[model])
            except (InvalidError, UnreadableError):
                return "refused"
            except Exception as error:  # noqa: BLE001 - any other error is reported as a broken promise
                return f"{type(error).__name__}: {error}"
        return "accepted"

    def send_bad_files(self, scale: float) -> None:
        """Send every hand-made file to both; at a scale below 1, some of them to the service."""
        files = list(_bad_files({name: bases[0] for name, bases in self.bases.items()}, scale))
        ways = ((self.service, files if scale >= 1 else files[::FEW]), (self.parser, files))
        with ThreadPoolExecutor(2) as pool:
            done = [pool.submit(_outcomes, ask, chosen) for ask, chosen in ways]
            for outcomes in done:
                for case, outcome in outcomes.result():
                    self.figure.count("bad files")
                    if outcome != "refused" and not (outcome == "accepted" and case in ODD_FEATURES):
                        self.figure.broken.append(f"{case}: {outcome}")
        self.watched.close()
        self.watch(self.watched.log)

    def send_mutated(self, numbers: Iterable[int]) -> None:
        """Send mutated files to the service: some of members, and a third of the others for each model."""
        for number in numbers:
            model = (MEMBERS_MODEL if number // 2 % MEMBERS_ONE_IN == 0 else _MODELS[number // 2 % 3])["name"]
            self.note(
                "through the service",
                f"mutation {number} of {model}",
                self.service(model, mutated(self.bases[model], number)),
            )

    def read_mutated(self, folder: Path, model: str, start: int, stop: int) -> None:
        """Read mutated files of a model as the service's parser does, under strace."""
        log = folder / f"{model}.log"
        command = [*_STRACE, log, sys.executable, "-m", "reliability.reading", folder, model, str(start), str(stop)]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True, cwd=_ROOT, env=_QUIET
        )
        for line in done.stdout.splitlines():
            number, _, outcome = line.partition(" ")
            if re.fullmatch("ended SIG(PROF|XCPU|SEGV|BUS|FPE|ABRT)", outcome):
                self.figure.count(f"parsers lost by {outcome.removeprefix('ended ')}")
                outcome = "refused"
            self.note("watched", f"mutation {number} of {model}", outcome)
        self.watch(log)

    def watch(self, log: Path) -> None:
        """Record every file that a parser or its children opened according to strace."""
        children, opened = foreign_opens(log.read_text())
        self.figure.count("parser processes watched", children)
        self.figure.broken += [f"opened a file: {call}" for call in opened]

    def note(self, what: str, case: str, outcome: str) -> None:
        with self._lock:
            self.figure.count("mutated files")
            self.figure.count(what)
            if outcome in ("accepted", "refused"):
                self.figure.count(outcome)
            else:
                self.figure.broken.append(f"{case}: {outcome}")


def _outcomes(ask: Callable[[str, bytes], str], files: list[tuple[str, str, bytes]]) -> list[tuple[str, str]]:
    """Ask for each file; return the names of the files and what became of each."""
    return [(case, ask(model, content)) for model, case, content in files]


def _try_all(server: Server, watched: WatchedParser, figure: Figure, folder: Path, scale: float) -> None:
    trial = _Trial(server, watched, figure)
    before = trial.client.post("/predict", {"model": "tiny", "inputs": ROWS, "version": 1}).body
    for _ in range(8):
        trial.service("tiny", b"")  # Makes each worker start its parser.
    processes = _lasting_processes(server)
    trial.send_bad_files(scale)
    for model in (*_MODELS, MEMBERS_MODEL):
        (folder / f"{model['name']}.json").write_text(json.dumps(model))
        for index, content in enumerate(trial.bases[model["name"]]):
            (folder / f"{model['name']}-{index}.h5").write_bytes(content)
    through, beside = int(GOALS["through the service"] * scale), int(GOALS["watched"] * scale)
    with ThreadPoolExecutor(3) as pool:
        done = [
            pool.submit(trial.send_mutated, range(0, through, 2)),
            pool.submit(trial.send_mutated, range(1, through, 2)),
        ]
        first, second, end = through + beside // 4, through + beside // 2, through + beside
        members = end - beside // MEMBERS_ONE_IN
        for name, start, stop in (
            ("target", through, first),
            (TABLE_MODEL["name"], first, second),
            (MEMBERS_MODEL["name"], members, end),
            ("tiny", second, members),
        ):
            done.append(pool.submit(trial.read_mutated, folder, name, start, stop))
        for each in done:
            each.result()
    _check_service(server, figure, before, processes == _lasting_processes(server))


def _lasting_processes(server: Server) -> list[Process]:
    """The processes that live as long as the service: the one that writes the models' files leaves when it is idle."""
    return [process for process in server.processes() if "model-files" not in process.command]


def _check_service(server: Server, figure: Figure, before: bytes, all_alive: bool) -> None:
    """Verify that no process was lost, predictions are unchanged and the disk holds no additional file."""
    if not all_alive:
        figure.broken.append("a process of the service was lost")
    if server.client.get("/health/ready").status != 200:
        figure.broken.append("the service is not ready")
    if server.client.post("/predict", {"model": "tiny", "inputs": ROWS, "version": 1}).body != before:
        figure.broken.append("the predictions of a version have changed")
    for process in _lasting_processes(server):
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        if peak is None or int(peak[1]) > PEAK_KILOBYTES:
            figure.broken.append(f"{process.command} took {peak and peak[1]} kB of memory")
    stored = server.stored()
    if stored["checkpoints"] != stored["checkpoints files"]:
        figure.broken.append(f"left on disk: {stored}")


def _bases(client: Client, model: str) -> Iterator[bytes]:
    """Yield a real checkpoint as the service wrote it, and in the oldest and newest forms that HDF5 writes."""
    data = _TABLES[model][0] if model in _TABLES else DATA
    rules = {} if model == MEMBERS_MODEL["name"] else {"epochs": 2}
    job = client.run({"model": model, "data": data, "seed": 1, **rules})
    own = client.get(f"/checkpoints/{job['checkpoint']}/file").body
    oldest, newest = (_written_again(own, libver) for libver in ("earliest", "latest"))
    # The oldest form has no checksums, so damage is detected later. It is therefore used more often.
    yield from (oldest, own, newest, oldest, oldest)


def _written_again(content: bytes, libver: str) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(io.BytesIO(content)) as source, h5py.File(buffer, "w", libver=libver) as file:
        for name in source:
            source.copy(name, file)
        for name, value in source.attrs.items():
            file.attrs[name] = value
    return buffer.getvalue()


def _bad_files(good: Mapping[str, bytes], scale: float) -> Iterator[tuple[str, str, bytes]]:
    """Models, names and contents of files that are refused, and the odd ones that need not be."""
    matrix, table, members = MODEL["name"], TABLE_MODEL["name"], MEMBERS_MODEL["name"]
    yield from ((matrix, name, case.make()) for name, case in BAD.items())
    yield from ((table, f"features: {name}", case.make()) for name, case in BAD_FEATURES.items())
    few = [*BAD_MEMBERS.items()][:: 1 if scale >= 1 else FEW]
    yield from ((members, f"members: {name}", case.make()) for name, case in few)
    yield from ((table, name, make()) for name, make in ODD_FEATURES.items())
    for model, whole in ((matrix, GOOD), (matrix, good[matrix]), (table, GOOD_TABLE), (table, good[table])):
        cuts = [*truncated(whole)][:: 1 if scale >= 1 else FEW]
        yield from ((model, f"{model} cut at {len(content)}", content) for content in cuts)
    cuts = [*truncated(GOOD_MEMBERS)][:: MEMBERS_ONE_IN if scale < 1 else 1]
    yield from ((members, f"members cut at {len(content)}", content) for content in cuts)
    if scale >= 1:
        yield matrix, "an attribute of 256 MB", large_attribute(4096)
        yield matrix, "a million attributes", many_attributes(1_000_000)
