"""The table of cases is complete, and its members are what the library's tables say."""

import dataclasses

import pytest

from nncore.initializers import INITIALIZERS
from nncore.layers import LAYERS, layer_type
from nncore.optimizers import OPTIMIZERS, optimizer_type
from tests.nncore import cases, plain


@pytest.mark.parametrize(
    ("members", "table"),
    [
        (LAYERS, cases.LAYERS),
        (LAYERS, plain.LAYERS),
        (OPTIMIZERS, cases.OPTIMIZERS),
        (OPTIMIZERS, plain.OPTIMIZERS),
        (INITIALIZERS, cases.INITIALIZERS),
    ],
    ids=["layers", "layers' equations", "optimizers", "optimizers' equations", "initializers"],
)
def test_every_member_has_a_case(members, table):
    """A new layer, optimizer or initializer fails here until it stands in the table."""
    assert table.keys() == members.keys()
    assert all(table.values())


def test_cases_stand_under_their_own_name():
    """A case tests the member whose name it stands under, and the library finds that name again."""
    for name, layers in cases.LAYERS.items():
        assert {type(layer) for layer in layers} == {LAYERS[name]}
        assert {layer_type(layer) for layer in layers} == {name}
    for name, optimizers in cases.OPTIMIZERS.items():
        assert {type(optimizer) for optimizer in optimizers} == {OPTIMIZERS[name]}
        assert {optimizer_type(optimizer) for optimizer in optimizers} == {name}


@pytest.mark.parametrize("rule", [*cases.every(cases.LAYERS), *cases.every(cases.OPTIMIZERS)], ids=cases.label)
def test_hyperparameters_of_the_cases_vary(rule):
    """Each field that a rule declares has at least two values among its cases, so that none goes untested."""
    table = cases.LAYERS if type(rule) in LAYERS.values() else cases.OPTIMIZERS
    alike = next(settings for settings in table.values() if type(settings[0]) is type(rule))
    for name in type(rule).__annotations__.keys() & {item.name for item in dataclasses.fields(rule)}:
        assert len({getattr(case, name) for case in alike}) > 1, name
