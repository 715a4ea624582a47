"""Warnings about rows of numbers: looked through in pieces, they are those of all rows together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.training import warnings
from models.training.warnings import LARGE


@given(st.integers(1, 40), st.integers(1, 4), st.integers(0, 2**32 - 1), st.integers(1, 50))
def test_pieces_show_what_all_rows_show(rows: int, columns: int, seed: int, piece: int) -> None:
    draw = np.random.default_rng(seed)
    inputs = draw.choice([0.0, 1.0, -2.5, 9e3, 2e4, -3e4], (rows, columns)).astype(np.float32)
    inputs[:, 0] = 0.1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warnings, "PIECE", piece)
        found = warnings._look_through(inputs)
    large = np.argwhere(np.abs(inputs) > LARGE)
    assert found.constant.tolist() == (inputs == inputs[0]).all(axis=0).tolist()
    assert found.large == len(large)
    assert not len(large) or found.first_large == tuple(large[0].tolist())
    np.testing.assert_allclose(found.mean, inputs.mean(axis=0, dtype=np.float64), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.deviation, inputs.std(axis=0, dtype=np.float64), rtol=1e-9, atol=1e-9)
    assert (found.deviation[found.constant] == 0).all()
