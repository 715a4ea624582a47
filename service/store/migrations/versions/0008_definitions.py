"""The definition of each job and of each version; a model has its newest one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

#: The tables that get a definition, with the place of the newest one of their model.
_TABLES = ("jobs", "versions")


def upgrade() -> None:
    """Add the columns; every job and version has the one definition that its model had."""
    op.add_column("models", sa.Column("definitions", sa.Integer, nullable=False, server_default="1"))
    for table in _TABLES:
        op.add_column(table, sa.Column("definition", sa.Text, nullable=True))
        newest = f"SELECT models.definition FROM models WHERE models.number = {table}.model_number"  # noqa: S608
        op.execute(sa.text(f"UPDATE {table} SET definition = ({newest})"))  # noqa: S608
    with op.batch_alter_table("versions") as versions:
        versions.alter_column("definition", existing_type=sa.Text, nullable=False)


def downgrade() -> None:
    """Drop them."""
    for table in _TABLES:
        op.drop_column(table, "definition")
    op.drop_column("models", "definitions")
