"""Retention of a job's checkpoints, apart from the rows themselves (``tests/models/registry``)."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from reliability.lives import make_job
from service.jobs.record import ACTIVE, State
from service.jobs.retention import starting_points
from service.store.tables import JOBS


@pytest.mark.parametrize("state", State)
def test_a_checkpoint_stays_while_an_active_job_starts_from_it(connection: sa.Connection, state: State) -> None:
    job, _ = make_job(connection, 1), make_job(connection, 2)
    values = {"state": state, "start_from": "ckpt_1"}
    connection.execute(sa.update(JOBS).where(JOBS.c.id == job).values(**values))
    assert starting_points(connection) == ({"ckpt_1"} if state in ACTIVE else set())
