"""The quick way from lists to a matrix makes what the careful one makes, or leaves it to that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.rows import number_matrix, packed_matrix
from models.errors import InvalidError

NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, -0.0, 1, 3.4028235677973366e38, 3.4028234e38, 1e-46, 5e-324, 10**400, -(10**39)]),
)
OTHERS = st.one_of(st.none(), st.text(max_size=3), st.lists(st.just(1), max_size=2), st.just({}))


@given(
    st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=4), st.sampled_from(["float32", "float64"])
)
def test_numbers_are_the_same_to_the_last_bit(rows: list[list[float]], dtype: str) -> None:
    found = packed_matrix(rows, np.dtype(dtype), 3)
    try:
        expected = number_matrix(rows, "/inputs", dtype, 3)
    except (InvalidError, OverflowError):
        assert found is None
    else:
        assert found is not None
        assert found.dtype == expected.dtype
        assert found.tobytes() == expected.tobytes()


@given(st.lists(st.one_of(NUMBERS, OTHERS), min_size=1, max_size=4), st.integers(1, 4))
def test_what_is_no_row_of_numbers_is_left(row: list[Any], width: int) -> None:
    if packed_matrix([row], np.dtype("float32"), width) is not None:
        assert len(row) == width
        assert set(map(type, row)) <= {int, float}


@pytest.mark.parametrize("value", [None, [], {}, [1.0], [[1.0], []], [[1.0], (2.0,)], "ab"])
def test_other_forms_are_left(value: Any) -> None:
    assert packed_matrix(value, np.dtype("float32"), 1) is None
