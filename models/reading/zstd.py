"""Text compressed by zstd, unpacked by DuckDB, because Python has zstd from 3.14 only."""

from __future__ import annotations

import duckdb

from models.errors import file_problem
from models.reading.arrow import strings
from models.reading.cells import quoted
from models.reading.content import too_large, write_all
from models.reading.scan import Engine

__all__ = ["unzstd"]


def unzstd(engine: Engine, path: str, into: int, limit: int) -> None:
    """Unpack a zstd file of UTF-8, line by line.

    Raises InvalidError if it is damaged, of another encoding, or exceeds ``limit`` bytes.
    """
    query = (
        f"SELECT line FROM read_csv({quoted(path)}, auto_detect=false, header=false, compression='zstd', "
        "delim='\x01', quote='', escape='', strict_mode=false, columns={'line': 'VARCHAR'})"
    )
    written = 0
    try:
        for batch in engine.batches(query):
            found = strings(next(iter(batch.children)))
            places = zip(found.ends[:-1].tolist(), found.ends[1:].tolist(), strict=True)
            text = b"".join(bytes(found.content[start:stop]) + b"\n" for start, stop in places)
            written += len(text)
            if written > limit:
                raise too_large(limit)
            write_all(into, text)
    except duckdb.Error as error:
        received = "text of another encoding" if "unicode" in str(error) else str(error).partition("\n")[0][:200]
        wanted = "must be a whole zstd file of UTF-8; gzip files may be of other encodings, and Parquet has its own"
        raise file_problem(f"{wanted}. Received: {received}") from None
