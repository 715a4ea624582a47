"""Schemas follow from the rules' dataclasses: each member of each table, each field, each bound."""

from __future__ import annotations

import math
from dataclasses import MISSING, Field, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

import marshmallow as ma
import pytest

from models.definitions import layer_field, optimizer_field
from models.errors import InvalidError, Problem
from models.schemas import DescribedField, StrictSchema, Tagged, field_for, load, problems_of, schema_for
from nncore.hyperparameters import Bounds, bounds_of
from nncore.layers import LAYERS
from nncore.optimizers import OPTIMIZERS

TABLES: dict[str, dict[str, Any]] = {"layer": LAYERS, "optimizer": OPTIMIZERS}
MEMBERS = [(table, name) for table, members in TABLES.items() for name in members]
FIELDS = [(table, name, item.name) for table, name in MEMBERS for item in fields(TABLES[table][name])]


class LayerSchema(StrictSchema):
    rule = layer_field(required=True)


class OptimizerSchema(StrictSchema):
    rule = optimizer_field(required=True)


SCHEMAS: dict[str, type[StrictSchema]] = {"layer": LayerSchema, "optimizer": OptimizerSchema}


def a_value(rule: type, item: Field[Any]) -> Any:
    """Some valid value of a field."""
    if item.default is not MISSING:
        return item.default
    bounds, kind = bounds_of(item.metadata), get_type_hints(rule)[item.name]
    assert kind in (int, float)
    assert bounds.minimum is not None
    return kind(bounds.minimum)


def document(table: str, name: str, **members: Any) -> dict[str, Any]:
    rule = TABLES[table][name]
    required = {item.name: a_value(rule, item) for item in fields(rule) if item.default is MISSING}
    return {"type": name, **required, **members}


def loaded(table: str, rule: Any) -> Any:
    return load(SCHEMAS[table](), {"rule": rule})["rule"]


def faults(table: str, rule: Any) -> list[Problem]:
    with pytest.raises(InvalidError) as refusal:
        loaded(table, rule)
    return refusal.value.problems


def the_field(table: str, name: str, member: str) -> tuple[Field[Any], Any]:
    rule = TABLES[table][name]
    return next(item for item in fields(rule) if item.name == member), get_type_hints(rule)[member]


@pytest.mark.parametrize(("table", "name"), MEMBERS)
def test_a_member_loads_with_its_own_defaults_and_is_written_back(table: str, name: str) -> None:
    rule = TABLES[table][name]
    least = {item.name: a_value(rule, item) for item in fields(rule) if item.default is MISSING}
    member = loaded(table, document(table, name))
    assert member == rule(**least)
    written = SCHEMAS[table]().dump({"rule": member})["rule"]
    assert written == {"type": name, **{item.name: getattr(member, item.name) for item in fields(rule)}}
    assert loaded(table, written) == member


@pytest.mark.parametrize(("table", "name"), MEMBERS)
def test_an_unknown_field_of_a_member_is_refused(table: str, name: str) -> None:
    (fault,) = faults(table, document(table, name, wrong=1))
    assert fault.pointer == "/rule/wrong"
    assert "is not a known field" in fault.detail


@pytest.mark.parametrize(("table", "name", "member"), FIELDS)
def test_limits_are_those_of_the_metadata(table: str, name: str, member: str) -> None:
    item, hint = the_field(table, name, member)
    if hint not in (int, float):
        assert bounds_of(item.metadata).minimum is bounds_of(item.metadata).above is None
        return
    bounds = bounds_of(item.metadata)

    def beyond(limit: float, direction: float) -> Any:
        return int(limit + direction) if hint is int else math.nextafter(limit, math.inf * direction)

    good, bad = [], []
    if bounds.minimum is not None:
        good.append(hint(bounds.minimum))
        bad += [beyond(bounds.minimum, -1), -(10**9)]
    if bounds.maximum is not None:
        good.append(hint(bounds.maximum))
        bad += [beyond(bounds.maximum, 1), 10**30]
    if bounds.above is not None:
        good.append(beyond(bounds.above, 1))
        bad += [hint(bounds.above), -(10**9)]
    if bounds.below is not None:
        good.append(beyond(bounds.below, -1))
        bad += [hint(bounds.below), 10**30]
    assert len(bad) == 4, "every number needs a lower and an upper limit"
    for value in good:
        assert getattr(loaded(table, document(table, name, **{member: value})), member) == value
    for value in bad:
        (fault,) = faults(table, document(table, name, **{member: value}))
        assert fault.pointer == f"/rule/{member}"
        assert fault.detail.startswith("must be ")
        assert "Received: " in fault.detail


@pytest.mark.parametrize(("table", "name", "member"), FIELDS)
def test_values_of_another_kind_are_refused(table: str, name: str, member: str) -> None:
    _, hint = the_field(table, name, member)
    wrong: list[Any] = ["1", "", None, [], {}, [1], math.nan, math.inf, -math.inf]
    wrong += [1, 0, "true"] if hint is bool else [True, False]
    wrong += [1.5] if hint is int else []
    wrong += [1, "HE_NORMAL"] if get_origin(hint) is Literal else []
    for value in wrong:
        (fault,) = faults(table, document(table, name, **{member: value}))
        assert fault.pointer == f"/rule/{member}"


@pytest.mark.parametrize(("table", "name", "member"), FIELDS)
def test_choices_and_flags_are_taken(table: str, name: str, member: str) -> None:
    _, hint = the_field(table, name, member)
    values = get_args(hint) if get_origin(hint) is Literal else (True, False) if hint is bool else ()
    for value in values:
        assert getattr(loaded(table, document(table, name, **{member: value})), member) is value
    assert values or hint in (int, float)


@pytest.mark.parametrize(("table", "name", "member"), FIELDS)
def test_the_schema_describes_itself_as_the_metadata_does(table: str, name: str, member: str) -> None:
    item, hint = the_field(table, name, member)
    field = schema_for(TABLES[table][name])().fields[member]
    assert isinstance(field, DescribedField)
    described, bounds = field.json_schema(), bounds_of(item.metadata)
    assert field.metadata["description"] == bounds.help != ""
    assert field.required is (item.default is MISSING)
    if hint in (int, float):
        assert described["type"] == ("integer" if hint is int else "number")
        limits = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
        assert [described.get(limit) for limit in limits] == [
            bounds.minimum,
            bounds.maximum,
            bounds.above,
            bounds.below,
        ]
    elif hint is bool:
        assert described == {"type": "boolean"}
    else:
        assert described["enum"] == list(get_args(hint))


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("rule", [None, 3, "dense", [], True])
def test_what_is_no_object_is_refused_where_it_stands(table: str, rule: Any) -> None:
    (fault,) = faults(table, rule)
    assert fault.pointer == "/rule"


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("kind", ["", "Dense", "__class__", 1, None, ["dense"], {"type": "dense"}])
def test_an_unknown_type_is_refused_with_the_known_ones(table: str, kind: Any) -> None:
    (fault,) = faults(table, {"type": kind})
    assert fault.pointer == "/rule/type"
    assert all(repr(name) in fault.detail for name in TABLES[table])


def test_a_whole_number_is_taken_for_a_number_and_not_the_other_way() -> None:
    rate = loaded("optimizer", {"type": "sgd", "learning_rate": 1}).learning_rate
    assert (rate, type(rate)) == (1.0, float)
    (fault,) = faults("layer", {"type": "dense", "units": 64.0})
    assert fault.pointer == "/rule/units"


def test_a_missing_member_that_has_no_default_is_named() -> None:
    assert faults("layer", {"type": "dense"}) == [Problem("/rule/units", "is required")]


def test_an_optional_hint_takes_null_and_its_own_kind() -> None:
    field = field_for(int | None, Bounds(minimum=2), load_default=None)
    assert field.deserialize(None) is None
    assert field.deserialize(2) == 2
    with pytest.raises(ma.ValidationError):
        field.deserialize(1)


@pytest.mark.parametrize("hint", [list, dict, bytes, list[int], complex])
def test_a_hint_that_nothing_can_be_derived_from_is_an_error(hint: Any) -> None:
    with pytest.raises(TypeError, match="no field can be derived"):
        field_for(hint, Bounds())


def test_pointers_are_those_of_rfc_6901() -> None:
    tree = {"a/b": {"c~d": {3: ["x"], "_schema": ["y"]}}, "_schema": ["z"]}
    assert problems_of(tree) == [Problem("/a~1b/c~0d/3", "x"), Problem("/a~1b/c~0d", "y"), Problem("", "z")]


def test_a_field_stands_for_any_table() -> None:
    field = Tagged({"relu": LAYERS["relu"]})
    with pytest.raises(ma.ValidationError):
        field.deserialize({"type": "dense", "units": 1})
