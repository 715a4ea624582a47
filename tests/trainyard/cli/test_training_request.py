"""Which request options stand for."""

from __future__ import annotations

from typing import Any

import pytest

from trainyard.cli.training_request import Plan, read_value

HELD_OUT: dict[str, Any] = {"validation": {"fraction": 0.2}, "publish": "best"}
DATA: dict[str, Any] = {"data": {"dataset": "iris"}}


@pytest.mark.parametrize(
    ("options", "members"),
    [
        ({}, {}),
        ({"label": "species"}, {"data": {"dataset": "iris", "label": "species"}}),
        ({"name": "flowers"}, {"model": {"name": "flowers"}}),
        ({"seed": 7}, {"seed": 7}),
        ({"held_out": 0.1}, {"validation": {"fraction": 0.1}}),
        ({"hidden": (64, 32)}, {"model": {"name": "iris", "hidden": [64, 32]}, **HELD_OUT}),
        ({"hidden": (8,), "held_out": 0.0}, {"model": {"name": "iris", "hidden": [8]}}),
        ({"skip": ("a", "b")}, {"model": {"name": "iris", "features": {"a": "ignore", "b": "ignore"}}}),
        ({"epochs": 0}, {"epochs": 0, **HELD_OUT}),
        ({"patience": 10}, {"early_stopping": {"patience": 10}, **HELD_OUT}),
        ({"start_from": "ckpt_1"}, {"start_from": "ckpt_1", **HELD_OUT}),
        ({"start_from": "ckpt_1", "name": "b"}, {"start_from": "ckpt_1", "model": "b", **HELD_OUT}),
        ({"changes": [(("effort",), "quick")]}, {"effort": "quick"}),
        ({"changes": [(("optimizer", "type"), "adamw")]}, {"optimizer": {"type": "adamw"}, **HELD_OUT}),
        (
            {"changes": [(("model", "class_weights"), "balanced")]},
            {"model": {"name": "iris", "class_weights": "balanced"}},
        ),
        ({"changes": [(("folds",), 5)], "epochs": 9}, {"folds": 5, "epochs": 9}),
        (
            {"changes": [(("publish",), False)], "epochs": 9},
            {"epochs": 9, "publish": False, "validation": {"fraction": 0.2}},
        ),
        ({"changes": [(("validation",), "test")], "epochs": 9}, {"epochs": 9, "validation": "test"}),
    ],
)
def test_options_make_a_request(options: dict[str, Any], members: dict[str, Any]) -> None:
    """If nothing says how a single network is trained, the service chooses; a single one holds out a fifth."""
    assert Plan("iris", **options).request() == {**DATA, **members}


def test_a_path_through_a_value_is_refused() -> None:
    plan = Plan("iris", changes=[(("seed",), 1), (("seed", "more"), 2)])
    with pytest.raises(ValueError, match=r"seed\.more: seed is 1, which has no members"):
        plan.request()


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1", 1),
        ("0.5", 0.5),
        ("true", True),
        ("null", None),
        ("adamw", "adamw"),
        ('"1"', "1"),
        ("[1,2]", [1, 2]),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("", ""),
        ("01", "01"),
    ],
)
def test_a_value_is_json_or_text(written: str, value: object) -> None:
    assert read_value(written) == value
    assert type(read_value(written)) is type(value)
