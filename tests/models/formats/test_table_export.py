"""CSV and Parquet of any table, read by pandas and DuckDB, and the bound on memory."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.data.columns import MISSING_TIME, Column, ColumnSpec
from models.data.table import CHUNK, MemoryTable
from models.formats import table_export
from models.formats.table_export import csv_pieces, parquet_pieces
from nncore.arrays import Array


def table_of(**columns: Column) -> MemoryTable:
    specs = tuple(ColumnSpec(name, column.kind, column.levels) for name, column in columns.items())
    rows = len(next(iter(columns.values())).values)
    return MemoryTable(rows, specs, columns)


def parquet_rows(table: MemoryTable, folder: Path) -> list[tuple[Any, ...]]:
    with (folder / "x.parquet").open("wb") as file:
        file.writelines(parquet_pieces(table))
    return duckdb.connect().sql(f"SELECT * FROM '{folder}/x.parquet'").fetchall()


WORDS = ("no", 'ü,"x"\n', "z" * 300)


def tables() -> st.SearchStrategy[MemoryTable]:
    @st.composite
    def drawn(draw: st.DrawFn) -> MemoryTable:
        rows = draw(st.integers(1, 40))

        def values(strategy: st.SearchStrategy[Any], dtype: Any) -> Array:
            return np.array(draw(st.lists(strategy, min_size=rows, max_size=rows)), dtype)

        number = st.floats(allow_infinity=False)
        texts = np.empty(rows, object)
        texts[:] = draw(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"])), min_size=rows, max_size=rows))
        return table_of(
            double=Column("number", values(number, float)),
            single=Column("number", values(st.floats(width=32, allow_infinity=False), np.float32)),
            whole=Column("number", values(st.integers(-(2**63), 2**63 - 1), np.int64)),
            flag=Column("boolean", values(st.integers(-1, 1), np.int8), ("FALSE", "TRUE")),
            word=Column("category", values(st.integers(-1, 2), np.int32), WORDS),
            time=Column("datetime", values(st.integers(-(10**15), 10**15) | st.just(MISSING_TIME), np.int64)),
            text=Column("text", texts),
        )

    return drawn()


def plain(table: MemoryTable) -> list[tuple[Any, ...]]:
    """The rows as Python values; times are microseconds."""
    columns = []
    for spec in table.columns:
        column = table.read(spec.name)
        values: list[Any] = column.values.tolist()
        if spec.kind == "category":
            values = [None if code < 0 else WORDS[code] for code in values]
        elif spec.kind == "boolean":
            values = [None if code < 0 else bool(code) for code in values]
        columns.append([None if gap else value for gap, value in zip(column.missing(), values, strict=True)])
    return list(zip(*columns, strict=True))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(table=tables(), step=st.integers(1, 50))
def test_parquet_holds_the_same_rows(table: MemoryTable, step: int, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_export, "CELLS", step * len(table.columns))
        found = parquet_rows(table, tmp_path)
    epoch = pd.Timestamp(0).to_pydatetime()
    times = [
        (*row[:5], None if row[5] is None else round((row[5] - epoch).total_seconds() * 1e6), row[6]) for row in found
    ]
    assert times == plain(table)


@pytest.mark.parametrize("columns", [1, 7, 3000])
def test_pieces_are_small(columns: int) -> None:
    """A client that reads slowly holds one piece, and what the generator keeps."""
    rows = 500_000 // columns
    specs = tuple(ColumnSpec(f"c{place}", "number") for place in range(columns))
    column = Column("number", np.random.default_rng(0).normal(size=rows))
    table = MemoryTable(rows, specs, {spec.name: column for spec in specs})
    for pieces, bound in ((csv_pieces(table), 2**21), (parquet_pieces(table), 2**20)):
        tracemalloc.start()
        try:
            sizes, kept = [], []
            for piece in pieces:
                sizes.append(len(piece))
                kept.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
        assert max(sizes[:-1]) < bound
        assert max(kept[:-1]) < 2 * bound


@settings(deadline=None)
@given(table=tables(), step=st.integers(1, 50))
def test_csv_holds_the_same_rows(table: MemoryTable, step: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_export, "PIECE_CELLS", step * len(table.columns))
        content = b"".join(csv_pieces(table))
    frame = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
    expected = plain(table)
    assert list(frame.columns) == [spec.name for spec in table.columns]
    assert len(frame) == len(expected)
    for place, name in enumerate(["double", "single", "whole"]):
        # The text of a 32-bit float is the shortest that reads back as the same 32-bit float.
        convert = {"whole": int, "single": lambda cell: float(np.float32(cell)), "double": float}[name]
        assert [None if cell == "" else convert(cell) for cell in frame[name]] == [row[place] for row in expected]
    assert [{"": None, "FALSE": False, "TRUE": True}[cell] for cell in frame["flag"]] == [row[3] for row in expected]
    assert [cell or None for cell in frame["word"]] == [row[4] for row in expected]
    times = [None if cell == "" else pd.Timestamp(cell).as_unit("us").value // 1000 for cell in frame["time"]]
    assert times == [row[5] for row in expected]
    assert [cell or None for cell in frame["text"]] == [row[6] for row in expected]


def test_many_columns_and_no_rows(tmp_path: Path) -> None:
    numbers = {f"x{place}": Column("number", np.array([float(place)])) for place in range(300)}
    assert parquet_rows(table_of(**numbers), tmp_path) == [tuple(map(float, range(300)))]
    empty = table_of(a=Column("number", np.empty(0)), b=Column("text", np.empty(0, object)))
    assert parquet_rows(empty, tmp_path) == []
    assert b"".join(csv_pieces(empty)) == b"a,b\r\n"


@pytest.mark.slow
@pytest.mark.parametrize("pieces", [csv_pieces, parquet_pieces])
def test_memory_does_not_grow_with_the_rows(pieces: Any) -> None:
    peaks = []
    for rows in (2 * CHUNK, 6 * CHUNK):
        values = np.arange(rows) / 7
        table = table_of(**{f"x{place}": Column("number", values) for place in range(4)})
        tracemalloc.start()
        for _piece in pieces(table):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
