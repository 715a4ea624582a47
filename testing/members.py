"""Small members, and what a pool makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from models.features.feature import Numbers, Places, Sparse
from models.features.rows import FeatureRows
from models.training.checkpoint import Checkpoint
from models.training.members import Ended, MemberData, MemberFailure, MemberPool, MemberTask, Report, Stopped
from nncore.arrays import Array
from nncore.stopping import EarlyStopping
from testing.runs import a_definition, a_request, some_rows

#: The name under which ``some_data`` is shared.
DATA = "points"


def some_data(rows: int = 43) -> MemberData:
    """The points of ``some_rows``, with weights that differ."""
    data = some_rows(rows)
    codes = data.codes_for(("a", "b", "c"), "/data/labels")
    weights = np.linspace(0.5, 1.5, rows)
    return MemberData(data.inputs.astype(np.float32), codes, weights)


def some_features(rows: int = 43) -> MemberData:
    """Two numbers, a category of three levels and a text of four terms, as they are kept; nine columns."""
    random, data = np.random.default_rng(2), some_data(rows)
    assert isinstance(data.inputs, np.ndarray)
    starts = np.concatenate([[0], np.cumsum(random.integers(0, 3, rows))])
    terms = random.integers(0, 2, starts[-1]) + 2 * (np.arange(starts[-1]) - starts[:-1].repeat(np.diff(starts)))
    sparse = Sparse(starts, terms, random.random(starts[-1], np.float32))
    blocks = [(Numbers(data.inputs), 2), (Places(random.integers(-1, 3, rows)), 3), (sparse, 4)]
    return replace(data, inputs=FeatureRows(blocks, rows, np.dtype(np.float32)))


def a_member(number: int = 1, *, rows: int = 43, folds: int = 4, **request: Any) -> MemberTask:
    """A member on ``some_data``: every fourth row is held out; the network has dropout and a moving average.

    It looks at every second epoch, and never stops early.
    """
    task = {name: request.pop(name) for name in ("data", "pause_at", "resume", "class_weights") if name in request}
    fold = np.arange(rows) % folds == number % folds
    layers = [
        {"type": "dense", "units": request.pop("units", 6)},
        {"type": "relu"},
        {"type": "dropout", "rate": 0.2},
        {"type": "dense", "units": 3},
        {"type": "softmax"},
    ]
    members = {"optimizer": {"type": "adamw", "learning_rate": 0.02, "average": 0.9}, **request.pop("members", {})}
    definition = a_definition(layers=layers, **members)
    stopping = EarlyStopping(monitor="validation_log_loss", patience=10**6)
    asked = {"epochs": 3, "seed": 5 + number, "early_stopping": stopping, "validate_every": 2, **request}
    return MemberTask(
        number,
        definition=definition,
        request=a_request(**asked),
        training=np.flatnonzero(~fold),
        validation=np.flatnonzero(fold),
        **{"data": DATA, **task},
    )


def carried_out(pool: MemberPool, tasks: Sequence[MemberTask], seconds: float = 0.2) -> list[Report]:
    """All reports of the tasks, of which as many run at the same time as the pool has places."""
    found: list[Report] = []
    waiting, running = list(tasks), 0
    while waiting or running:
        while waiting and pool.free:
            pool.start(waiting.pop(0))
            running += 1
        reports = pool.reports(seconds)
        running -= sum(isinstance(report, (Ended, Stopped, MemberFailure)) for report in reports)
        found += reports
    return found


def last_reports(reports: Sequence[Report]) -> dict[int, Ended | Stopped | MemberFailure]:
    """The last report of each member."""
    return {each.number: each for each in reports if isinstance(each, (Ended, Stopped, MemberFailure))}


def arrays_of(checkpoint: Checkpoint) -> dict[str, Array]:
    """All arrays of a state by name."""
    state, best = checkpoint.state, checkpoint.best
    parts = {
        "parameters": checkpoint.parameters,
        "statistics": checkpoint.statistics,
        "averaged": state.averaged_statistics,
        **state.moments,
        **({} if best is None else {"best": best.parameters, "best_statistics": best.statistics}),
    }
    arrays = {f"{part}/{name}": array for part, named in parts.items() for name, array in named.items()}
    return {**arrays, "order": state.order, "rows": checkpoint.rows}


def same_state(one: Checkpoint, other: Checkpoint) -> bool:
    """Whether two states are equal to the last bit, except in what time it took and when they were taken."""
    mine, theirs = arrays_of(one), arrays_of(other)
    if mine.keys() != theirs.keys() or any(mine[name].tobytes() != theirs[name].tobytes() for name in mine):
        return False
    return _numbers(one) == _numbers(other)


def _numbers(checkpoint: Checkpoint) -> list[Any]:
    state, best = checkpoint.state, checkpoint.best
    counts = [state.epoch, state.step, state.updates, state.position, state.loss_sum, state.hits]
    history = [{**vars(record), "seconds": 0} for record in checkpoint.history]
    looks = None if best is None else (best.value, best.epoch, best.step, best.waited, best.waited_steps)
    return [counts, state.streams, state.schedule, history, looks]
