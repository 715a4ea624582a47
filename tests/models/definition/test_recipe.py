"""The recipe: what it chooses by the number of rows, and that its definition is complete."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.columns import ColumnSpec
from models.definition.definition import ModelDefinition
from models.definition.ensemble import EFFORTS, Ensemble, NetworkKind
from models.errors import InvalidError
from nncore.layers import Dense, Dropout

COLUMNS = (
    ColumnSpec("age", "number"),
    ColumnSpec("sex", "category", ("f", "m")),
    ColumnSpec("y", "category", ("a", "b")),
)


def resolved(rows: int, effort: Any = "default", columns: tuple[ColumnSpec, ...] = COLUMNS) -> ModelDefinition:
    opened = ModelDefinition.load({"name": "m", "classes": ["a", "b"], "network": {"effort": effort}})
    return opened.for_table(columns, "y", None, rows).by_recipe(rows)


def ensemble_of(rows: int, effort: Any = "default") -> Ensemble:
    ensemble = resolved(rows, effort).ensemble
    assert isinstance(ensemble, Ensemble)
    return ensemble


def hidden(kind: NetworkKind) -> list[int]:
    return [layer.units for layer in kind.layers[:-2] if isinstance(layer, Dense)]


@pytest.mark.parametrize(
    ("rows", "folds", "kinds", "smoothing", "patience", "bins", "levels"),
    [
        (2_000, 8, {"binned": [128, 128], "smooth": [128, 128]}, 0.05, 20, 16, 64),
        (2_001, 8, {"wide": [256, 256], "smooth": [128, 128]}, 0.05, 10, 16, 64),
        (3_000, 8, {"wide": [256, 256], "smooth": [128, 128]}, 0.05, 10, 16, 64),
        (10_000, 5, {"wide": [256, 256], "smooth": [128, 128]}, 0.05, 10, 16, 64),
        (10_001, 5, {"wide": [256, 256], "smooth": [128, 128]}, 0.0, 10, 32, 256),
    ],
)
def test_sizes(
    rows: int, folds: int, kinds: dict[str, list[int]], smoothing: float, patience: int, bins: int, levels: int
) -> None:
    """docs/recipe.md, "Networks" and "Features"."""
    ensemble = ensemble_of(rows)
    assert (ensemble.folds, ensemble.used_folds, ensemble.recipe) == (folds, None, 1)
    found = {kind.name: hidden(kind) for kind in ensemble.kinds}
    assert found == {**kinds, "linear": []}
    assert [kind.baseline for kind in ensemble.kinds] == [False, False, True]
    for kind in ensemble.kinds[:2]:
        assert kind.loss.label_smoothing == smoothing  # type: ignore[attr-defined]
        assert kind.early_stopping is not None
        assert (kind.early_stopping.patience, kind.early_stopping.patience_steps) == (patience, 400)
        assert [layer.rate for layer in kind.layers if isinstance(layer, Dropout)] == [0.2, 0.2]
    age, sex = resolved(rows).features  # type: ignore[misc]
    assert (age.scale, age.bins) == ("robust_bins", bins)
    assert (sex.min_count, sex.max_levels, sex.signed) == (5, levels, True)


@given(st.integers(2, 3_000_000), st.sampled_from(EFFORTS))
def test_its_rules(rows: int, effort: Any) -> None:
    """The rules of the recipe for any number of rows: batches, looks, epochs, folds with at least a row each."""
    ensemble = ensemble_of(rows, effort)
    assert 2 <= ensemble.folds <= max(2, rows // 2)
    assert ensemble.members == len(ensemble.kinds) * (ensemble.used_folds or ensemble.folds)
    training = rows - rows // ensemble.folds
    for kind in ensemble.kinds:
        assert isinstance(kind.batch_size, int)
        assert kind.batch_size in (32, 64, 128, 256)
        steps = math.ceil(training / kind.batch_size)
        assert kind.validate_every == max(1, round(20 / steps))
        longer = 2 if effort == "thorough" else 1
        assert kind.epochs == longer * min(400, max(20, 20_000 // steps))
    assert {ensemble.kind_of(number).name for number in range(1, ensemble.members + 1)} == {
        kind.name for kind in ensemble.kinds
    }
    assert {ensemble.fold_of(number) for number in range(1, ensemble.members + 1)} == set(
        range(ensemble.members_of_kind)
    )


def test_effort() -> None:
    quick, default, thorough = (ensemble_of(500, effort) for effort in EFFORTS)
    assert (quick.members, default.members, thorough.members) == (9, 24, 30)
    assert quick.folds == default.folds  # A quick run trains as many rows a member, and fewer members.


def test_many_numbers_have_no_bins() -> None:
    columns = tuple(ColumnSpec(f"x{number}", "number") for number in range(101))
    features = resolved(500, columns=(*columns, COLUMNS[-1])).features
    assert {feature.scale for feature in features} == {"robust_clip"}  # type: ignore[union-attr]


def test_the_definition_is_complete_and_survives_its_text() -> None:
    definition = resolved(500)
    again = ModelDefinition.parse(definition.canonical())
    assert again == definition
    assert again.by_recipe(500) == definition
    assert again.by_recipe(5_000) == resolved(5_000).__class__.parse(again.canonical()).by_recipe(5_000)


def test_features_that_a_request_names_keep_what_it_says() -> None:
    changes = {"age": {"scale": "log"}, "sex": "text"}
    opened = ModelDefinition.load({"name": "m", "classes": ["a", "b"], "features": changes})
    age, sex = opened.for_table(COLUMNS, "y", None, 100).features  # type: ignore[misc]
    assert (age.scale, type(sex).__name__) == ("log", "Text")


@pytest.mark.parametrize(
    ("network", "pointer"),
    [
        ("automatic", "/network"),
        ({"recipe": 2}, "/network/recipe"),
        ({"effort": "some"}, "/network/effort"),
        ({"folds": 3, "kinds": []}, "/network/kinds"),
        ({"folds": 3, "used_folds": 4, "kinds": [{}]}, "/network/kinds/0/name"),
    ],
)
def test_what_is_no_network_is_refused(network: Any, pointer: str) -> None:
    with pytest.raises(InvalidError) as refused:
        ModelDefinition.load({"name": "m", "classes": ["a", "b"], "network": network})
    assert pointer in [problem.pointer for problem in refused.value.problems]


def test_a_kind_ends_in_the_classes() -> None:
    kind = {
        "name": "one",
        "layers": [{"type": "dense", "units": 3}, "softmax"],
        "optimizer": "adam",
        "batch_size": 8,
        "epochs": 1,
    }
    with pytest.raises(InvalidError) as refused:
        ModelDefinition.load({"name": "m", "classes": ["a", "b"], "network": {"folds": 2, "kinds": [kind]}})
    assert refused.value.problems[0].pointer == "/network/kinds/0/layers/0/units"
