"""Random valid rules, definitions and documents, derived from dataclasses and their bounds."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from nncore.hyperparameters import Bounds, bounds_of
from nncore.layers import LAYERS
from nncore.optimizers import OPTIMIZERS
from nncore.schedules import SCHEDULES, Piecewise, Schedule

NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True)


def value_of(rule: type, item: Field[Any], largest: float = 64) -> st.SearchStrategy[Any]:
    """A valid value of one field; whole numbers stay below ``largest``, so that networks stay small."""
    return values_of(get_type_hints(rule)[item.name], bounds_of(item.metadata), largest)


def values_of(hint: Any, bounds: Bounds, largest: float = 64) -> st.SearchStrategy[Any]:
    """A valid value for a type hint within bounds, in the form of a document."""
    if get_origin(hint) in (Union, UnionType):
        (inner,) = set(get_args(hint)) - {NoneType}
        return st.none() | values_of(inner, bounds, largest)
    if hint is Schedule:
        return rules(SCHEDULES)
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if hint is bool:
        return st.booleans()
    low = bounds.minimum if bounds.minimum is not None else bounds.above
    high = bounds.maximum if bounds.maximum is not None else bounds.below
    assert low is not None
    assert high is not None
    if hint is int:
        return st.integers(int(low), min(int(high), int(largest)))
    assert hint is float
    return st.floats(low, high, exclude_min=bounds.above is not None, exclude_max=bounds.below is not None)


@st.composite
def rules(draw: st.DrawFn, table: dict[str, type]) -> dict[str, Any]:
    """The document of a random member of a table, defaults left out at random."""
    name = draw(st.sampled_from(sorted(table)))
    together = draw(TOGETHER.get(table[name], st.just({})))
    document = {"type": name, **together}
    for item in fields(table[name]):
        if item.name not in together and (item.default is MISSING or draw(st.booleans())):
            document[item.name] = draw(value_of(table[name], item))
    return document


def steps() -> st.SearchStrategy[dict[str, Any]]:
    """Ascending boundaries, and as many factors."""
    steps = st.dictionaries(st.floats(0, 1e7, exclude_min=True), st.floats(0, 1e6), max_size=5)
    return steps.map(lambda step: {"boundaries": sorted(step), "factors": [step[time] for time in sorted(step)]})


#: Fields that depend on each other, by their rule.
TOGETHER: dict[type, st.SearchStrategy[dict[str, Any]]] = {Piecewise: steps()}


def class_lists() -> st.SearchStrategy[Any]:
    """Classes as a count, as strings or as integers."""
    return st.one_of(
        st.integers(2, 12),
        st.lists(st.text(max_size=8), min_size=2, max_size=6, unique=True),
        st.lists(st.integers(-(2**70), 2**70), min_size=2, max_size=6, unique=True),
    )


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    """A random valid definition, with optional members left out at random."""
    classes = draw(class_lists())
    count = classes if isinstance(classes, int) else len(classes)
    between = draw(st.lists(rules(LAYERS), max_size=4))
    last = {**draw(rules({"dense": LAYERS["dense"]})), "units": count}
    optional = {
        "optimizer": rules(OPTIMIZERS),
        "dtype": st.sampled_from(["float32", "float64"]),
        "metadata": st.dictionaries(st.text(max_size=8), JSON_VALUES, max_size=3),
    }
    return {
        "name": draw(NAMES),
        "inputs": draw(st.integers(1, 50)),
        "classes": classes,
        "layers": [*between, last, {"type": "softmax"}],
        **{name: draw(strategy) for name, strategy in optional.items() if draw(st.booleans())},
    }
