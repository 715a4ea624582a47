"""The table of limits, the values of a caller, and what is counted."""

from __future__ import annotations

from dataclasses import fields

import pytest
import sqlalchemy as sa

from models.errors import InvalidError, QuotaError
from models.registry.callers import Caller, asking_as
from models.registry.models import define_model
from reliability.lives import make_job
from service.access.limits import LIMITS, Limits
from service.access.usage import RUNNING, USED, WAITING, Usage
from service.jobs import lifecycle
from service.jobs.record import State
from service.settings import Settings
from service.store.database import Database
from service.store.tables import JOBS
from testing.runs import a_definition

LIMITS_OF_ALL = Limits.of(Settings.read({}))


def test_every_limit_is_a_setting_of_its_name() -> None:
    assert [limit.name for limit in LIMITS] == [field.name for field in fields(Limits)]
    for limit in LIMITS:
        assert getattr(LIMITS_OF_ALL, limit.name) == limit.setting.default
        changed = Settings.read({limit.setting.variable: str(int(limit.setting.minimum))})
        assert getattr(Limits.of(changed), limit.name) == limit.setting.minimum


def test_a_caller_may_have_other_values() -> None:
    given = LIMITS_OF_ALL.with_overrides({"models": 3, "queued_jobs": 10**6})
    assert (given.models, given.queued_jobs, given.datasets) == (3, 10**6, LIMITS_OF_ALL.datasets)
    assert LIMITS_OF_ALL.with_overrides({}) == LIMITS_OF_ALL


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("model", 3, "did you mean 'models'"),
        ("models", 0, "from 1 to"),
        ("models", "3", "Received: '3'"),
        ("models", True, "whole number"),
        ("layers", 257, "to 256"),
    ],
)
def test_wrong_values_are_refused(name: str, value: object, said: str) -> None:
    with pytest.raises(InvalidError, match=said) as refusal:
        LIMITS_OF_ALL.with_overrides({name: value})
    assert [problem.pointer for problem in refusal.value.problems] == [f"/{name}"]


class Stored(Usage):
    """So many bytes are stored."""

    def __init__(self, size: int) -> None:
        self.stored_bytes = size


@pytest.mark.parametrize(("present", "more", "refused"), [(0, 1, False), (9, 1, False), (10, 1, True), (8, 3, True)])
def test_a_quota_counts_what_is_there_and_what_comes(present: int, more: int, refused: bool) -> None:
    limits, used = LIMITS_OF_ALL.with_overrides({"stored_bytes": 2**20}), Stored(present * 2**20 // 10)
    if not refused:
        limits.require_stored(used, more * 2**20 // 10)
        return
    with pytest.raises(QuotaError, match="TRAINYARD_MAX_STORED_BYTES") as refusal:
        limits.require_stored(used, more * 2**20 // 10)
    assert (refusal.value.code, refusal.value.retry_after) == ("storage_quota", 60)


def test_usage_counts_rows(database: Database) -> None:
    nothing = dict.fromkeys(USED, 0)
    with database.write() as connection:
        assert Usage(connection).document() == {**nothing, "models": 1}
        jobs = [make_job(connection, number) for number in range(4)]
        for job, state in zip(jobs, (State.QUEUED, State.PAUSED, State.RUNNING, State.FAILED), strict=True):
            connection.execute(sa.update(JOBS).where(JOBS.c.id == job).values(state=state))
        found = Usage(connection)
        assert (found.queued_jobs, found.running_jobs, found.models) == (2, 1, 1)
        with asking_as(connection, Caller("alice")):
            assert Usage(connection).document() == nothing
            define_model(connection, a_definition())
            make_job(connection, 5)
            assert Usage(connection).document() == {**nothing, "models": 1, "queued_jobs": 1}
        with asking_as(connection, Caller("alice", models=frozenset({"none"}))):
            assert Usage(connection).models == 1, "all of the owner counts"
    assert {*WAITING, *RUNNING} <= {*State}
    assert {*USED} <= {limit.name for limit in LIMITS}


def test_no_more_jobs_are_claimed_than_may_run(database: Database) -> None:
    with database.write() as connection:
        for number in range(3):
            make_job(connection, number)
        claimed = [lifecycle.claim(connection, 0.0, 10.0, 2) for _ in range(3)]
        assert [job is not None for job in claimed] == [True, True, False]
        assert lifecycle.next_due(connection, 2) is None
        assert lifecycle.next_due(connection, 3) is not None
        first = claimed[0]
        assert first is not None
        lifecycle.fail(connection, first.id, first.fence, "internal_error", "a test")
        assert lifecycle.claim(connection, 0.0, 10.0, 2) is not None
