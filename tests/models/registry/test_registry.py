"""Models, versions, aliases, checkpoints and datasets as rows of a real SQLite file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import sqlalchemy.event

from models.errors import ConflictError, InvalidError, MissingError
from models.formats.durable import FileRecord
from models.registry import checkpoints, datasets, models, versions
from models.registry.callers import SERVICE
from models.registry.tables import CHECKPOINTS, METADATA
from nncore.stopping import Monitor
from testing.runs import a_definition


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'registry.db'}")
    sqlalchemy.event.listen(engine, "connect", lambda opened, _: opened.execute("PRAGMA foreign_keys = ON"))
    METADATA.create_all(engine)
    yield engine.execution_options(caller=SERVICE)
    engine.dispose()


@pytest.fixture
def connection(database: sa.Engine) -> Iterator[sa.Connection]:
    with database.begin() as open_connection:
        yield open_connection


def add_checkpoint(connection: sa.Connection, number: int, kind: str = "last", **values: Any) -> str:
    row = {
        "id": f"ckpt_{number:03}",
        "model": "small",
        "job": "job_1",
        "kind": kind,
        "epoch": number,
        "step": 10 * number,
        "metrics": json.dumps({"loss": 0.5}),
        "created_at": "2026-01-01T00:00:00.000Z",
        **values,
    }
    models.define_model(connection, a_definition(name=row["model"]))
    checkpoints.add_checkpoint(connection, row, FileRecord(100 + number, "ab" * 32))
    return row["id"]


def add_dataset(connection: sa.Connection, number: int, name: str | None) -> str:
    row = {
        "id": f"ds_{number:03}",
        "name": name,
        "rows": 3,
        "features": ["a", "ü"],
        "classes": [0, 1],
        "created_at": "2026-01-01T00:00:00.000Z",
    }
    datasets.add_dataset(connection, row, FileRecord(7, "cd" * 32))
    return row["id"]


def refused(kind: type[Exception], call: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(kind) as refusal:
        call(*arguments)
    assert refusal.value.detail
    return str(refusal.value.code)


class TestModels:
    """Definitions by name."""

    def test_a_definition_is_stored_once(self, connection: sa.Connection) -> None:
        definition = a_definition(metadata={"owner": "ü"})
        row, new = models.define_model(connection, definition)
        assert new
        assert row.definition == definition
        assert row.default is None
        again, new = models.define_model(connection, definition)
        assert not new
        assert again == row
        assert models.totals(connection)["models"][0] == 1

    def test_another_definition_replaces_the_newest(self, connection: sa.Connection) -> None:
        first, _ = models.define_model(connection, a_definition())
        before = versions.states(connection)
        changed, new = models.define_model(connection, a_definition(units=6))
        assert not new
        assert changed == replace(first, text=a_definition(units=6).canonical())
        assert changed.definition == a_definition(units=6)
        assert models.find_model(connection, "small") == changed
        assert versions.states(connection) != before  # so that its file is written again

    def test_another_definition_is_refused_if_it_must_be_the_same(self, connection: sa.Connection) -> None:
        models.define_model(connection, a_definition(), exact=True)
        with pytest.raises(ConflictError) as refusal:
            models.define_model(connection, a_definition(units=6), exact=True)
        assert refusal.value.code == "name_taken"
        assert models.find_model(connection, "small").definition == a_definition()

    @pytest.mark.parametrize("units", [5, 6])
    def test_a_definition_that_another_transaction_was_faster_with(
        self, connection: sa.Connection, monkeypatch: pytest.MonkeyPatch, units: int
    ) -> None:
        """As if it had come second: the model exists, and this is its newest definition."""
        insert = models.insert_if_free

        def overtaken(*arguments: Any) -> bool:
            monkeypatch.setattr(models, "insert_if_free", insert)
            models.define_model(connection, a_definition(units=units))
            return insert(*arguments)

        monkeypatch.setattr(models, "insert_if_free", overtaken)
        row, new = models.define_model(connection, a_definition())
        assert (row.definition, new) == (a_definition(), False)
        assert models.totals(connection)["models"][0] == 1

    def test_a_version_keeps_its_definition(self, connection: sa.Connection) -> None:
        old, new = a_definition().canonical(), a_definition(units=6).canonical()
        add_checkpoint(connection, 1)
        versions.publish(connection, "small", None, "ckpt_001", "{}")
        models.define_model(connection, a_definition(units=6))
        versions.publish(connection, "small", None, "ckpt_001", "{}")
        versions.publish(connection, "small", None, "ckpt_001", "{}", old)
        assert [versions.resolve(connection, "small", number).definition for number in (1, 2, 3)] == [old, new, old]
        document = versions.resolve(connection, "small", 1).document()
        assert document["definition"] == a_definition().document()
        assert "definition" not in versions.list_versions(connection, "small", 1, None)[0].document(whole=False)

    def test_the_document_shows_definition_count_and_standing(self, connection: sa.Connection) -> None:
        row, _ = models.define_model(connection, a_definition())
        document = row.document()
        assert document.items() >= a_definition().document().items()
        assert (document["parameters"], document["default"]) == (2 * 5 + 5 + 5 * 3 + 3, None)
        assert document["created_at"].endswith("Z")

    def test_an_unknown_model_is_missing(self, connection: sa.Connection) -> None:
        assert refused(MissingError, models.find_model, connection, "none") == "not_found"
        assert refused(MissingError, models.delete_model, connection, "none") == "not_found"
        assert refused(MissingError, models.numbers_of, connection, 5, "none") == "not_found"

    def test_names_are_listed_newest_first(self, connection: sa.Connection) -> None:
        for name in ("b", "a", "c"):
            models.define_model(connection, a_definition(name=name))
        assert [
            row.definition.name for row in models.list_models(connection, models.numbers_of(connection, 10, None))
        ] == ["c", "a", "b"]
        assert [
            row.definition.name for row in models.list_models(connection, models.numbers_of(connection, 2, None))
        ] == ["c", "a"]
        assert [
            row.definition.name for row in models.list_models(connection, models.numbers_of(connection, 10, "c"))
        ] == ["a", "b"]
        assert [
            row.definition.name for row in models.list_models(connection, models.numbers_of(connection, 10, "b"))
        ] == []

    def test_deleting_takes_versions_aliases_and_checkpoints_along(self, connection: sa.Connection) -> None:
        for name in ("small", "other"):
            models.define_model(connection, a_definition(name=name))
        mine = [add_checkpoint(connection, number) for number in (1, 2)]
        theirs = add_checkpoint(connection, 3, model="other", job="job_2")
        versions.publish(connection, "small", "job_1", mine[1], "{}")
        versions.publish(connection, "other", "job_2", theirs, "{}")
        versions.set_alias(connection, "small", "best", 1)
        assert sorted(models.delete_model(connection, "small")) == mine
        assert refused(MissingError, models.find_model, connection, "small") == "not_found"
        assert refused(MissingError, checkpoints.find_checkpoint, connection, mine[0]) == "not_found"
        assert connection.scalars(sa.select(CHECKPOINTS.c.id)).all() == [theirs]
        assert versions.resolve(connection, "other", None).checkpoint == theirs
        models.define_model(connection, a_definition())
        assert versions.aliases(connection, "small") == {}
        assert versions.list_versions(connection, "small", 10, None) == []

    def test_totals_count_rows_and_bytes(self, connection: sa.Connection) -> None:
        models.define_model(connection, a_definition())
        add_checkpoint(connection, 1)
        add_checkpoint(connection, 2)
        add_dataset(connection, 1, "a")
        figures = {name: value for name, (value, _) in models.totals(connection).items()}
        assert figures == {
            "models": 1,
            "versions": 0,
            "checkpoints": 2,
            "checkpoint_bytes": 203,
            "datasets": 1,
            "dataset_bytes": 7,
        }


class TestVersions:
    """Numbers, the default, and aliases."""

    @pytest.fixture(autouse=True)
    def model(self, connection: sa.Connection) -> None:
        models.define_model(connection, a_definition())

    def publish(self, connection: sa.Connection, times: int = 1) -> int:
        number = 0
        for _ in range(times):
            number = versions.publish(connection, "small", "job_1", f"ckpt_{number}", '{"loss": 0.25}')
        return number

    def test_numbers_count_from_1(self, connection: sa.Connection) -> None:
        assert [self.publish(connection) for _ in range(3)] == [1, 2, 3]
        found = versions.resolve(connection, "small", 2)
        assert found.document() == {
            "model": "small",
            "version": 2,
            "job": "job_1",
            "checkpoint": "ckpt_0",
            "metrics": {"loss": 0.25},
            "created_at": found.created_at,
            "definition": a_definition().document(),
        }

    def test_a_number_is_never_used_again(self, connection: sa.Connection) -> None:
        self.publish(connection, 3)
        connection.execute(sa.text("DELETE FROM versions WHERE version = 3"))
        assert self.publish(connection) == 4

    def test_publishing_to_an_unknown_model_is_refused(self, connection: sa.Connection) -> None:
        assert refused(MissingError, versions.publish, connection, "none", "job", "ckpt", "{}") == "not_found"

    def test_default_follows_the_newest_until_it_is_set(self, connection: sa.Connection) -> None:
        assert versions.alias_target(connection, "small", "default") is None
        self.publish(connection, 2)
        assert versions.alias_target(connection, "small", "default") == 2
        versions.set_alias(connection, "small", "default", 1)
        self.publish(connection)
        assert versions.alias_target(connection, "small", "default") == 1
        assert models.find_model(connection, "small").default == 1
        assert versions.resolve(connection, "small", None).version == 1
        assert versions.resolve(connection, "small", "latest").version == 3
        versions.remove_alias(connection, "small", "default")
        assert versions.alias_target(connection, "small", "default") == 3

    def test_nothing_published_is_a_conflict_and_not_missing(self, connection: sa.Connection) -> None:
        for wanted in (None, "default", "latest"):
            assert refused(ConflictError, versions.resolve, connection, "small", wanted) == "no_version"
        assert refused(MissingError, versions.resolve, connection, "small", "best") == "not_found"
        assert refused(MissingError, versions.resolve, connection, "small", 1) == "not_found"
        assert refused(MissingError, versions.resolve, connection, "none", None) == "not_found"

    def test_latest_cannot_be_set(self, connection: sa.Connection) -> None:
        self.publish(connection)
        assert refused(ConflictError, versions.set_alias, connection, "small", "latest", 1) == "reserved_alias"
        assert versions.aliases(connection, "small") == {}

    def test_aliases_are_set_moved_and_forgotten(self, connection: sa.Connection) -> None:
        self.publish(connection, 2)
        versions.set_alias(connection, "small", "best", 1)
        versions.set_alias(connection, "small", "best", 2)
        versions.set_alias(connection, "small", "audit", 1)
        assert versions.aliases(connection, "small") == {"audit": 1, "best": 2}
        assert versions.resolve(connection, "small", "best").version == 2
        versions.remove_alias(connection, "small", "best")
        assert versions.aliases(connection, "small") == {"audit": 1}
        assert refused(MissingError, versions.remove_alias, connection, "small", "best") == "not_found"

    @pytest.mark.parametrize("number", [0, 2, 10**12])
    def test_an_alias_names_a_version_that_is_there(self, connection: sa.Connection, number: int) -> None:
        self.publish(connection)
        assert refused(MissingError, versions.set_alias, connection, "small", "best", number) == "not_found"

    def test_versions_are_listed_newest_first(self, connection: sa.Connection) -> None:
        self.publish(connection, 4)
        assert [row.version for row in versions.list_versions(connection, "small", 10, None)] == [4, 3, 2, 1]
        assert [row.version for row in versions.list_versions(connection, "small", 2, 4)] == [3, 2]
        assert refused(MissingError, versions.list_versions, connection, "none", 10, None) == "not_found"

    @pytest.mark.parametrize("value", [None, 1, 10**9, "best", "latest"])
    def test_forms_of_a_version(self, value: Any) -> None:
        assert versions.require_version_form(value) == value

    @pytest.mark.parametrize("value", [0, -1, True, 1.0, "", []])
    def test_what_is_no_version(self, value: Any) -> None:
        with pytest.raises(InvalidError) as refusal:
            versions.require_version_form(value)
        assert [problem.pointer for problem in refusal.value.problems] == ["/version"]

    def test_what_is_no_checkpoint_of_a_job(self) -> None:
        with pytest.raises(InvalidError) as refusal:
            versions.require_version_form({"jobs": "x", "checkpoint": "first"})
        pointers = [problem.pointer for problem in refusal.value.problems]
        assert pointers == ["/version/jobs", "/version/job", "/version/checkpoint"]


class TestCheckpoints:
    """Rows that name files."""

    def test_a_row_is_found_and_shown(self, connection: sa.Connection) -> None:
        add_checkpoint(connection, 7)
        assert checkpoints.find_checkpoint(connection, "ckpt_007").document() == {
            "id": "ckpt_007",
            "model": "small",
            "job": "job_1",
            "epoch": 7,
            "step": 70,
            "bytes": 107,
            "sha256": "ab" * 32,
            "metrics": {"loss": 0.5},
            "created_at": "2026-01-01T00:00:00.000Z",
        }

    def test_lists_are_newest_first_and_by_model_or_job(self, connection: sa.Connection) -> None:
        models.define_model(connection, a_definition())
        for number in (1, 2, 3):
            add_checkpoint(connection, number)
        add_checkpoint(connection, 4, model="other", job="job_2")

        def ids(*arguments: Any, **which: str) -> list[str]:
            return [row.id for row in checkpoints.list_checkpoints(connection, *arguments, **which)]

        assert ids(10, None, model="small") == ["ckpt_003", "ckpt_002", "ckpt_001"]
        assert ids(1, "ckpt_003", model="small") == ["ckpt_002"]
        assert ids(10, None, job="job_2") == ["ckpt_004"]
        with pytest.raises(MissingError):
            ids(10, None, model="none")

    @pytest.mark.parametrize(
        ("keep", "gone"),
        [(0, ["ckpt_003", "ckpt_002", "ckpt_001"]), (1, ["ckpt_002", "ckpt_001"]), (2, ["ckpt_001"]), (3, [])],
    )
    def test_those_between_go_beyond_the_newest_few(
        self, connection: sa.Connection, keep: int, gone: list[str]
    ) -> None:
        kinds = ("first", "between", "interrupted", "between", "last")
        for number, kind in enumerate(kinds):
            add_checkpoint(connection, number, kind)
        add_checkpoint(connection, 9, "between", job="job_2")
        assert checkpoints.superfluous_checkpoints(connection, "job_1", keep) == gone

    def test_the_newest_stays_whatever_it_is(self, connection: sa.Connection) -> None:
        for number, kind in enumerate(("first", "between", "between")):
            add_checkpoint(connection, number, kind)
        assert checkpoints.superfluous_checkpoints(connection, "job_1", 0) == ["ckpt_001"]

    def test_what_a_version_names_stays(self, connection: sa.Connection) -> None:
        models.define_model(connection, a_definition())
        for number in range(4):
            add_checkpoint(connection, number, "between")
        versions.publish(connection, "small", "job_1", "ckpt_001", "{}")
        assert checkpoints.superfluous_checkpoints(connection, "job_1", 0) == ["ckpt_002", "ckpt_000"]

    @pytest.mark.parametrize(("monitor", "best"), [("loss", "ckpt_001"), ("accuracy", "ckpt_002"), (None, None)])
    def test_the_best_stays(self, connection: sa.Connection, monitor: Monitor | None, best: str | None) -> None:
        """Of equal ones the oldest; not one that was taken before an epoch had ended."""
        scores = [(None, None), (0.1, 0.5), (0.2, 0.9), (0.1, 0.9), (0.3, 0.1), (0.4, 0.1)]
        for number, (loss, accuracy) in enumerate(scores):
            metrics = {} if loss is None else {"loss": loss, "accuracy": accuracy}
            add_checkpoint(connection, number, "between", metrics=json.dumps(metrics))
        gone = [f"ckpt_{number:03}" for number in (4, 3, 2, 1, 0)]
        expected = [checkpoint_id for checkpoint_id in gone if checkpoint_id != best]
        assert checkpoints.superfluous_checkpoints(connection, "job_1", 0, monitor) == expected

    def test_what_is_needed_stays(self, connection: sa.Connection) -> None:
        for number in range(4):
            add_checkpoint(connection, number, "between")
        found = checkpoints.superfluous_checkpoints(connection, "job_1", 0, needed=["ckpt_001"])
        assert found == ["ckpt_002", "ckpt_000"]

    def test_damaged_ones_count_for_nothing(self, connection: sa.Connection) -> None:
        """The newest good one stays, however many damaged ones are newer."""
        for number in range(5):
            add_checkpoint(connection, number, "between", fault=None if number < 3 else "missing")
        assert checkpoints.superfluous_checkpoints(connection, "job_1", 0) == ["ckpt_001", "ckpt_000"]
        assert checkpoints.superfluous_checkpoints(connection, "job_1", 2) == ["ckpt_000"]

    def test_forgotten_rows_are_gone(self, connection: sa.Connection) -> None:
        for number in range(3):
            add_checkpoint(connection, number)
        checkpoints.forget_checkpoints(connection, [])
        checkpoints.forget_checkpoints(connection, ["ckpt_000", "ckpt_002"])
        assert [row.id for row in checkpoints.list_checkpoints(connection, 10, None)] == ["ckpt_001"]


class TestDatasets:
    """Rows of datasets, named or not."""

    def test_found_by_id_or_name(self, connection: sa.Connection) -> None:
        add_dataset(connection, 1, "iris")
        for key in ("ds_001", "iris"):
            found = datasets.find_dataset(connection, key)
            assert (found.id, found.name) == ("ds_001", "iris")
            assert (found.features, found.classes, found.rows) == (["a", "ü"], [0, 1], 3)
        assert refused(MissingError, datasets.find_dataset, connection, "none") == "not_found"

    def test_a_name_belongs_to_one(self, connection: sa.Connection) -> None:
        add_dataset(connection, 1, "iris")
        assert refused(ConflictError, add_dataset, connection, 2, "iris") == "name_taken"
        datasets.delete_dataset(connection, "ds_001")
        add_dataset(connection, 3, "iris")
        assert datasets.find_dataset(connection, "iris").id == "ds_003"

    def test_a_name_that_another_transaction_was_faster_with(
        self, connection: sa.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        require = datasets.require_free_dataset_name

        def overtaken(connection: sa.Connection, name: str) -> None:
            monkeypatch.setattr(datasets, "require_free_dataset_name", require)
            require(connection, name)
            add_dataset(connection, 1, name)

        monkeypatch.setattr(datasets, "require_free_dataset_name", overtaken)
        assert refused(ConflictError, add_dataset, connection, 2, "iris") == "name_taken"
        assert [row.id for row in datasets.list_datasets(connection, 10, None)] == ["ds_001"]

    def test_lists_hold_the_named_ones_newest_first(self, connection: sa.Connection) -> None:
        for number, name in enumerate(("a", None, "b", None, "c")):
            add_dataset(connection, number, name)
        assert [row.name for row in datasets.list_datasets(connection, 10, None)] == ["c", "b", "a"]
        assert [row.name for row in datasets.list_datasets(connection, 1, "ds_004")] == ["b"]
