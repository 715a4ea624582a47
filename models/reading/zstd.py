"""Files compressed by zstd, unpacked by DuckDB, because Python has zstd from 3.14 only."""

from __future__ import annotations

from models.errors import file_problem
from models.reading.arrow import strings
from models.reading.cells import quoted
from models.reading.content import too_large, write_all
from models.reading.scan import Engine

__all__ = ["unzstd"]


def unzstd(engine: Engine, path: str, into: int, limit: int) -> None:
    """Unpack a zstd file of text, line by line. Raises InvalidError if it is damaged or exceeds ``limit`` bytes.

    Its bytes pass through DuckDB as the characters of Latin-1, which has one for each byte.
    """
    query = (
        f"SELECT line FROM read_csv({quoted(path)}, auto_detect=false, header=false, compression='zstd', "
        "encoding='latin-1', delim='\x01', quote='', escape='', strict_mode=false, columns={'line': 'VARCHAR'})"
    )
    written = 0
    try:
        for batch in engine.batches(query):
            found = strings(next(iter(batch.children)))
            text = b"".join(
                bytes(found.content[start:stop]).decode().encode("latin-1") + b"\n"
                for start, stop in zip(found.ends[:-1].tolist(), found.ends[1:].tolist(), strict=True)
            )
            written += len(text)
            if written > limit:
                raise too_large(limit)
            write_all(into, text)
    except (OSError, RuntimeError, ValueError) as error:
        raise file_problem(
            f"must be a whole zstd file of text. Received: {str(error).partition(chr(10))[0][:200]}"
        ) from None
