"""Order is that in which rows came, whatever the clock said: ids carry its time, and it may be set back."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from models.formats.durable import FileRecord
from models.formats.model_file import ModelFile
from models.registry import checkpoints, datasets, models, versions
from models.registry.rebuild import RebuiltRows, store
from models.registry.rows import older_than
from models.registry.tables import CHECKPOINTS, DATASETS, MODELS
from reliability.lives import make_job
from service.jobs import lifecycle
from service.store.tables import JOBS
from testing.runs import a_definition

#: In the order in which they come: the clock was set back after the second one.
CAME = [3, 4, 1, 2]


def a_checkpoint(number: int, place: int, kind: str = "between") -> dict[str, object]:
    return {
        "id": f"ckpt_{number}",
        "model": "small",
        "job": "job_1",
        "kind": kind,
        "epoch": place,
        "step": place,
        "metrics": json.dumps({"loss": 0.5}),
        "created_at": f"2026-01-01T00:00:0{number}.000Z",
    }


@pytest.fixture
def saved(connection: sa.Connection) -> list[str]:
    for place, number in enumerate(CAME):
        checkpoints.add_checkpoint(connection, a_checkpoint(number, place), FileRecord(1, "00"))
    return [f"ckpt_{number}" for number in CAME]


def test_checkpoints_are_listed_newest_first(connection: sa.Connection, saved: list[str]) -> None:
    found = checkpoints.list_checkpoints(connection, 10, None, job="job_1")
    assert [row.id for row in found] == saved[::-1]
    after = checkpoints.list_checkpoints(connection, 10, saved[2], model="small")
    assert [row.id for row in after] == saved[1::-1]


def test_retention_keeps_the_newest(connection: sa.Connection, saved: list[str]) -> None:
    assert sorted(checkpoints.superfluous_checkpoints(connection, "job_1", 1)) == sorted(saved[:-1])
    assert sorted(checkpoints.superfluous_checkpoints(connection, "job_1", 2)) == sorted(saved[:-2])


def test_jobs_are_claimed_and_listed_in_the_order_of_submission(connection: sa.Connection) -> None:
    made = [make_job(connection, number) for number in CAME]
    assert [job.id for job in lifecycle.list_jobs(connection, 10, None)] == made[::-1]
    assert [job.id for job in lifecycle.list_jobs(connection, 10, made[2])] == made[1::-1]
    claimed = [lifecycle.claim(connection, 0.0, 1.0) for _ in made]
    assert [job.id for job in claimed if job is not None] == made


def test_datasets_are_listed_newest_first(connection: sa.Connection) -> None:
    for number in CAME:
        row = {"id": f"ds_{number}", "name": f"d{number}", "rows": 1, "features": ["a"], "classes": [0, 1]}
        datasets.add_dataset(connection, {**row, "created_at": ""}, FileRecord(1, "00"))
    names = [f"d{number}" for number in CAME]
    assert [row.name for row in datasets.list_datasets(connection, 10, None)] == names[::-1]
    assert [row.name for row in datasets.list_datasets(connection, 10, "ds_1")] == names[1::-1]


def test_a_page_goes_on_after_an_entry_that_was_deleted(connection: sa.Connection, saved: list[str]) -> None:
    checkpoints.forget_checkpoints(connection, ["ckpt_3"])
    query = sa.select(CHECKPOINTS.c.id).where(older_than(connection, CHECKPOINTS, "ckpt_3"))
    assert set(connection.scalars(query)) == {"ckpt_1", "ckpt_2"}, "those with smaller ids"


def test_a_rebuilt_job_goes_on_from_its_last_step(connection: sa.Connection) -> None:
    """Files have no numbers; of the same step the last state comes before the best one."""
    connection.execute(sa.delete(MODELS))
    found = RebuiltRows()
    definition = {"definition": a_definition().canonical(), "bytes": 1, "sha256": "00", "mtime_ns": None, "fault": None}
    rows = [a_checkpoint(number, place) for place, number in enumerate(CAME)]
    rows += [a_checkpoint(9, 4, "last"), a_checkpoint(8, 4, "best"), {**a_checkpoint(5, 0), "job": "job_2"}]
    for row in sorted(rows, key=lambda row: str(row["id"])):
        found.checkpoints[str(row["id"])] = {**row, **definition}
    found.models["small"] = ModelFile("local", "small", 7, "", a_definition().canonical(), 0, [], {})
    store(connection, found)
    listed = [row.id for row in checkpoints.list_checkpoints(connection, 10, None, job="job_1")]
    assert listed == ["ckpt_8", "ckpt_9", *(f"ckpt_{number}" for number in CAME[::-1])]


class TestNumbers:
    """The database counts, and rows refer to each other by what it counted."""

    @pytest.mark.parametrize("table", [MODELS, CHECKPOINTS, DATASETS, JOBS], ids=lambda table: str(table.name))
    def test_none_is_used_again(self, connection: sa.Connection, table: sa.Table) -> None:
        seen = []
        for _ in range(3):
            if table is MODELS:
                connection.execute(sa.delete(MODELS))
                models.define_model(connection, a_definition())
            elif table is CHECKPOINTS:
                checkpoints.add_checkpoint(connection, a_checkpoint(1, 1), FileRecord(1, "00"))
            elif table is JOBS:
                make_job(connection, 1)
            else:
                row = {"id": "ds", "name": None, "rows": 1, "features": ["a"], "classes": [0, 1], "created_at": ""}
                datasets.add_dataset(connection, row, FileRecord(1, "00"))
            seen.append(connection.execute(sa.select(table.c.number)).scalar_one())
            if table is not MODELS:
                connection.execute(sa.delete(table))
        assert seen == sorted(set(seen))

    def test_a_job_stays_with_the_model_that_it_trained(self, connection: sa.Connection) -> None:
        """It keeps its name on record, and is not of the next model of that name."""
        first = make_job(connection, 1)
        lifecycle.cancel(connection, first)
        models.delete_model(connection, "small")
        models.define_model(connection, a_definition())
        second = make_job(connection, 2)
        of_model = {row.id: row.model_number for row in connection.execute(sa.select(JOBS))}
        assert of_model == {first: None, second: versions.require_model(connection, "small")}
        assert [job.id for job in lifecycle.list_jobs(connection, 10, None, model="small")] == [second, first]
        lifecycle.abandon(connection, "small")
        assert lifecycle.find(connection, second).state == "cancelled"

    def test_rows_of_an_ended_job_can_be_deleted(self, connection: sa.Connection) -> None:
        job = make_job(connection, 1)
        lifecycle.cancel(connection, job)
        connection.execute(sa.delete(DATASETS))
        assert lifecycle.find(connection, job).dataset is None

    @pytest.mark.parametrize(
        "statement",
        [
            "INSERT INTO aliases (model_number, alias, version) VALUES (99, 'a', 1)",
            "UPDATE checkpoints SET model_number = 99",
            "UPDATE jobs SET model_number = 99",
            "UPDATE jobs SET dataset = 'ds_none'",
        ],
    )
    def test_a_reference_to_nothing_is_refused(
        self, connection: sa.Connection, saved: list[str], statement: str
    ) -> None:
        make_job(connection, 1)
        with pytest.raises(sa.exc.IntegrityError, match=r"(?i)foreign key"), connection.begin_nested():
            connection.execute(sa.text(statement))
