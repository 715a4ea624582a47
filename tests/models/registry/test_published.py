"""What is published: the default version of each model, and the checkpoints of a model's versions."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from models.errors import MissingError
from models.registry import models, versions
from models.registry.callers import Caller
from models.registry.published import default_versions, published_checkpoints
from models.registry.tables import CHECKPOINTS
from service.store.database import Database
from testing.runs import a_definition
from tests.models.registry.test_registry import add_checkpoint


def damage(connection: sa.Connection, checkpoint: str) -> None:
    connection.execute(sa.update(CHECKPOINTS).where(CHECKPOINTS.c.id == checkpoint).values(fault="missing"))


def test_each_model_has_its_default_version(connection: sa.Connection) -> None:
    models.define_model(connection, a_definition(name="later"))
    assert default_versions(connection) == [("later", None, None), ("small", None, None)]
    ids = [add_checkpoint(connection, number) for number in (1, 2, 3)]
    for checkpoint in ids:
        versions.publish(connection, "small", None, checkpoint, "{}")
    assert default_versions(connection)[1] == ("small", 3, None)
    damage(connection, ids[2])
    assert default_versions(connection)[1] == ("small", 2, None)
    versions.set_alias(connection, "small", "default", 3)
    assert default_versions(connection)[1] == ("small", 3, "missing")


def test_the_checkpoints_of_versions_alone_are_published(connection: sa.Connection) -> None:
    ids = [add_checkpoint(connection, number) for number in (1, 2, 3)]
    assert published_checkpoints(connection, "small") == set()
    for checkpoint in ids[:2]:
        versions.publish(connection, "small", None, checkpoint, "{}")
    assert published_checkpoints(connection, "small") == set(ids[:2])
    with pytest.raises(MissingError):
        published_checkpoints(connection, "none")


def test_another_owners_models_are_not_there(database: Database) -> None:
    with database.of(Caller("alice")).write() as connection:
        models.define_model(connection, a_definition(name="hers"))
        assert default_versions(connection) == [("hers", None, None)]
        with pytest.raises(MissingError):
            published_checkpoints(connection, "small")
