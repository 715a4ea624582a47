"""How long a request trains that leaves it to the service."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.training.defaults import schedule_for
from models.training.request import TrainSchema, filled

NETWORKS = [{"hidden": [3]}, {"layers": []}, {"activation": "relu"}]


@given(st.integers(2, 10_000_000), st.none() | st.integers(1, 1_000_000) | st.just("full"))
def test_a_run_has_enough_steps_and_not_too_many_epochs(rows: int, batch_size: int | str | None) -> None:
    schedule = schedule_for(rows, batch_size)  # type: ignore[arg-type]
    assert batch_size in (None, schedule.batch_size)
    size = rows if schedule.batch_size == "full" else schedule.batch_size
    steps = math.ceil(rows / size)
    assert 20 <= schedule.epochs <= 1000
    assert schedule.epochs * steps >= min(2000, 1000 * steps)
    if schedule.epochs > 20:
        assert (schedule.epochs - 1) * steps < 2000


def test_more_rows_never_have_smaller_batches() -> None:
    sizes = [schedule_for(rows, None).batch_size for rows in (2, 4_999, 5_000, 99_999, 100_000, 10**7)]
    assert sizes == [32, 32, 128, 128, 512, 512]


@pytest.mark.parametrize("model", ["m", *({"name": "m", **network} for network in NETWORKS)])
def test_a_request_that_names_its_network_means_what_it_meant(model: object) -> None:
    body = TrainSchema().load({"model": model, "data": "iris"})
    assert (body["epochs"], body["batch_size"]) == (100, 32)
    assert filled(body, 10_000_000) == body


@pytest.mark.parametrize("members", [{}, {"model": {"name": "m"}}, {"model": {"name": "m", "optimizer": "sgd"}}])
def test_a_request_that_leaves_its_network_open_is_filled_by_its_rows(members: dict[str, object]) -> None:
    body = TrainSchema().load({"data": "iris", **members})
    assert {name: filled(body, 150)[name] for name in ("epochs", "batch_size")} == {"epochs": 400, "batch_size": 32}
    given = TrainSchema().load({"data": "iris", "epochs": 7, "batch_size": 10, **members})
    assert filled(given, 150) == given
    some = TrainSchema().load({"data": "iris", "batch_size": 150, **members})
    assert filled(some, 150)["epochs"] == 1000
