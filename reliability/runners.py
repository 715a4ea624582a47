"""Real runners that start fast: they are forked from this process, which has imported their modules and opened nothing.

A runner is ``service.runner.main`` with a real database file and a real data directory, to which the application adds
its job, in a forked process too. Only the start of the interpreter is skipped. Use this module in a process without
other threads.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from models.formats.checkpoint_file import load_checkpoint
from models.formats.durable import TEMPORARY_SUFFIX, sha256_of
from reliability.samples import Sample
from service.jobs import lifecycle, runner
from service.jobs.document import job_document
from service.jobs.events import events_after
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.store.tables import JOBS
from service.web.app import create_app
from testing.samples import a_model, a_training

__all__ = ["Runner", "Store"]

LEASE = 3600.0


def _environment(data: Path) -> dict[str, str]:
    return {"TRAINYARD_DATA": str(data), "TRAINYARD_TRAINER": "external", "TRAINYARD_REPORT_SECONDS": "60"}


def _submit(data: Path, document: dict[str, Any], query: str, content: str) -> str:
    """Send the file of a dataset, if there is one, and a training to the application; returns the job."""
    client = create_app(Settings.read(_environment(data))).test_client()
    if content:
        answer = client.post(f"/datasets?{query}", data=content, content_type="text/csv")
        assert answer.status_code == 201, answer.text
    answer = client.post("/train", json=document)
    assert answer.status_code == 202, answer.text
    job: str = answer.get_json()["id"]
    return job


@dataclass
class Runner:
    """A running runner process."""

    pid: int
    stdin: int
    stdout: int
    order: bytes

    def release(self) -> None:
        """Let the runner begin if it was started with ``held``."""
        os.write(self.stdin, self.order)

    def kill(self) -> int:
        """Kill the runner and return its exit status, which is negative for a signal."""
        os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def wait(self) -> int:
        """Wait for the runner and return its exit status, which is negative for a signal."""
        _, status = os.waitpid(self.pid, 0)
        self._close()
        return os.waitstatus_to_exitcode(status)

    def outcome(self) -> dict[str, Any]:
        """Wait for the runner and return its outcome, as printed on its standard output."""
        line = b""
        while piece := os.read(self.stdout, 65_536):
            line += piece
        self.wait()
        outcome: dict[str, Any] = json.loads(line or b"{}")
        return outcome

    def stop(self) -> None:
        """Ask the runner to save and stop."""
        os.close(self.stdin)
        self.stdin = -1

    def _close(self) -> None:
        for descriptor in (self.stdin, self.stdout):
            if descriptor >= 0:
                os.close(descriptor)
        self.stdin = self.stdout = -1


class Store:
    """A data directory with a database and one job, which runners train one after the other."""

    def __init__(self, data: Path, job: str) -> None:
        self.data, self.job, self.files = data, job, FileStore(data)
        self.environment = _environment(data)
        self.settings = Settings.read(self.environment)

    @classmethod
    def make(
        cls, data: Path, model: dict[str, Any] | None = None, *, sample: Sample | None = None, **training: Any
    ) -> Store:
        """Create a store: define the model and queue the job, as a client does; with a sample, on its dataset."""
        document, query, content = a_training(a_model("tried", **(model or {})), **training), "", ""
        if sample is not None:
            document = sample.training(sample.named("tried", **(model or {})), **training)
            query, content = f"name={sample.dataset}&label={sample.label}", sample.csv
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as child:
            return cls(data, child.submit(_submit, data, document, query, content).result())

    def copy(self, data: Path) -> Store:
        """Copy the store to another directory."""
        shutil.copytree(self.data, data)
        return Store(data, self.job)

    def start(self, *, held: bool = False, limit: Any = None) -> Runner:
        """Start a runner for the job, in any state of the job; the runner calls ``limit`` before it begins."""
        database = Database(self.settings)
        with database.write() as connection:
            connection.execute(
                sa.update(JOBS)
                .where(JOBS.c.id == self.job)
                .values(state="queued", deaths=0, not_before=None, finished_at=None)
            )
            row = lifecycle.claim(connection, time.time(), LEASE)
            assert row is not None
        database.dispose()
        order = json.dumps({"job": self.job, "fence": row.fence}).encode() + b"\n"
        inward, stdin = os.pipe()
        stdout, outward = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._be_runner(inward, outward, (stdin, stdout), limit)
        os.close(inward)
        os.close(outward)
        one = Runner(pid, stdin, stdout, order)
        if not held:
            one.release()
        return one

    def _be_runner(self, inward: int, outward: int, others: tuple[int, int], limit: Any) -> None:
        status = 1
        try:
            for descriptor in others:
                os.close(descriptor)
            os.dup2(inward, 0)
            os.dup2(outward, 1)
            with self.data.with_suffix(".log").open("ab") as log:
                os.dup2(log.fileno(), 2)
            os.environ.update(self.environment)
            sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
            if limit is not None:
                limit()
            runner.main()
            status = 0
        finally:
            os._exit(status)

    def named(self) -> dict[str, tuple[int, str]]:
        """Return size and digest of every checkpoint in the database."""
        database = Database(self.settings)
        with database.read() as connection:
            rows = connection.execute(sa.text("SELECT id, bytes, sha256 FROM checkpoints")).all()
        database.dispose()
        return {row.id: (row.bytes, row.sha256) for row in rows}

    def document(self) -> dict[str, Any]:
        """Return the job as clients see it."""
        database = Database(self.settings)
        with database.read() as connection:
            document = job_document(lifecycle.find(connection, self.job))
        database.dispose()
        return document

    def events(self) -> list[str]:
        """Return the job's events as JSON."""
        database = Database(self.settings)
        with database.read() as connection:
            found = [row.data for row in events_after(connection, self.job, 0, 100_000)]
        database.dispose()
        return found

    def damage(self, *, sweep: bool = True) -> list[str]:
        """Return faults of the checkpoints in the database, and temporary files that the next start does not remove."""
        wrong = []
        for checkpoint_id, (size, digest) in self.named().items():
            path = self.files.path(FileKind.CHECKPOINT, checkpoint_id)
            try:
                if path.stat().st_size != size or sha256_of(path) != digest:
                    wrong.append(f"{path.name} does not match the database")
                else:
                    load_checkpoint(path)
            except Exception as error:  # noqa: BLE001 - any error while reading a checkpoint is a finding
                wrong.append(f"{path.name}: {type(error).__name__}: {error}")
        if not sweep:
            return wrong
        self.files.sweep()
        return wrong + [f"{name} survived the sweep" for name in self.temporary_files()]

    def temporary_files(self) -> list[str]:
        """Return the names of unfinished files."""
        return [path.name for path in (self.data / "checkpoints").iterdir() if path.name.endswith(TEMPORARY_SUFFIX)]
