"""Schemas follow from the rules' dataclasses: each member of each table, each field, each bound."""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, Field, dataclass, fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import marshmallow as ma
import pytest

from models.definition.rules import layer_field, loss_field, optimizer_field
from models.errors import InvalidError, Problem
from models.schemas import DescribedField, StrictSchema, Tagged, field_for, load, problems_of, schema_for
from models.training.request import TrainSchema
from models.training.search import SEARCHES, Grid, Halving, Random
from nncore.hyperparameters import Bounds, bounds_of
from nncore.layers import LAYERS
from nncore.losses import LOSSES
from nncore.optimizers import OPTIMIZERS, SGD
from nncore.schedules import SCHEDULES, Schedule
from testing import cases

TABLES: dict[str, dict[str, Any]] = {
    "layer": LAYERS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "loss": LOSSES,
    "search": SEARCHES,
}
CASES: dict[str, list[Any]] = {
    "layer": cases.every(cases.LAYERS),
    "optimizer": cases.every(cases.OPTIMIZERS),
    "schedule": cases.every(cases.SCHEDULES),
    "loss": cases.every(cases.LOSSES),
    "search": [Grid(), Random(7, 1), Halving(trials=9, seed=2, factor=4, minimum_epochs=5)],
}
MEMBERS = [(table, name) for table, members in TABLES.items() for name in members]
FIELDS = [(table, name, item.name) for table, name in MEMBERS for item in fields(TABLES[table][name])]


class LayerSchema(StrictSchema):
    rule = layer_field(required=True)


class OptimizerSchema(StrictSchema):
    rule = optimizer_field(required=True)


class LossSchema(StrictSchema):
    rule = loss_field(required=True)


class ScheduleSchema(StrictSchema):
    rule = Tagged(SCHEDULES, required=True)


class SearchedSchema(StrictSchema):
    rule = Tagged(SEARCHES, required=True)


SCHEMAS: dict[str, type[StrictSchema]] = {
    "layer": LayerSchema,
    "optimizer": OptimizerSchema,
    "schedule": ScheduleSchema,
    "loss": LossSchema,
    "search": SearchedSchema,
}


@dataclass(frozen=True)
class Hint:
    """From a field's type hint: the type of its value or items, and whether null is allowed."""

    kind: Any
    optional: bool
    several: bool

    @classmethod
    def of(cls, hint: Any) -> Hint:
        optional = get_origin(hint) in (Union, UnionType)
        if optional:
            (hint,) = set(get_args(hint)) - {NoneType}
        several = get_origin(hint) is tuple
        return cls(get_args(hint)[0] if several else hint, optional, several)

    @property
    def number(self) -> bool:
        return self.kind in (int, float)


def a_value(rule: type, item: Field[Any]) -> Any:
    """A valid value of a field in Python."""
    if item.default is not MISSING:
        return item.default
    bounds, hint = bounds_of(item.metadata), Hint.of(get_type_hints(rule)[item.name])
    assert hint.number
    value = hint.kind(bounds.minimum if bounds.minimum is not None else bounds.above + 0.5)
    return (value,) if hint.several else value


def in_json(value: Any) -> Any:
    """A field's value in a document."""
    if isinstance(value, Schedule):
        name = next(name for name, member in SCHEDULES.items() if member is type(value))
        return {"type": name, **{item.name: in_json(getattr(value, item.name)) for item in fields(value)}}
    return list(value) if isinstance(value, tuple) else value


def document(table: str, name: str, **members: Any) -> dict[str, Any]:
    rule = TABLES[table][name]
    required = {item.name: in_json(a_value(rule, item)) for item in fields(rule) if item.default is MISSING}
    return {"type": name, **required, **members}


def loaded(table: str, rule: Any) -> Any:
    return load(SCHEMAS[table](), {"rule": rule})["rule"]


def faults(table: str, rule: Any) -> list[Problem]:
    with pytest.raises(InvalidError) as refusal:
        loaded(table, rule)
    return refusal.value.problems


def the_field(table: str, name: str, member: str) -> tuple[Field[Any], Hint]:
    rule = TABLES[table][name]
    return next(item for item in fields(rule) if item.name == member), Hint.of(get_type_hints(rule)[member])


@pytest.mark.parametrize(("table", "name"), MEMBERS)
def test_a_member_loads_with_its_own_defaults_and_is_written_back(table: str, name: str) -> None:
    rule = TABLES[table][name]
    least = {item.name: a_value(rule, item) for item in fields(rule) if item.default is MISSING}
    member = loaded(table, document(table, name))
    assert member == rule(**least)
    written = SCHEMAS[table]().dump({"rule": member})["rule"]
    assert written == {"type": name, **{item.name: in_json(getattr(member, item.name)) for item in fields(rule)}}
    assert loaded(table, json.loads(json.dumps(written, allow_nan=False))) == member


@pytest.mark.parametrize(("table", "rule"), [(table, rule) for table, rules in CASES.items() for rule in rules])
def test_every_case_is_what_its_document_loads_to(table: str, rule: Any) -> None:
    written = SCHEMAS[table]().dump({"rule": rule})["rule"]
    assert loaded(table, json.loads(json.dumps(written, allow_nan=False))) == rule


@pytest.mark.parametrize("schedule", CASES["schedule"], ids=cases.label)
def test_an_optimizer_with_any_schedule_is_what_its_document_loads_to(schedule: Schedule) -> None:
    rule = SGD(clip_norm=1.0, average=0.9, schedule=schedule)
    written = OptimizerSchema().dump({"rule": rule})["rule"]
    assert written["schedule"] == in_json(schedule)
    assert loaded("optimizer", json.loads(json.dumps(written, allow_nan=False))) == rule


@pytest.mark.parametrize(("table", "name"), MEMBERS)
def test_an_unknown_field_of_a_member_is_refused(table: str, name: str) -> None:
    (fault,) = faults(table, document(table, name, wrong=1))
    assert fault.pointer == "/rule/wrong"
    assert "is not a known field" in fault.detail


@pytest.mark.parametrize(("table", "name", "member"), FIELDS)
def test_limits_are_those_of_the_metadata(table: str, name: str, member: str) -> None:
    item, hint = the_field(table, name, member)
    if not hint.number:
        assert bounds_of(item.metadata).minimum is bounds_of(item.metadata).above is None
        return
    bounds = bounds_of(item.metadata)

    def beyond(limit: float, direction: float) -> Any:
        return int(limit + direction) if hint.kind is int else math.nextafter(limit, math.inf * direction)

    good, bad = [], []
    if bounds.minimum is not None:
        good.append(hint.kind(bounds.minimum))
        bad += [beyond(bounds.minimum, -1), -(10**9)]
    if bounds.maximum is not None:
        good.append(hint.kind(bounds.maximum))
        bad += [beyond(bounds.maximum, 1), 10**30]
    if bounds.above is not None:
        good.append(beyond(bounds.above, 1))
        bad += [hint.kind(bounds.above), -(10**9)]
    if bounds.below is not None:
        good.append(beyond(bounds.below, -1))
        bad += [hint.kind(bounds.below), 10**30]
    assert len(bad) == 4, "every number needs a lower and an upper limit"
    for value in good:
        expected = (value,) if hint.several else value
        assert getattr(loaded(table, document(table, name, **{member: in_json(expected)})), member) == expected
    for value in bad:
        (fault,) = faults(table, document(table, name, **{member: [value] if hint.several else value}))
        assert fault.pointer == (f"/rule/{member}/0" if hint.several else f"/rule/{member}")
        assert fault.detail.startswith("must be ")
        assert "Received: " in fault.detail


@pytest.mark.parametrize(("table", "name", "member"), FIELDS)
def test_values_of_another_kind_are_refused(table: str, name: str, member: str) -> None:
    _, hint = the_field(table, name, member)
    wrong: list[Any] = ["1", "", [{}], [[1]], {}, ["1"], [None], [True], [math.nan], math.nan, math.inf, -math.inf]
    wrong += [1, 0, "true"] if hint.kind is bool else [True, False]
    wrong += [1.5] if hint.kind is int else []
    wrong += [1, "HE_NORMAL"] if get_origin(hint.kind) is Literal else []
    wrong += [1, 1.5, [0.5] * 1001] if hint.several else [[], [1]]
    wrong += [] if hint.optional else [None]
    for value in wrong:
        (fault,) = faults(table, document(table, name, **{member: value}))
        place = f"/rule/{member}"
        if hint.several and isinstance(value, list) and len(value) == 1:
            place += "/0"
        elif hint.kind is Schedule and isinstance(value, dict):
            place += "/type"
        assert fault.pointer == place


@pytest.mark.parametrize(("table", "name", "member"), FIELDS)
def test_null_is_taken_where_the_hint_says_so(table: str, name: str, member: str) -> None:
    item, hint = the_field(table, name, member)
    assert hint.optional is (item.default is None)
    if hint.optional:
        assert getattr(loaded(table, document(table, name, **{member: None})), member) is None


@pytest.mark.parametrize(("table", "name", "member"), FIELDS)
def test_choices_and_flags_are_taken(table: str, name: str, member: str) -> None:
    _, hint = the_field(table, name, member)
    values = get_args(hint.kind) if get_origin(hint.kind) is Literal else (True, False) if hint.kind is bool else ()
    for value in values:
        assert getattr(loaded(table, document(table, name, **{member: value})), member) is value
    assert values or hint.number or hint.kind is Schedule


@pytest.mark.parametrize(("table", "name", "member"), FIELDS)
def test_the_schema_describes_itself_as_the_metadata_does(table: str, name: str, member: str) -> None:
    item, hint = the_field(table, name, member)
    field = schema_for(TABLES[table][name])().fields[member]
    bounds = bounds_of(item.metadata)
    assert field.metadata["description"] == bounds.help != ""
    assert field.required is (item.default is MISSING)
    assert field.allow_none is hint.optional
    if hint.kind is Schedule:
        assert isinstance(field, Tagged)
        assert field.table is SCHEDULES
        return
    assert isinstance(field, DescribedField)
    described = field.json_schema()
    if hint.several:
        assert (described["type"], described["maxItems"]) == ("array", 1000)
        described = described["items"]
    if hint.number:
        assert described["type"] == ("integer" if hint.kind is int else "number")
        limits = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
        assert [described.get(limit) for limit in limits] == [
            bounds.minimum,
            bounds.maximum,
            bounds.above,
            bounds.below,
        ]
    elif hint.kind is bool:
        assert described == {"type": "boolean"}
    else:
        assert described["enum"] == list(get_args(hint.kind))


#: Schedules with one fault each, and the pointer and message that the error must have.
SCHEDULE_FAULTS: dict[str, tuple[Any, str, str]] = {
    "a number": (1, "", 'must be a name, or an object with a "type". Received: 1'),
    "an unknown name": ("constan", "", "must be one of 'constant', 'inverse_time'"),
    "an unknown type": ({"type": "linear"}, "/type", "must be one of 'constant', 'inverse_time'"),
    "a missing field": ({"type": "exponential"}, "/gamma", "is required"),
    "a field out of bounds": (
        {"type": "step", "every": 1, "gamma": 0},
        "/gamma",
        "must be greater than 0. Received: 0",
    ),
    "a field of another": ({"type": "cosine", "gamma": 0.5}, "/gamma", "is not a known field"),
    "a warm-up out of bounds": ({"type": "cosine", "warmup": -1}, "/warmup", "must be at least 0. Received: -1"),
    "boundaries that do not ascend": (
        {"type": "piecewise", "boundaries": [2, 2], "factors": [1, 1]},
        "/boundaries",
        "must be in ascending order. Received: [2.0, 2.0]",
    ),
    "too few factors": (
        {"type": "piecewise", "boundaries": [1, 2], "factors": [1]},
        "/factors",
        "must have one value per boundary, 2. Received: [1.0]",
    ),
    "one bad number of several": (
        {"type": "piecewise", "boundaries": [1, "2"], "factors": [1, 1]},
        "/boundaries/1",
        "must be a number. Received: '2'",
    ),
}


@pytest.mark.parametrize("fault", SCHEDULE_FAULTS)
def test_a_fault_in_a_schedule_is_reported_at_its_place_in_the_optimizer(fault: str) -> None:
    schedule, pointer, detail = SCHEDULE_FAULTS[fault]
    (told,) = faults("optimizer", {"type": "sgd", "schedule": schedule})
    assert told.pointer == f"/rule/schedule{pointer}"
    assert told.detail.startswith(detail)


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


def test_several_numbers_become_a_tuple_and_a_list_again() -> None:
    field = field_for(tuple[float, ...] | None, Bounds(minimum=0), load_default=None)
    assert field.deserialize([]) == ()
    assert field.deserialize([1, 2.5]) == (1.0, 2.5)
    assert field.serialize("x", {"x": (1.0, 2.5)}) == [1.0, 2.5]
    assert field.deserialize(None) is field.serialize("x", {"x": None}) is None
    with pytest.raises(ma.ValidationError) as refusal:
        field.deserialize([1, -1, "1"])
    assert [problem.pointer for problem in problems_of(refusal.value.messages)] == ["/1", "/2"]


@pytest.mark.parametrize("hint", [list, dict, bytes, list[int], tuple[int, ...], complex])
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


@pytest.mark.parametrize(
    ("written", "meant"),
    [("epoch", "epochs"), ("batchSize", "batch_size"), ("batch-size", "batch_size"), ("optimiser", "optimizer")],
)
def test_an_unknown_field_names_the_nearest_known_one(written: str, meant: str) -> None:
    with pytest.raises(InvalidError) as refusal:
        load(TrainSchema(), {"model": "m", "data": "iris", written: 1, "xyzzy": 2})
    details = {problem.pointer: problem.detail for problem in refusal.value.problems}
    assert details.keys() == {f"/{written}", "/xyzzy"}
    assert details[f"/{written}"].startswith(f"is not a known field; did you mean {meant!r}? known are batch_size, ")
    assert details["/xyzzy"].startswith("is not a known field; known are batch_size, ")


def test_the_nearest_names_stand_at_every_depth() -> None:
    body = {
        "model": "m",
        "data": {"datset": "iris"},
        "optimizer": {"type": "adam", "betta1": 1},
        "checkpoint": {"kep": 1},
    }
    with pytest.raises(InvalidError) as refusal:
        load(TrainSchema(), body)
    meant = {problem.pointer: problem.detail.split("'")[1] for problem in refusal.value.problems}
    assert meant == {"/data/datset": "dataset", "/optimizer/betta1": "beta1", "/checkpoint/kep": "keep"}
