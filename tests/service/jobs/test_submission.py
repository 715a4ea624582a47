"""Submission without HTTP: a job and what comes with it are stored together, or nothing is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from models.data.dataset import from_rows
from models.definition.definition import ModelDefinition
from models.errors import InvalidError, LowStorageError, MissingError, QuotaError
from models.formats.dataset_file import load_dataset
from models.registry import datasets, models
from models.registry.callers import SERVICE, Caller
from models.training.request import TrainingRequest, TrainSchema
from nncore import Dense
from service.access.limits import Limits
from service.access.usage import Usage, reserved_bytes
from service.jobs import lifecycle, submission
from service.jobs.needs import needs_of, parts_of
from service.jobs.record import Job, State
from service.settings import Settings
from service.store.files import FileKind, FileStore
from service.store.request_rows import keep
from testing.databases import new_database
from testing.runs import a_definition

ROWS = {"inputs": [[0, 1], [1, 0], [1, 1], [0, 0]], "labels": ["a", "b", "c", "a"]}
HELD_OUT = {"inputs": [[0, 1]], "labels": ["a"]}
NEW = {"name": "new", "layers": [{"type": "dense", "units": 3}, {"type": "softmax"}]}


class Place:
    """A database with one model, and a directory for files."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings.read({"TRAINYARD_DATA": str(folder)})
        self.database, self.files = new_database(folder), FileStore(folder)
        with self.database.write() as connection:
            models.define_model(connection, a_definition())

    def submit(self, record: submission.Record | None = None, **members: Any) -> Job:
        """``...`` stands for a member that is left out."""
        given = {"model": "small", "data": ROWS, **members}
        body = TrainSchema().load({name: value for name, value in given.items() if value is not ...})
        return submission.submit(self.database, self.files, self.settings, body, record)

    def usage(self) -> Usage:
        """What the service's owner uses, counted at once."""
        with self.database.read() as connection:
            usage = Usage(connection)
            usage.document()
            return usage

    def stored_of(self, job: Job) -> int:
        """What is reserved for a job."""
        with self.database.read() as connection:
            found = connection.scalar(sa.text("SELECT reserved_bytes FROM jobs WHERE id = :id"), {"id": job.id})
        assert isinstance(found, int)
        return found

    def everything(self) -> tuple[list[str], int, set[str], set[str]]:
        """Names of models, the number of jobs, ids of datasets, and those of their files."""
        with self.database.read() as connection:
            return (
                list(connection.scalars(sa.text("SELECT name FROM models ORDER BY name"))),
                connection.scalar(sa.text("SELECT count(*) FROM jobs")) or 0,
                set(connection.scalars(sa.text("SELECT id FROM datasets"))),
                self.files.ids(FileKind.DATASET),
            )


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    built = Place(tmp_path)
    yield built
    built.database.dispose()


def test_what_jobs_may_still_store_is_reserved_until_they_end(place: Place) -> None:
    """For the owner's quota, and on the disk, for all owners."""
    jobs = [place.submit(), place.submit(checkpoint={"every_epochs": 1, "every_seconds": None, "keep": 7})]
    with place.database.read() as connection:
        stored = connection.scalar(sa.text("SELECT sum(bytes) FROM datasets"))
        needs = list(connection.scalars(sa.text("SELECT reserved_bytes FROM jobs ORDER BY number")))
        assert Usage(connection).stored_bytes == stored + sum(needs)
    # Checkpoints of one network: the first, the last and the one being written; the other job keeps seven more.
    assert 0 < needs[0] < 50_000
    assert needs[1] * 3 == needs[0] * 10
    with place.database.of(Caller("other")).read() as connection:
        assert Usage(connection).stored_bytes == 0
        assert reserved_bytes(connection) == sum(needs)
    limits = Limits.of(place.settings).with_overrides({"stored_bytes": 2**20})
    with pytest.raises(QuotaError) as found:
        limits.require_stored(place.usage(), 2**20 - stored - sum(needs) + 1)
    assert found.value.code == "storage_quota"
    limits.require_stored(place.usage(), 2**20 - stored - sum(needs))
    for state in ("pause", "resume", "cancel"):
        with place.database.write() as connection:
            getattr(lifecycle, state)(connection, jobs[1].id)
        assert place.usage().stored_bytes == stored + needs[0] + (0 if state == "cancel" else needs[1])


def test_a_job_must_leave_what_others_may_still_store(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns them. The job is refused whole, and fits again when another one has ended."""
    place.files.disk.kept = 2**20
    monkeypatch.setattr(type(place.files.disk), "free", 2**30)
    first = place.submit(checkpoint={"every_epochs": 1, "every_seconds": None, "keep": 100})
    large = {"every_epochs": 1, "every_seconds": None, "keep": 110}
    everything = place.everything()
    monkeypatch.setattr(place, "database", place.database.of(Caller("other")))
    with place.database.write() as connection:
        models.define_model(connection, a_definition())
    with place.database.read() as connection:
        taken = reserved_bytes(connection)
    monkeypatch.setattr(type(place.files.disk), "free", 2**20 + taken + taken // 2)
    with pytest.raises(LowStorageError, match=f"other jobs {taken:,}"):
        place.submit(checkpoint=large)
    assert place.everything()[1:] == everything[1:]
    place.submit()
    with place.database.of(SERVICE).write() as connection:
        lifecycle.cancel(connection, first.id)
    place.submit(checkpoint=large)


def test_many_ordinary_jobs_fit_on_an_ordinary_disk(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand of 60,000 rows, 1,000 epochs and 100,000 parameters reserve less than 20 GiB; small ones little."""
    definition = ModelDefinition.load({"name": "m", "inputs": 784, "classes": 10, "hidden": [128]})
    request = TrainingRequest.of({**TrainSchema().load({"model": "m", "data": ROWS}), "epochs": 1000})
    needs = needs_of(request, parts_of(definition, request, 60_000, 0, None), 1)
    assert needs.stored * 1000 < 20 * 2**30
    assert 1000 * place.stored_of(place.submit()) < 40 * 2**20


def test_a_job_waits_with_its_rows(place: Place) -> None:
    job = place.submit(validation=HELD_OUT, epochs=7)
    with place.database.read() as connection:
        assert lifecycle.find(connection, job.id) == job
    assert (job.state, job.model, job.epochs) == (State.QUEUED, "small", 7)
    assert job.validation_dataset is not None
    for dataset_id, given in ((job.dataset, ROWS), (job.validation_dataset, HELD_OUT)):
        assert load_dataset(place.files.path(FileKind.DATASET, dataset_id)).inputs.tolist() == given["inputs"]
    assert place.everything() == (
        ["small"],
        1,
        {job.dataset, job.validation_dataset},
        {job.dataset, job.validation_dataset},
    )
    # The document says what was asked, without the rows.
    assert (job.request["data"], job.request["validation"]) == ({"rows": 4}, {"rows": 1})
    assert job.request["optimizer"]["type"] == a_definition().optimizer.__class__.__name__.lower()
    assert "dry_run" not in job.request
    json.dumps(job.request)


def test_a_model_comes_with_its_job(place: Place) -> None:
    assert place.submit(model=NEW).model == "new"
    assert place.everything()[0] == ["new", "small"]


def test_a_job_keeps_its_definition(place: Place) -> None:
    """Whatever is defined later; what a request defines is the model's newest definition in the same transaction."""
    queued = place.submit()
    assert queued.definition == a_definition().canonical()
    given = place.submit(model={"name": "small", "hidden": [7]})
    assert given.definition is not None
    with place.database.read() as connection:
        newest = models.find_model(connection, "small").definition
        assert newest.canonical() == given.definition
        assert lifecycle.find(connection, queued.id).definition == queued.definition
    assert [layer.units for layer in newest.layers if isinstance(layer, Dense)] == [7, 3]
    assert place.submit().definition == given.definition


def test_a_request_without_a_model_trains_that_of_its_dataset(place: Place) -> None:
    rows = from_rows([[0, 1], [1, 0], [1, 1]], ["x", "y", "x"])
    values, written = keep(place.files, "ds_1", "local", "iris", rows)
    with place.database.write() as connection:
        datasets.add_dataset(connection, values, written)
    first = place.submit(data="iris", model=...)
    by_id = place.submit(data={"dataset": "ds_1"}, model=...)
    assert [job.model for job in (first, by_id)] == ["iris"] * 2
    assert first.definition == by_id.definition
    # Its network is of the recipe: three kinds, each with a member for the only fold that three rows allow.
    assert first.definition is not None
    network = json.loads(first.definition)["network"]
    assert (network["recipe"], network["effort"]) == (1, "default")
    assert first.epochs == network["folds"] * sum(kind["epochs"] for kind in network["kinds"])
    assert first.request["epochs"] is None
    # A model that exists is trained as it is.
    other = place.submit(data="iris", model={"name": "iris", "hidden": [2]})
    again = place.submit(data="iris", model=..., epochs=5)
    assert (again.definition, again.epochs) == (other.definition, 5)
    for data in (ROWS, {"dataset": place.submit().dataset}):
        with pytest.raises(InvalidError) as refusal:
            place.submit(data=data, model=...)
        assert [problem.pointer for problem in refusal.value.problems] == ["/model"]
        assert '"model": {"name"' in refusal.value.detail


def test_what_is_recorded_is_in_the_same_transaction(place: Place) -> None:
    seen: list[tuple[Job, int]] = []

    def record(connection: sa.Connection, job: Job) -> None:
        # It sees the job, and nobody else does yet.
        assert lifecycle.find(connection, job.id) == job
        seen.append((job, place.everything()[1]))

    job = place.submit(record)
    assert seen == [(job, 0)]
    assert place.everything()[1] == 1


@pytest.mark.parametrize("members", [{}, {"model": NEW}, {"validation": HELD_OUT}])
def test_nothing_is_left_if_the_transaction_fails(place: Place, members: dict[str, Any]) -> None:
    before = place.everything()

    def record(_connection: sa.Connection, _job: Job) -> None:
        assert len(place.files.ids(FileKind.DATASET)) == 1 + ("validation" in members)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place.submit(record, **members)
    assert place.everything() == before


def test_a_refused_request_writes_nothing(place: Place) -> None:
    before = place.everything()
    with pytest.raises(InvalidError):
        place.submit(data={**ROWS, "labels": ["a", "b", "c", "d"]})
    with pytest.raises(MissingError):
        place.submit(model="unknown")
    assert place.everything() == before


def test_a_dataset_that_is_deleted_in_the_meantime_is_missing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = place.submit().dataset
    checked = submission.check

    def check_and_delete(*arguments: Any) -> submission.Checked:
        found = checked(*arguments)
        with place.database.write() as connection:
            datasets.delete_dataset(connection, dataset)
        return found

    monkeypatch.setattr(submission, "check", check_and_delete)
    with pytest.raises(MissingError):
        place.submit(data={"dataset": dataset}, validation=HELD_OUT)
    assert place.everything()[1:] == (1, set(), {dataset})


def test_a_model_that_is_deleted_in_the_meantime_is_missing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = submission.check

    def check_and_delete(*arguments: Any) -> submission.Checked:
        found = checked(*arguments)
        with place.database.write() as connection:
            models.delete_model(connection, "small")
        return found

    monkeypatch.setattr(submission, "check", check_and_delete)
    with pytest.raises(MissingError):
        place.submit()
    assert place.everything() == ([], 0, set(), set())


def test_a_check_writes_nothing(place: Place) -> None:
    before = place.everything()
    body = TrainSchema().load({"model": NEW, "data": ROWS, "dry_run": True})
    checked = submission.check(place.database, place.files, place.settings, body)
    assert (checked.newest, checked.definition.name) == (checked.definition, "new")
    assert place.everything() == before
