"""The coverage of sets on real data over 20 splits, as ``python -m benchmarks.trust`` measures it on ten tables."""

import warnings

import numpy as np
import pytest

from benchmarks import trust


@pytest.mark.slow
@pytest.mark.parametrize("name", ["breast cancer", "digits"])
def test_coverage_is_within_a_point_of_what_was_asked_for(name):
    """And of the rest: calibration improves, and about one row in a hundred is called unusual."""
    pytest.importorskip("sklearn")
    x, y = trust.tables()[name]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Logistic regression may stop before the end.
        results = [trust.split_results(x, y, split) for split in range(trust.SPLITS)]
    mean = {measure: np.mean([each[measure] for each in results]) for measure in results[0]}
    assert mean["coverage"] == pytest.approx(trust.COVERAGE, abs=0.01)
    assert mean["coverage by class"] == pytest.approx(trust.COVERAGE, abs=0.015)
    assert mean["error after"] < mean["error before"]
    assert mean["unusual"] == pytest.approx(0.01, abs=0.01)
