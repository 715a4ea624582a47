"""The rule by which epochs become points of a history, and how points that pass give way to later ones."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from models.registry import models
from nncore.training import Epoch
from reliability.lives import make_job
from service.jobs.events import HistoryPlace, add_events, drop_epochs, list_epochs
from service.jobs.history import FIRST, POINTS, History, Thinning
from service.settings import Settings
from service.store.database import Database
from testing.runs import a_definition
from tests.service.web.test_history import event


def record(number: int, loss: float) -> Epoch:
    return Epoch(number, loss, 0.5, None, None, 0.001, 0.01)


@pytest.mark.parametrize("epochs", [0, 1, 999, 1000, 1001, POINTS, POINTS + 1, 20_000, 123_457, 10**6])
def test_a_history_has_the_first_epochs_and_few_points(epochs: int) -> None:
    rule = Thinning.of(epochs)
    points = [epoch for epoch in range(1, epochs + 1) if rule.stays(epoch)]
    assert points[:FIRST] == list(range(1, min(epochs, FIRST) + 1))
    assert len({*points, epochs}) + 1 <= max(POINTS, epochs + 1 if epochs <= POINTS else 0)
    if epochs <= POINTS:
        assert len(points) == epochs
    else:  # No fewer than are needed: half of the rest at least.
        assert len(points) - FIRST >= (POINTS - FIRST) // 2


@given(st.integers(0, 10**7), st.integers(1, 1000))
def test_members_share_the_points(epochs: int, members: int) -> None:
    rule = Thinning.of(epochs, members)
    most = max(200, POINTS // members)
    beyond = max(0, epochs - rule.first) // rule.stride
    assert rule.first >= 100
    assert min(epochs, rule.first) + beyond + 2 * (rule.stride > 1) <= most
    if epochs <= most:
        assert all(rule.stays(epoch) for epoch in range(1, epochs + 1))


class Written:
    """A history as the database has it after each write."""

    def __init__(self, database: Database, job: str, planned: int) -> None:
        self.database, self.job, self.planned = database, job, planned
        self.history = self.restarted()

    def restarted(self) -> History:
        """That of another process."""
        self.history = History({0: self.planned})
        with self.database.read() as connection:
            self.history.read(connection, self.job)
        return self.history

    def write(self, best: Epoch | None, *, with_newest: bool) -> None:
        changes = self.history.changes({} if best is None else {0: best}, with_newest=with_newest)
        with self.database.write() as connection:
            drop_epochs(connection, self.job, changes.gone)
            add_events(connection, self.job, changes.new)
        self.history.have_been_made(changes)

    def points(self) -> list[int]:
        with self.database.read() as connection:
            return [place.epoch for place, _ in list_epochs(connection, self.job, HistoryPlace(0, 0), 10**6)]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    found = Database(Settings.read({"TRAINYARD_DATA": str(tmp_path_factory.mktemp("points"))}))
    found.migrate()
    with found.write() as connection:
        models.define_model(connection, a_definition())
    return found


jobs = iter(range(1, 10**6))


def a_job(database: Database) -> str:
    with database.write() as connection:
        return make_job(connection, next(jobs))


#: Epochs between two writes, what is written then, and to which epoch another process goes back: none if 0.
STEPS = st.lists(st.tuples(st.integers(1, 900), st.booleans(), st.sampled_from([0, 0, 0, 1, 250])), max_size=12)


@settings(max_examples=40, deadline=None)
@given(STEPS, st.integers(0, 2**32))
def test_interruptions_change_no_point(database: Database, steps: list[tuple[int, bool, int]], seed: int) -> None:
    """However a run is cut into writes, pauses and retries, the same points are there at its end."""
    planned, ended = 10**7, 2500

    def loss(epoch: int) -> float:
        return (epoch * 2654435761 + seed) % 1_000_003 / (1 + epoch)

    written = Written(database, a_job(database), planned)
    epoch, best = 0, None
    for length, with_newest, back in [*steps, (ended, True, 0)]:
        for _ in range(length):
            if epoch == ended:
                break
            epoch += 1
            one = record(epoch, loss(epoch))
            best = one if best is None or one.loss < best.loss else best
            written.history.add(one, 0)
        written.write(best, with_newest=with_newest or epoch == ended)
        points = written.points()
        assert points == sorted(set(points))
        if back and epoch < ended:
            written.restarted()
            epoch = max(0, epoch - back)
            earlier = [record(number, loss(number)) for number in range(1, epoch + 1)]
            best = min(earlier, key=lambda each: each.loss, default=None)
    assert best is not None
    assert written.points() == sorted({*range(1, 1001), 1000 + Thinning.of(planned).stride, best.number, ended})


def test_a_history_of_an_earlier_release_keeps_every_epoch(database: Database) -> None:
    job = a_job(database)
    with database.write() as connection:
        add_events(connection, job, [event(epoch) for epoch in range(1, 1501)])
    written = Written(database, job, 10**7)
    for epoch in range(1400, 1701):
        written.history.add(record(epoch, 1.0 / epoch), 0)
    written.write(record(1700, 1.0 / 1700), with_newest=True)
    assert written.points() == [*range(1, 1501), 1700]


def test_little_is_held_between_two_writes() -> None:
    """Even if the database does not answer for a whole run."""
    history = History({0: 10**6})
    for epoch in range(1, 300_001):
        history.add(record(epoch, 1.0), 0)
    assert sum(map(len, history._waiting.values())) <= 1000 + 300_000 // 112


def test_points_are_deleted_from_one_job_alone(database: Database) -> None:
    first, second = a_job(database), a_job(database)
    with database.write() as connection:
        for job in (first, second):
            add_events(connection, job, [event(1), event(2)])
        drop_epochs(connection, first, [HistoryPlace(0, 2)])
        counts = [
            connection.scalar(sa.text("SELECT count(*) FROM events WHERE job = :job AND epoch > 0"), {"job": job})
            for job in (first, second)
        ]
    assert counts == [1, 2]
