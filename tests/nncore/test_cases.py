"""The table of cases is complete, and its members are what the library's tables say."""

import dataclasses

import pytest

from nncore.initializers import INITIALIZERS
from nncore.layers import LAYERS, layer_type
from nncore.losses import LOSSES
from nncore.optimizers import OPTIMIZERS, optimizer_type
from nncore.schedules import SCHEDULES
from testing import cases
from tests.nncore import plain


@pytest.mark.parametrize(
    ("members", "table"),
    [
        (LAYERS, cases.LAYERS),
        (LAYERS, plain.LAYERS),
        (OPTIMIZERS, cases.OPTIMIZERS),
        (OPTIMIZERS, plain.OPTIMIZERS),
        (SCHEDULES, cases.SCHEDULES),
        (INITIALIZERS, cases.INITIALIZERS),
        (LOSSES, cases.LOSSES),
    ],
    ids=["layers", "layers' equations", "optimizers", "optimizers' equations", "schedules", "initializers", "losses"],
)
def test_every_member_has_a_case(members, table):
    """A new layer, optimizer, schedule or initializer fails here until it stands in the table."""
    assert table.keys() == members.keys()
    assert all(table.values())


def test_cases_stand_under_their_own_name():
    """A case tests the member under whose name it is listed, and the library finds the member by that name."""
    for name, layers in cases.LAYERS.items():
        assert {type(layer) for layer in layers} == {LAYERS[name]}
        assert {layer_type(layer) for layer in layers} == {name}
    for name, optimizers in cases.OPTIMIZERS.items():
        assert {type(optimizer) for optimizer in optimizers} == {OPTIMIZERS[name]}
        assert {optimizer_type(optimizer) for optimizer in optimizers} == {name}
    for name, schedules in cases.SCHEDULES.items():
        assert {type(schedule) for schedule in schedules} == {SCHEDULES[name]}


@pytest.mark.parametrize(
    "rule",
    [case for table in (cases.LAYERS, cases.OPTIMIZERS, cases.SCHEDULES) for case in cases.every(table)],
    ids=cases.label,
)
def test_hyperparameters_of_the_cases_vary(rule):
    """Each field that a rule reads has at least two values among its cases, so that none goes untested."""
    tables = [*cases.LAYERS.values(), *cases.OPTIMIZERS.values(), *cases.SCHEDULES.values()]
    alike = next(settings for settings in tables if type(settings[0]) is type(rule))
    read = type(rule).__annotations__.keys() | {"learning_rate", "decay", "warmup"}
    for name in read & {item.name for item in dataclasses.fields(rule)}:
        assert len({getattr(case, name) for case in alike}) > 1, name
