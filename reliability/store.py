"""The store keeps the right files and detects damage: retention, verification, fallback and reindexing.

One of its two models is of a matrix, the other one of a stored table.

Jobs with a checkpoint after every epoch run with real trainers and runners, which are killed at random. Then a few
files at a time are damaged at random: verify must report exactly these, and a prediction is requested from every
version. Finally, the database is repeatedly deleted and rebuilt from the files.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import sleep
from typing import Any

from flask.testing import FlaskClient

from reliability.figure import Figure
from reliability.samples import MATRIX, TABLE
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.upkeep.inspection import inspect
from service.upkeep.reindex import reindex
from service.upkeep.verify import verify
from service.uploads.parser import UploadParser
from service.web.app import create_app
from testing.harness import Server, eventually
from testing.samples import a_training, without_jobs

__all__ = ["run"]

HISTORIES = 2
#: Goals of a full run, over all histories.
GOALS = {"kills": 20, "files damaged": 45, "registries rebuilt": 10}
ROUNDS, JOBS = 24, 12
MODELS = {"one": MATRIX, "two": TABLE}
EPOCHS = 40
#: One kill in so many hits a trainer, the others the runner of a job.
TRAINER_ONE_IN = 4


def run(scale: float) -> Figure:
    """Run histories of kills, then rounds of damage and of lost databases."""
    # Errors are expected here and every response is checked, so the service's log is not shown.
    logging.getLogger("trainyard").addHandler(logging.NullHandler())
    figure = Figure(goals=dict(GOALS))
    histories = max(1, round(HISTORIES * scale))
    share = scale / histories
    for seed in range(histories):
        with tempfile.TemporaryDirectory() as folder:
            settings = {"TRAINER": "external", "LEASE_SECONDS": 1, "REPORT_SECONDS": 0.02, "BLAS_THREADS": 1}
            with closing(Server(Path(folder) / "data", **settings)) as server:
                history = _History(server, figure, random.Random(seed), share)
                try:
                    history.run()
                finally:
                    history.close()
    return figure


class _History:
    """One data directory from its first job to its last damage. Web requests are handled in this process."""

    def __init__(self, server: Server, figure: Figure, chance: random.Random, share: float) -> None:
        self.server, self.figure, self.chance, self.share = server, figure, chance, share
        self.settings = Settings.read(server.environment)
        self.database, self.files = Database(self.settings), FileStore(self.settings.data)
        self.parsers = list[UploadParser]()
        self.client = self.fresh_client()
        self.answers: dict[tuple[str, int], Any] = {}
        self.checkpoints: dict[tuple[str, int], str] = {}

    def run(self) -> None:
        self.train()
        self.check_files()
        self.learn_answers()
        pristine = self.server.data.with_name("pristine")
        shutil.copytree(self.server.data, pristine)
        for number in range(round(ROUNDS * self.share)):
            self.damage(pristine, verify_first=number % 2 == 0)
        self.expect(verify(self.database, self.files).wrong == [], "verify reports a fault after all is restored")
        for _ in range(round(GOALS["registries rebuilt"] * self.share)):
            self.rebuild()

    def fresh_client(self) -> FlaskClient:
        """Return a client of a new application that has loaded no version."""
        app = create_app(self.settings)
        self.parsers.append(app.extensions["trainyard"].parser)
        return app.test_client()

    def close(self) -> None:
        """End the processes that read files."""
        for parser in self.parsers:
            parser.close()

    def expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.figure.broken.append(otherwise)

    # Kills and retention.

    def train(self) -> None:
        for name, sample in MODELS.items():
            assert self.client.post("/models", json=sample.named(name)).status_code == 201
        path = f"/datasets?name={TABLE.dataset}&label={TABLE.label}"
        upload = self.client.post(path, data=TABLE.csv, content_type="text/csv")
        assert upload.status_code == 201
        self.dataset = upload.json["id"]
        self.server.run_beside("trainer")
        kills, jobs = round(GOALS["kills"] * self.share), max(len(MODELS), round(JOBS * self.share))
        for number in range(jobs):
            keep = self.chance.randrange(4)
            policy = {"every_epochs": 1, "keep": keep}
            asked = {"epochs": EPOCHS, "seed": number, "checkpoint": policy}
            request = TABLE.training("two", **asked) if number % 2 else a_training("one", **asked)
            job = self.client.post("/train", json=request).json["id"]
            for _ in range(kills // jobs + (number < kills % jobs)):
                self.kill(job)
            self.until(job, lambda document: document["state"] == "succeeded")
            self.check_retention(job, keep)

    def until(self, job: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        def document() -> dict[str, Any] | None:
            found: dict[str, Any] = self.client.get(f"/jobs/{job}").json
            assert found["state"] not in ("failed", "cancelled"), found
            return found if holds(found) else None

        found = eventually(document, 60.0, job)
        assert found is not None
        return found

    def kill(self, job: str) -> None:
        """Kill the runner of a job or the trainer, after a new checkpoint since the previous kill."""
        before = self.client.get(f"/jobs/{job}").json["checkpoint"]
        self.until(job, lambda document: document["checkpoint"] != before)
        sleep(self.chance.uniform(0.0, 0.05))  # so that kills hit different moments of a save
        if self.client.get(f"/jobs/{job}").json["state"] != "running":
            return
        kill_trainer = self.chance.randrange(TRAINER_ONE_IN) == 0
        os.kill(self.server.trainer().pid if kill_trainer else self.server.busy_runner().pid, signal.SIGKILL)
        self.figure.count("kills")
        if kill_trainer:
            self.server.beside[-1].wait(10)
            self.server.run_beside("trainer")

    def check_retention(self, job: str, keep: int) -> None:
        rows = self.client.get(f"/jobs/{job}/checkpoints?limit=100").json["data"]
        epochs = [row["epoch"] for row in rows]
        losses = {row["epoch"]: row["loss"] for row in self.client.get(f"/jobs/{job}/history").json["data"]}
        best = min(losses, key=lambda epoch: (losses[epoch], epoch))
        between = [epoch for epoch in epochs if 0 < epoch < EPOCHS]
        found = f"{job} keeps the epochs {epochs} with keep {keep} and best epoch {best}"
        self.expect(epochs[0] == EPOCHS and epochs[-1] == 0, found)
        self.expect(best in epochs and len(between) <= keep + (best in between), found)
        saved = [event for event in self.events(job) if event["type"] == "checkpoint"]
        self.figure.count("checkpoints saved", len(saved))
        self.figure.count("checkpoints kept", len(rows))

    def events(self, job: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            after = f"&after={found[-1]['id']}" if found else ""
            page = self.client.get(f"/jobs/{job}/events?limit=100{after}").json
            found += page["data"]
            if not page["has_more"]:
                return found

    def check_files(self) -> None:
        """Start a trainer once more, and verify that the files match the database and have no faults."""
        self.stop_trainer()
        self.server.run_beside("trainer")
        eventually(lambda: not list(self.server.data.glob("*/.*.partial")), 20.0, "no temporary file")
        report = eventually(
            lambda: (found := verify(self.database, self.files)).wrong == [] and found, 20.0, "no fault"
        )
        self.figure.count("files verified", report.checkpoints + report.datasets)
        self.stop_trainer()

    def stop_trainer(self) -> None:
        trainer = self.server.beside[-1]
        trainer.terminate()
        trainer.wait(30)

    # Damage.

    def learn_answers(self) -> None:
        for name in MODELS:
            for row in self.client.get(f"/models/{name}/versions?limit=100").json["data"]:
                key = name, row["version"]
                self.answers[key], self.checkpoints[key] = self.ask(*key)[1], row["checkpoint"]

    def ask(self, name: str, version: int | None) -> tuple[int, Any]:
        answer = self.client.post("/predict", json={"model": name, "version": version, **MODELS[name].rows})
        return answer.status_code, answer.json

    def damage(self, pristine: Path, *, verify_first: bool) -> None:
        """Damage a few files, check what is reported and served, and restore them."""
        folder = self.files.data / "checkpoints"
        # One of them is a version with a fault that only its digest can reveal when it is loaded.
        served = self.files.path(FileKind.CHECKPOINT, self.chance.choice([*self.checkpoints.values()]))
        others = self.chance.sample(sorted({*folder.glob("*.h5")} - {served}), self.chance.randint(1, 2))
        others.append(self.files.path(FileKind.DATASET, self.dataset))
        done = {path.name: self.chance.choice((_flip, _cut, _delete))(path, self.chance) for path in others}
        done[served.name] = _flip(served, self.chance)
        self.figure.count("files damaged", len(done))
        self.client = self.fresh_client()
        if not verify_first:
            self.check_served(set(done))
            self.check_dataset()
        found = {wrong.what: wrong.fault for wrong in verify(self.database, self.files).wrong}
        self.expect(found == done, f"damaged {done}, but verify reports {found}")
        if verify_first:
            self.check_served(set(done))
            self.check_dataset()
        for path in (served, *others):
            shutil.copy2(pristine / path.parent.name / path.name, path)
        self.expect(
            all(one.finding.fault is None for one in inspect(self.database, self.files)),
            "faults remain after the files are restored",
        )

    def check_served(self, damaged: set[str]) -> None:
        """Good versions give the same response, damaged ones are refused, and the default is the newest good one."""
        for name in MODELS:
            good = None
            for key in [key for key in self.answers if key[0] == name]:  # the newest first
                status, answer = self.ask(*key)
                if f"{self.checkpoints[key]}.h5" in damaged:
                    self.expect(
                        (status, answer.get("code")) == (500, "checkpoint_unreadable"), f"{key} is served: {answer}"
                    )
                else:
                    self.expect(answer == self.answers[key], f"{key} gives a different response")
                    good = good or key
                self.figure.count("predictions compared")
            _, answer = self.ask(name, None)
            held = answer == self.answers[good] if good else answer.get("code") == "checkpoint_unreadable"
            self.expect(held, f"the default of {name} should be {good}: {answer}")

    def check_dataset(self) -> None:
        """Evaluation, rows and file of the damaged table are refused; so is a training, by its check or by its job."""
        data = {"dataset": TABLE.dataset}
        version = self.client.get("/models/two/versions?limit=100").json["data"]
        good = next((row for row in version if self.ask("two", row["version"])[0] == 200), None)
        answers = [self.client.get(f"/datasets/{TABLE.dataset}/{what}") for what in ("rows", "file")]
        if good is not None:
            asked = {"model": "two", "version": good["version"], "data": data}
            answers.append(self.client.post("/evaluate", json=asked))
        for answer in answers:
            found = answer.status_code, answer.json and answer.json.get("code")
            self.expect(found == (500, "storage_error"), f"a damaged table is read: {answer.text[:300]}")
            self.figure.count("damaged tables refused")

    # A lost database.

    def rebuild(self) -> None:
        before = self.registry()
        self.database.dispose()
        for path in self.server.data.glob("trainyard.db*"):
            path.unlink()
        self.database = Database(self.settings)
        warnings = reindex(self.database, self.files).warnings
        self.client = self.fresh_client()
        self.expect(warnings == [] and self.registry() == before, f"the rebuilt registry differs: {warnings}")
        for key, answer in self.answers.items():
            self.expect(self.ask(*key)[1] == answer, f"{key} gives a different response after reindexing")
            self.figure.count("predictions compared")
        self.figure.count("registries rebuilt")

    def registry(self) -> list[Any]:
        paths = ["/models", "/datasets"]
        paths += [f"/models/{name}/{kind}" for name in MODELS for kind in ("versions", "checkpoints", "aliases")]
        found = [self.client.get(path if path.endswith("aliases") else f"{path}?limit=100").json for path in paths]
        return [without_jobs(found[0]["data"]), *found[1:]]


def _flip(path: Path, chance: random.Random) -> str:
    """Flip one random bit."""
    with path.open("r+b") as file:
        file.seek(chance.randrange(path.stat().st_size))
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1 << chance.randrange(8)]))
    return "wrong_digest"


def _cut(path: Path, chance: random.Random) -> str:
    os.truncate(path, chance.randrange(path.stat().st_size))
    return "wrong_size"


def _delete(path: Path, _chance: random.Random) -> str:
    path.unlink()
    return "missing"
