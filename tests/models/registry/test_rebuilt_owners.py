"""Owners survive a lost database: the files of models, checkpoints and datasets say whose they are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from models.formats.checkpoint_file import checkpoint_image
from models.formats.dataset_file import DatasetLabel, dataset_image
from models.formats.durable import write_durably
from models.formats.model_file import model_file_image
from models.identifiers import new_id, qualified
from models.registry import checkpoints, datasets, models, versions
from models.registry.callers import SERVICE, Caller
from models.registry.rebuild import find, store
from models.registry.snapshots import model_file
from models.training.checkpoint import CheckpointKind, Origin
from service.settings import Settings
from service.store.database import Database
from testing.runs import Recorder, a_run, some_rows

#: Two of them use the same names.
OWNERS = ("local", "alice", "bob")
NAME = "small"


@pytest.fixture
def lost(tmp_path: Path) -> Path:
    """Files of a database that has a model with a version, and a dataset, of each owner."""
    database = Database(Settings.read({"TRAINYARD_DATA": str(tmp_path / "first")}))
    database.migrate()
    run = a_run(epochs=1)
    run.run(Recorder())
    for owner in OWNERS:
        job, checkpoint_id = new_id("job"), new_id("ckpt")
        saved = replace(run.checkpoint(), origin=Origin(job, CheckpointKind.LAST, "{}", owner))
        record = write_durably(tmp_path / f"{checkpoint_id}.h5", checkpoint_image(saved))
        label = DatasetLabel("rows", f"2026-01-01T00:00:0{OWNERS.index(owner)}.000Z", None, owner)
        write_durably(tmp_path / f"{new_id('ds')}.h5", dataset_image(some_rows(), label))
        values = {"id": checkpoint_id, "model": NAME, "job": job, "kind": "last", "epoch": 1, "step": 1}
        with database.of(Caller(owner)).write() as connection:
            models.define_model(connection, saved.definition)
            row = {**values, "metrics": "{}", "created_at": saved.created_at}
            checkpoints.add_checkpoint(connection, row, record)
            versions.publish(connection, NAME, job, checkpoint_id, json.dumps({}))
            versions.set_alias(connection, NAME, owner, 1)
        with database.read() as connection:
            content = model_file(connection, qualified(owner, NAME))
        write_durably(tmp_path / f"{qualified(owner, NAME)}.h5", model_file_image(content))
    database.dispose()
    return tmp_path


@pytest.mark.parametrize("with_models", [True, False])
def test_each_owner_has_its_own_again(lost: Path, with_models: bool) -> None:
    """Also if the files of models are lost too."""
    files = {kind: sorted(lost.glob(f"{kind}_*.h5")) for kind in ("ckpt", "ds")}
    of_models = sorted(lost.glob("*small.h5")) if with_models else []
    assert len(files["ckpt"]) == len(files["ds"]) == len(OWNERS)
    rebuilt = find(of_models, files["ckpt"], files["ds"])
    assert bool(rebuilt.warnings) is not with_models
    database = Database(Settings.read({"TRAINYARD_DATA": str(lost / "second")}))
    database.migrate()
    with database.write() as connection:
        store(connection, rebuilt)
    for owner in OWNERS:
        with database.of(Caller(owner)).read() as connection:
            (row,) = models.list_models(connection, models.numbers_of(connection, 10, None))
            assert (row.owner, row.definition.name, row.default) == (owner, NAME, 1)
            (dataset,) = datasets.list_datasets(connection, 10, None)
            assert (dataset.owner, dataset.name) == (owner, "rows")
            (checkpoint,) = checkpoints.list_checkpoints(connection, 10, None, model=NAME)
            assert versions.resolve(connection, NAME, None).checkpoint == checkpoint.id
            assert versions.aliases(connection, NAME) == ({owner: 1} if with_models else {})
    with database.of(SERVICE).read() as connection:
        assert sorted(
            row.owner for row in models.list_models(connection, models.numbers_of(connection, 10, None))
        ) == sorted(OWNERS)
        places = connection.scalars(sa.text("SELECT name FROM models"))
        assert set(places) == {NAME}
    database.dispose()
