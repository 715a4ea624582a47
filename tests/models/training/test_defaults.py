"""How long a request trains that leaves it to the service."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.training.defaults import schedule_for
from models.training.request import TrainSchema, filled, wants_one_network


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


def test_a_request_that_names_its_network_means_what_it_meant() -> None:
    body = TrainSchema().load({"model": "m", "data": "iris"})
    whole = filled(body, 10_000_000, open_network=False)
    assert (whole["epochs"], whole["batch_size"]) == (100, 32)
    assert filled({**body, "epochs": 7}, 10, open_network=False)["epochs"] == 7


@pytest.mark.parametrize("members", [{}, {"model": {"name": "m"}}, {"model": {"name": "m", "optimizer": "sgd"}}])
def test_a_request_that_leaves_its_network_open_is_filled_by_its_rows(members: dict[str, object]) -> None:
    def found(**more: object) -> tuple[object, object]:
        body = filled(TrainSchema().load({"data": "iris", **members, **more}), 150, open_network=True)
        return body["epochs"], body["batch_size"]

    assert found() == (400, 32)
    assert found(epochs=7, batch_size=10) == (7, 10)
    assert found(batch_size=150) == (1000, 150)


@pytest.mark.parametrize(
    "members",
    [
        *({"epochs": 3}, {"batch_size": 8}, {"optimizer": "sgd"}, {"loss": "focal"}, {"early_stopping": {}}),
        *({"start_from": "ckpt_1"}, {"shuffle": False}, {"publish": "best"}),
    ],
)
def test_a_request_that_says_how_one_network_is_trained_gets_one(members: dict[str, object]) -> None:
    assert wants_one_network(TrainSchema().load({"data": "iris", **members}))


def test_a_request_that_says_nothing_of_it_gets_the_recipe() -> None:
    members = {"seed": 3, "max_seconds": 5, "validation": 0.2, "publish": True, "class_weights": "balanced"}
    assert not wants_one_network(TrainSchema().load({"data": "iris", **members}))
