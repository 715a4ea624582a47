"""Run by Alembic for each command."""

from __future__ import annotations

from alembic import context

from models.registry.tables import METADATA


def _run() -> None:
    with context.config.attributes["engine"].begin() as connection:
        context.configure(connection=connection, target_metadata=METADATA, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()


_run()
