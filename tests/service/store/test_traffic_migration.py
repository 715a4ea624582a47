"""Aliases of a database of before weights name one version, as those with several do if the migration is taken back."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic.command import downgrade, upgrade

from models.registry import versions
from models.registry.traffic import Shadow, Share, Traffic
from service.settings import Settings
from service.store.database import Database
from service.store.migrations import configuration

BEFORE = "0013"


def rows(database: Database) -> list[tuple[object, ...]]:
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(sa.text("SELECT * FROM aliases ORDER BY alias"))]


def test_an_alias_keeps_its_version(tmp_path: Path) -> None:
    database = Database(Settings.read({"TRAINYARD_DATA": str(tmp_path)}))
    upgrade(configuration(database.engine), BEFORE)
    made = "'2026-01-01T00:00:00.000Z'"
    with database.write() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO models (number, owner, name, definition, definitions, newest, created_at) "
                f"VALUES (1, 'local', 'm', '{{}}', 1, 3, {made})"
            )
        )
        for version in (1, 2, 3):
            connection.execute(
                sa.text(
                    "INSERT INTO versions (model_number, version, checkpoint, metrics, created_at, definition) "
                    f"VALUES (1, {version}, 'ckpt_{version}', '{{}}', {made}, '{{}}')"
                )
            )
        connection.execute(sa.text("INSERT INTO aliases (model_number, alias, version) VALUES (1, 'best', 2)"))
    before = rows(database)
    database.migrate()
    wanted = Traffic((Share(1, 0.2), Share(3, 0.8)), Shadow(2, 1.0, True))
    with database.write() as connection:
        assert versions.traffic(connection, "m", "best") == Traffic((Share(2, 1.0),))
        versions.set_alias(connection, "m", "canary", wanted)
    assert database.serving_version.first(owner="local", model="m", alias="best") == (2, "ckpt_2", None, None, None)
    found = database.serving_version.first(owner="local", model="m", alias="canary")
    assert found == (3, "ckpt_3", None, None, wanted.text)
    downgrade(configuration(database.engine), BEFORE)
    assert rows(database) == [*before, (1, "canary", 3)]
    database.migrate()
    with database.read() as connection:
        assert versions.traffic(connection, "m", "canary") == Traffic((Share(3, 1.0),))
    database.dispose()
