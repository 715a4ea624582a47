"""Files as DuckDB reads them: one SQL source, one stream of Arrow batches.

DuckDB may open the paths that it is given and nothing else: no other file, no network, no extension.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import nanoarrow

from models.reading.cells import quoted
from models.reading.dialect import Dialect

__all__ = ["Engine", "Source", "csv_source", "json_source", "parquet_source"]

_MEMORY, _THREADS = "300MB", 2


class Engine:
    """A connection to DuckDB, which has started its threads and opened no file.

    ``allow`` names the paths that it may open, once; after that its configuration is locked.
    """

    def __init__(self) -> None:
        self._types: dict[Sequence[str], str] = {}
        self._connection = duckdb.connect(config={"threads": _THREADS, "memory_limit": _MEMORY})
        for statement in (
            "SET autoinstall_known_extensions=false",
            "SET autoload_known_extensions=false",
            "SET TimeZone='UTC'",
            "SET enable_progress_bar=false",
            "SET temp_directory=''",
        ):
            self._connection.execute(statement)

    def allow(self, paths: Sequence[str]) -> None:
        """Allow these paths, whose files must exist, and lock all others out."""
        self._connection.execute(f"SET allowed_paths=[{', '.join(map(quoted, paths))}]")
        self._connection.execute("SET enable_external_access=false")
        self._connection.execute("SET lock_configuration=true")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        found: list[tuple[Any, ...]] = self._connection.execute(query).fetchall()
        return found

    def batches(self, query: str) -> Iterator[Any]:
        """The rows of a query as Arrow structs, in the order of the file, a few megabytes at a time.

        Raises DuckDB's errors.
        """
        stream = iter(nanoarrow.c_array_stream(self._connection.sql(query)))
        while True:
            try:
                batch = next(stream, None)
            except RuntimeError as error:  # nanoarrow's own error, for what fails after the first batch
                raise duckdb.Error(str(error)) from error
            if batch is None:
                return
            yield batch

    def levels_type(self, levels: Sequence[str]) -> str:
        """The name of a type in SQL that has these levels."""
        if levels not in self._types:
            name = self._types[levels] = f"levels_{len(self._types)}"
            self.rows(f"CREATE TEMP TYPE {name} AS ENUM ({', '.join(map(quoted, levels))})")
        return self._types[levels]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@dataclass(frozen=True)
class Source:
    """A FROM clause whose columns are c0, c1, …; their names in the file and their types as DuckDB calls them."""

    clause: str
    names: tuple[str, ...]
    types: tuple[str, ...]


def csv_source(path: str, dialect: Dialect, *, short_header: bool) -> Source:
    """A CSV file, every cell as text. ``short_header``: the header has no name for the first column."""
    columns = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(len(dialect.names)))
    header = dialect.header and not short_header
    skipped = dialect.blank + int(short_header)
    clause = (
        f"read_csv({quoted(path)}, auto_detect=false, header={str(header).lower()}, skip={skipped}, "
        f"delim={quoted(dialect.delimiter)}, quote={quoted(dialect.quote)}, escape={quoted(dialect.escape)}, "
        f"columns={{{columns}}})"
    )
    return Source(clause, dialect.names, ("VARCHAR",) * len(dialect.names))


def _described(engine: Engine, function: str) -> Source:
    found = engine.rows(f"DESCRIBE SELECT * FROM {function}")
    aliases = ", ".join(f"c{place}" for place in range(len(found)))
    names = tuple(str(row[0]) for row in found)
    return Source(f"{function} AS rows({aliases})", names, tuple(str(row[1]) for row in found))


def parquet_source(engine: Engine, path: str) -> Source:
    """A Parquet file."""
    return _described(engine, f"read_parquet({quoted(path)})")


def json_source(engine: Engine, path: str, *, array: bool) -> Source:
    """Objects, one a line or in an array. The types fit all values of the file."""
    kind = "array" if array else "newline_delimited"
    return _described(
        engine,
        f"read_json({quoted(path)}, format='{kind}', records=true, sample_size=-1, field_appearance_threshold=0, "
        "map_inference_threshold=-1)",
    )


def select(source: Source, expressions: Sequence[str], limit: int | None = None) -> str:
    """A query for these expressions."""
    listed = ", ".join(f"{each} AS x{place}" for place, each in enumerate(expressions))
    return f"SELECT {listed} FROM {source.clause}" + ("" if limit is None else f" LIMIT {limit}")
