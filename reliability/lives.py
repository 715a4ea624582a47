"""Lives of jobs: random steps of clients, owners and a clock, compared with a simple model.

``python -m reliability.lives STEPS`` prints the number of steps of each kind.
"""

from __future__ import annotations

import atexit
import json
import shutil
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from models.errors import ConflictError
from models.formats.durable import FileRecord
from models.registry import models
from models.registry.checkpoints import add_checkpoint
from models.registry.datasets import add_dataset
from models.registry.tables import DATASETS
from service.jobs import lifecycle
from service.jobs.lifecycle import MAXIMUM_DEATHS, Progress, StaleError
from service.jobs.record import ACTIVE, FINAL, JobError
from service.settings import Settings
from service.store.database import Database
from testing.runs import a_definition

__all__ = ["live", "make_job"]

LEASE, RETRY = 10.0, 2.0
#: Maximum number of jobs that have not ended. Ended jobs stay, and clients may still ask to change them.
JOBS_AT_ONCE = 3
STEPS_OF_A_LIFE, LIVES_OF_A_SEED = 100, 10
#: Which owner acts, counted from the newest.
BACK = st.integers(0, 9)
PROGRESS = Progress(1, 7, 0.1, 3.0, {"loss": 0.5, "accuracy": 0.75})
CAUSES = tuple(JobError(code, "because") for code in ("worker_lost", "out_of_memory", "crashed"))


def make_job(connection: sa.Connection, number: int, model: str = "small") -> str:
    """Queue a job and return its id, which is greater for a greater ``number``."""
    job_id = f"job_{number:04}"
    if connection.scalar(sa.select(DATASETS.c.id).where(DATASETS.c.id == "ds_1")) is None:
        values = {"id": "ds_1", "name": "rows", "rows": 1, "features": ["a"], "classes": [0, 1], "created_at": ""}
        add_dataset(connection, values, FileRecord(1, "00"))
    request = {"epochs": 10, "publish": True}
    lifecycle.create(connection, job_id, model=model, request=request, dataset="ds_1", validation_dataset=None)
    return job_id


def name_checkpoint(connection: sa.Connection, job: str, fence: int, checkpoint: str, progress: Progress) -> None:
    """Record a checkpoint, as a runner does after the file is durable."""
    values = {
        "id": checkpoint,
        "model": "small",
        "job": job,
        "kind": "between",
        "epoch": progress.epoch,
        "step": progress.step,
        "metrics": json.dumps(progress.metrics),
        "created_at": "2026-01-01T00:00:00.000Z",
    }
    lifecycle.report(connection, job, fence, progress, checkpoint=checkpoint, deaths=0)
    add_checkpoint(connection, values, FileRecord(1, "00"))


class Life(RuleBasedStateMachine):
    """The state machine. Each step is a transaction on a database file. Claims are kept, so most become stale."""

    jobs = Bundle("jobs")
    #: Counts over all lives of this process.
    counts: ClassVar[Counter[str]] = Counter()
    _empty: ClassVar[Path | None] = None

    @initialize()
    def begin(self) -> None:
        memory = Path("/dev/shm")  # Flushes are fast there, and this test needs no durability.
        self.folder = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
        data = Path(self.folder.name)
        self.database = Database(Settings.read({"TRAINYARD_DATA": str(data)}))
        shutil.copy(self.empty_database(), data / "trainyard.db")
        #: A connection to the same file that is independent of the code under test.
        self.looker = sqlite3.connect(f"file:{data / 'trainyard.db'}?mode=ro", uri=True)
        self.looker.row_factory = sqlite3.Row
        self.now, self.count, self.saved, self.published = 1e9, 0, 0, 0
        #: Every job and fencing number that an owner has received, the newest last.
        self.claims: list[tuple[str, int]] = []
        #: By job: state, attempt, deaths, fencing number, request, end of the lease, start of the next attempt.
        self.known: dict[str, dict[str, Any]] = {}
        #: By ended job: its row at the end.
        self.ended: dict[str, tuple[Any, ...]] = {}
        #: Rows after the previous step.
        self.before: dict[str, tuple[Any, ...]] = {}

    @classmethod
    def empty_database(cls) -> Path:
        """Return the file of a database with one model; created once, because migrations take long."""
        if cls._empty is None:
            folder = tempfile.TemporaryDirectory()
            atexit.register(folder.cleanup)
            database = Database(Settings.read({"TRAINYARD_DATA": folder.name}))
            database.migrate()
            with database.write() as connection:
                models.define_model(connection, a_definition())
            database.dispose()
            cls._empty = Path(folder.name) / "trainyard.db"
        return cls._empty

    def teardown(self) -> None:
        if hasattr(self, "looker"):
            self.looker.close()
            self.database.dispose()
            self.folder.cleanup()

    def write(self, change: Callable[[sa.Connection], Any]) -> Any:
        """Make a change in its own transaction."""
        with self.database.write() as connection:
            return change(connection)

    def is_refused(self, change: Callable[[sa.Connection], Any], refusal: type[Exception], what: str) -> None:
        """Verify that the change is refused and changes nothing."""
        before = self.everything()
        try:
            self.write(change)
        except refusal:
            assert self.everything() == before
            self.counts[what] += 1
        else:
            raise AssertionError(f"{what}: not refused")

    def everything(self) -> list[Any]:
        """Return all rows that owners and clients can change."""
        tables = ("jobs", "events", "checkpoints", "versions")
        return [tuple(row) for table in tables for row in self.looker.execute(f"SELECT * FROM {table}")]

    # Clients.

    @precondition(lambda self: sum(known["state"] in ACTIVE for known in self.known.values()) < JOBS_AT_ONCE)
    @rule(target=jobs)
    def create(self) -> str:
        self.count += 1
        job: str = self.write(lambda connection: make_job(connection, 9999 - self.count))
        self.known[job] = {"state": "queued", "attempt": 1, "deaths": 0, "fence": 0, "wanted": None}
        self.known[job] |= {"lease_until": None, "not_before": None}
        return job

    @rule(job=jobs, wish=st.sampled_from(["cancel", "pause"]))
    def wish(self, job: str, wish: Literal["cancel", "pause"]) -> None:
        change = {"cancel": lifecycle.cancel, "pause": lifecycle.pause}[wish]
        known = self.known[job]
        if known["state"] in FINAL or (wish == "pause" and (known["state"] == "paused" or known["wanted"] == "cancel")):
            what = "final states asked to change" if known["state"] in FINAL else "wishes refused"
            self.is_refused(lambda connection: change(connection, job), ConflictError, what)
            return
        self.write(lambda connection: change(connection, job))
        if known["state"] == "running":
            known["wanted"] = wish
        else:
            known.update(state={"cancel": "cancelled", "pause": "paused"}[wish], not_before=None)

    @rule(job=jobs)
    def resume(self, job: str) -> None:
        known = self.known[job]
        if known["state"] == "running" and known["wanted"] == "pause":
            self.write(lambda connection: lifecycle.resume(connection, job))
            known["wanted"] = None
        elif known["state"] == "paused":
            self.write(lambda connection: lifecycle.resume(connection, job))
            known["state"] = "queued"
        else:
            what = "final states asked to change" if known["state"] in FINAL else "wishes refused"
            self.is_refused(lambda connection: lifecycle.resume(connection, job), ConflictError, what)

    # The clock and the trainers.

    @rule(seconds=st.floats(0.1, 8.0))
    def time_goes_by(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def claim(self) -> None:
        due = [
            job
            for job, known in self.known.items()
            if known["state"] == "queued" and (known["not_before"] is None or known["not_before"] <= self.now)
        ]
        next_due = self.write(lifecycle.next_due)
        assert (next_due is not None and next_due <= self.now) is bool(due)
        row = self.write(lambda connection: lifecycle.claim(connection, self.now, LEASE))
        assert (row and row.id) == (due[0] if due else None)
        if row is None:
            return
        known = self.known[row.id]
        known.update(state="running", fence=known["fence"] + 1, wanted=None, not_before=None)
        known["lease_until"] = self.now + LEASE
        self.claims.append((row.id, row.fence))

    @rule(seconds=st.sampled_from([1.0, 3600.0, 86400.0]))
    def clock_is_set_back(self, seconds: float) -> None:
        """No job waits for longer than if its lease or delay began now."""
        self.now -= seconds
        latest = {"lease_until": self.now + LEASE, "not_before": self.now + RETRY}
        ahead = False
        for known in self.known.values():
            for name, state in (("lease_until", "running"), ("not_before", "queued")):
                if known["state"] == state and known.get(name) is not None and known[name] > latest[name]:
                    known[name], ahead = latest[name], True
        times = self.now, LEASE, RETRY
        assert self.write(lambda connection: lifecycle.waits_too_long(connection, *times)) is ahead
        self.write(lambda connection: lifecycle.shorten_waits(connection, *times))
        assert not self.write(lambda connection: lifecycle.waits_too_long(connection, *times))

    @rule()
    def expire(self) -> None:
        self.write(lambda connection: lifecycle.expire(connection, self.now, RETRY))
        for known in self.known.values():
            if known["state"] == "running" and known["lease_until"] < self.now:
                self.has_lost(known)

    @precondition(lambda self: any(known["state"] == "running" for known in self.known.values()))
    @rule()
    def owners_are_held_up(self) -> None:
        """Leases expire, and other owners take over."""
        self.now += LEASE + 0.1
        self.expire()
        self.now += RETRY
        self.claim()

    def has_lost(self, known: dict[str, Any]) -> None:
        known["deaths"] += 1
        if known["wanted"] == "cancel":
            known["state"] = "cancelled"
        elif known["deaths"] >= MAXIMUM_DEATHS:
            known["state"] = "failed"
        elif known["wanted"] == "pause":
            known.update(state="paused", attempt=known["attempt"] + 1)
        else:
            known.update(state="queued", attempt=known["attempt"] + 1)
            known["not_before"] = self.now + RETRY if known["deaths"] > 1 else None

    # Owners. All except one are stale.

    @precondition(lambda self: self.claims)
    @rule(back=BACK, act=st.sampled_from(["renew", "save", "tidy"]))
    def owner_goes_on(self, back: int, act: str) -> None:
        self.owner_acts(back, act, CAUSES[0])

    @precondition(lambda self: self.claims)
    @rule(back=BACK, act=st.sampled_from(["stop", "lose"]), cause=st.sampled_from(CAUSES))
    def owner_gives_back(self, back: int, act: str, cause: JobError) -> None:
        self.owner_acts(back, act, cause)

    @precondition(lambda self: self.claims)
    @rule(back=BACK, act=st.sampled_from(["finish", "fail"]))
    def owner_ends(self, back: int, act: str) -> None:
        self.owner_acts(back, act, CAUSES[0])

    def owner_acts(self, back: int, act: str, cause: JobError) -> None:
        job, fence = self.claims[-1 - back % len(self.claims)]
        known = self.known[job]
        change = self.change_of(act, job, fence, cause)
        if known["state"] != "running" or known["fence"] != fence:
            self.is_refused(change, StaleError, "stale writes refused")
            return
        if act == "finish":  # A runner saves its last state before it reports that it has finished.
            self.write(self.change_of("save", job, fence, cause))
        self.write(change)
        self.has_done(act, known)

    def change_of(self, act: str, job: str, fence: int, cause: JobError) -> Callable[[sa.Connection], Any]:
        self.saved += 1
        checkpoint = f"ckpt_{self.saved:05}"
        return {
            "renew": lambda connection: lifecycle.renew(connection, job, fence, self.now, LEASE),
            "save": lambda connection: name_checkpoint(connection, job, fence, checkpoint, PROGRESS),
            "tidy": lambda connection: lifecycle.require_owner(connection, job, fence),
            "finish": lambda connection: lifecycle.finish(connection, job, fence, publish_version=True),
            "fail": lambda connection: lifecycle.fail(connection, job, fence, "diverged", "because"),
            "stop": lambda connection: lifecycle.stop(connection, job, fence),
            "lose": lambda connection: lifecycle.lose(connection, job, fence, cause, self.now, RETRY),
        }[act]

    def has_done(self, act: str, known: dict[str, Any]) -> None:
        if act == "renew":
            known["lease_until"] = self.now + LEASE
        elif act == "save":
            known["deaths"] = 0
        elif act == "finish":
            known.update(state="succeeded", deaths=0)
            self.published += 1
        elif act == "fail":
            known["state"] = "failed"
        elif act == "stop":
            known["state"] = {"cancel": "cancelled", "pause": "paused", None: "queued"}[known["wanted"]]
        elif act == "lose":
            self.has_lost(known)

    # What must hold after every step.

    @invariant()
    def rows_are_as_expected(self) -> None:
        if not hasattr(self, "looker"):
            return
        self.counts["steps"] += 1
        for row in self.looker.execute("SELECT * FROM jobs"):
            known = self.known[row["id"]]
            if known["state"] != "running":
                known.update(wanted=None, lease_until=None)
            assert {name: row[name] for name in known} == known
            assert tuple(row) == self.ended.get(row["id"], tuple(row)), "a final state was left or changed"
            if self.before.get(row["id"]) != tuple(row):
                self.changed_row_is_whole(row)
                self.before[row["id"]] = tuple(row)
        (published,) = self.looker.execute("SELECT count(*) FROM versions").fetchone()
        assert published == self.published

    def changed_row_is_whole(self, row: sqlite3.Row) -> None:
        if row["state"] in FINAL:
            self.ended[row["id"]] = tuple(row)
            self.counts["final states"] += 1
        assert row["state"] in (*ACTIVE, *FINAL)
        assert (row["finished_at"] is not None) is (row["state"] in FINAL)
        assert (row["error"] is not None) is (row["state"] == "failed")
        assert (row["version"] is not None) is (row["state"] == "succeeded")
        reported = "SELECT data FROM events WHERE job = ? AND type = 'state' ORDER BY id DESC LIMIT 1"
        (newest,) = self.looker.execute(reported, [row["id"]]).fetchone()
        assert json.loads(newest)["state"] == row["state"]


def live(steps: int) -> Counter[str]:
    """Run lives with a total of ``steps`` steps and return the counts. Raises AssertionError if a check fails."""
    number = 0  # The seed: hypothesis repeats the same lives for the same seed.
    while Life.counts["steps"] < steps:
        number += 1
        options = settings(
            max_examples=LIVES_OF_A_SEED,
            stateful_step_count=STEPS_OF_A_LIFE,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )
        run_state_machine_as_test(seed(number)(Life), settings=options)
    return Life.counts


if __name__ == "__main__":
    print(json.dumps(live(int(sys.argv[1]))))
