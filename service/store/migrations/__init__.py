"""Alembic migrations of the database; each file in ``versions`` is one step, and steps are never changed."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic.config import Config

__all__ = ["configuration"]


def configuration(engine: sa.Engine) -> Config:
    """Alembic's configuration for one engine."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    config.attributes["engine"] = engine
    return config
