"""Pages of rows: every row that meets the conditions comes once, in order, however little is searched at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.columns import Column
from models.data.records import from_records
from models.errors import InvalidError
from models.formats import row_pages
from models.formats.row_pages import condition_of, page_of, rows_at


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["a", "b", None])), min_size=1, max_size=60),
    st.integers(1, 9),
    st.integers(1, 20),
    st.booleans(),
)
def test_pages_together_are_the_rows(rows: list[tuple[int, str | None]], limit: int, searched: int, both: bool) -> None:
    table = from_records([{"n": number, "w": word} for number, word in rows], kinds={"w": "category"})
    texts = ["n:1", "w:a"] if both else ["n:1"]
    found, after, more, pages = [], 0, True, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_pages, "SEARCHED", searched)
        conditions = [condition_of(text, table.columns, "") for text in texts]
        while more:
            page = page_of(table, after, limit, conditions)
            assert len(page.rows) <= limit
            assert page.after > after
            found += page.rows
            after, more, pages = page.after, page.has_more, pages + 1
    expected = [place for place, (n, w) in enumerate(rows, 1) if n == 1 and (not both or w == "a")]
    assert [row["row"] for row in found] == expected
    assert all(row["values"]["n"] == 1 for row in found)
    assert pages <= len(rows)


@given(st.sets(st.integers(0, 59)), st.integers(1, 9), st.integers(1, 20))
def test_single_rows_are_those_that_were_asked_for(places: set[int], gap: int, stretch: int) -> None:
    """However far apart they are, and however many are read at once."""
    table = from_records([{"n": 10 * place, "w": "ab"[place % 2]} for place in range(60)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_pages, "GAP", gap)
        patch.setattr(row_pages, "STRETCH", stretch)
        found = rows_at(table, sorted(places))
    assert found == [{"row": place + 1, "values": {"n": 10 * place, "w": "ab"[place % 2]}} for place in sorted(places)]


def test_a_name_with_a_colon_and_the_longest_name_count() -> None:
    table = from_records([{"a": "b:c", "a:b": "c", "x": 1}, {"a": "d", "a:b": "e", "x": 2}])
    assert condition_of("a:b:c", table.columns, "").column.name == "a:b"
    assert condition_of("a:d", table.columns, "").value == "d"
    with pytest.raises(InvalidError, match="did you mean 'x'"):
        condition_of("X:1", table.columns, "/where")


def test_missing_values_are_found_by_their_words() -> None:
    table = from_records([{"a": None, "t": "x" * 300}, {"a": 2, "t": None}])
    for text, row in (("a:NA", 1), ("a:", 1), ("t:", 2), ("a:2.0", 2)):
        conditions = [condition_of(text, table.columns, "")]
        assert [found["row"] for found in page_of(table, 0, 9, conditions).rows] == [row]


def test_values_are_plain() -> None:
    column = Column("boolean", np.array([1, 0, -1], np.int8), ("FALSE", "TRUE"))
    assert row_pages.plain_values(column) == [True, False, None]
    assert row_pages.plain_values(column._replace(levels=("no", "yes"))) == ["yes", "no", None]
