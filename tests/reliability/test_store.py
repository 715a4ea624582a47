"""The short form of ``python -m reliability store``."""

from __future__ import annotations

import pytest

from reliability import store

pytestmark = pytest.mark.processes

SCALE = 0.1


def test_the_store_knows_what_it_has() -> None:
    figure = store.run(SCALE)
    assert figure.broken == []
    assert figure.holds(SCALE)
    assert figure.counts["kills"] == 2
    assert figure.counts["registries rebuilt"] == 1
    # Two jobs save a checkpoint after each of 40 epochs, and keep the first, the last, the best and three at most.
    assert figure.counts["checkpoints saved"] >= 2 * 40
    assert 2 * 3 <= figure.counts["checkpoints kept"] <= 2 * 6
    # Those kept and the one dataset, and it may be the rows of the last job, which go a second after its end.
    assert figure.counts["files verified"] - figure.counts["checkpoints kept"] in (1, 2)
    # In each of two rounds of damage and one of a lost database, each of two versions.
    assert figure.counts["predictions compared"] == 3 * 2
