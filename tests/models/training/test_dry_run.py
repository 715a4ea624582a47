"""Dry runs: sizes, an estimate of the time, and warnings about the data."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import pytest

from models.data.dataset import Dataset, from_rows
from models.definition.definition import ModelDefinition
from models.training.dry_run import DryRun, dry_run
from models.training.request import TrainingRequest
from models.training.warnings import matrix_warnings
from nncore.optimizers import SGD, Adam
from testing.runs import a_definition, a_request, prepare, some_rows


def findings(data: Dataset, validation: Dataset | None = None) -> dict[str, str]:
    found = the_dry_run(a_definition(), a_request(), data, validation)
    return {warning.code: warning.detail for warning in found.warnings}


def the_dry_run(
    definition: ModelDefinition, request: TrainingRequest, data: Dataset, validation: Dataset | None = None
) -> DryRun:
    prepared = prepare(definition, request, data, validation)
    warnings = matrix_warnings(definition, prepared)
    return dry_run(definition, request, len(prepared.rows), prepared.validation_rows, prepared.first, warnings)


@pytest.mark.parametrize(("rule", "moments"), [(SGD(), 0), (Adam(), 2), (Adam(average=0.9, accumulate=2), 4)])
def test_sizes(rule: object, moments: int) -> None:
    data = some_rows(43)
    answer = the_dry_run(a_definition(), a_request(optimizer=rule, epochs=7, validation_fraction=0.25), data).document()
    parameters = 2 * 5 + 5 + 5 * 3 + 3
    assert answer["parameters"] == parameters
    assert (answer["inputs"], answer["hidden"], answer["classes"]) == (2, [5], 3)
    sizes = answer["bytes"]
    assert (sizes["parameters"], sizes["gradients"]) == (4 * parameters, 4 * parameters)
    assert sizes["moments"] == moments * 4 * parameters
    assert answer["rows"] == {"training": 32, "validation": 11}
    assert answer["batches_per_epoch"] == 4
    estimate = answer["estimate"]
    assert estimate["seconds_per_epoch"] == pytest.approx(4 * estimate["seconds_per_step"])
    assert estimate["seconds"] == pytest.approx(7 * estimate["seconds_per_epoch"])
    assert 0 < estimate["seconds_per_step"] < 1


def test_good_data_has_no_warnings() -> None:
    assert findings(some_rows(43), some_rows(9, seed=2)) == {}


def test_each_oddity_is_reported_with_its_place() -> None:
    rows = np.random.default_rng(0).normal(size=(12, 2))
    rows[:, 1] = 3.0
    rows[4, 0] = -2e4
    labels = ["a"] * 6 + ["b"] * 5 + ["c"]
    found = findings(from_rows(rows.tolist(), labels), from_rows(rows[:3].tolist(), labels[:3]))
    assert found.keys() == {
        *("constant_columns", "large_values", "unscaled_columns", "rare_classes", "duplicates_across_split")
    }
    assert "feature_0" in found["unscaled_columns"]
    assert "feature_1" in found["constant_columns"]
    assert "row 4, feature_0: -20000" in found["large_values"]
    assert "'c'" in found["rare_classes"]
    assert found["duplicates_across_split"].startswith("3 ")


def test_divergence_is_a_warning() -> None:
    data = some_rows(43)
    wild = from_rows((data.inputs * 1e30).tolist(), ["a", "b", "c"] * 14 + ["a"])
    answer = the_dry_run(a_definition(), a_request(optimizer=SGD(1e6), epochs=3), wild).document()
    assert answer["estimate"] == {"seconds_per_step": None, "seconds_per_epoch": None, "seconds": None}
    assert "diverges" in [warning["code"] for warning in answer["warnings"]]


@pytest.mark.slow
def test_large_steps_are_measured_small_and_large_networks_not_at_all() -> None:
    """A dry run takes little time, whatever the request."""
    data = some_rows(2000)
    begin = perf_counter()
    measured = the_dry_run(a_definition(units=60_000), a_request(batch_size="full"), data)
    assert perf_counter() - begin < 20
    assert measured.seconds_per_step is not None
    assert measured.seconds_per_step > 0.02
    assert measured.memory.activations > 2**29
    layers = [{"type": "dense", "units": 6000}, {"type": "dense", "units": 6000}, {"type": "dense", "units": 3}]
    huge = ModelDefinition.load({**a_definition().document(), "layers": [*layers, {"type": "softmax"}]})
    unmeasured = the_dry_run(huge, a_request(), data)
    assert unmeasured.seconds_per_step is None
    assert [warning.code for warning in unmeasured.warnings] == ["not_measured"]
