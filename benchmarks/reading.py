"""Reading a CSV file of 1,000,000 rows and 30 columns into a dataset, beside DuckDB alone; and memory for 2 GB.

``python -m benchmarks.reading --large`` writes and reads the file of 2 GB too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import duckdb
import nanoarrow

from models.clock import utc_now
from models.formats.dataset_file import DatasetLabel
from models.formats.durable import write_durably
from models.reading.options import ReadOptions
from service.settings import Settings
from service.uploads.parser import UploadParser

__all__ = ["main"]

#: The least share of DuckDB's own speed, and the most resident memory in bytes.
GOAL, MEMORY = 1 / 3, 600 * 10**6
ROUNDS = 3
_COLUMNS = ", ".join(
    [
        *(f"random() AS n{place}" for place in range(16)),
        *(f"(random() * 1000)::INTEGER AS i{place}" for place in range(8)),
        *(f"['red', 'green', 'blue', 'black'][1 + (random() * 3.999)::INTEGER % 4] AS c{place}" for place in range(4)),
        "DATE '2000-01-01' + (random() * 5000)::INTEGER AS d",
        "md5(random()::VARCHAR)[:12] AS t",
    ]
)


def main(*, large: bool = True) -> dict[str, float]:
    """Print and return seconds and bytes."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("TRAINYARD_BENCH")) as folder:
        path = Path(folder) / "rows.csv"
        _write(path, 1_000_000)
        with duckdb.connect(config={"threads": 2, "memory_limit": "300MB"}) as connection:
            alone = min(_seconds_alone(connection, path) for _ in range(ROUNDS))
        settings = Settings.read({"TRAINYARD_DATA": folder})
        parser = UploadParser(settings)
        try:
            _read(parser, Path(folder), path)  # The reader starts.
            read, written = min(_read(parser, Path(folder), path) for _ in range(ROUNDS))
            results = {"duckdb_seconds": alone, "read_seconds": read, "write_seconds": written, "share": alone / read}
            size, share = path.stat().st_size / 1e6, alone / read
            print(f"1,000,000 × 30, {size:.0f} MB: DuckDB alone {alone:.2f} s, read {read:.2f} s ({share:.2f} of its ")
            print(f"speed, goal {GOAL:.2f}), written to a dataset {written:.2f} s")
            if large:
                _write(path, 5_600_000)
                size = path.stat().st_size
                read, written = _read(parser, Path(folder), path)
                # The web worker is this process here; the reader's child is a child of a child, which has ended.
                parser.close()
                peak = max(_own_peak(), _child_peak())
                results |= {"large_bytes": size, "large_seconds": read + written, "large_peak_bytes": peak}
                print(f"{size / 1e9:.2f} GB: {read + written:.1f} s, at most {peak / 1e6:.0f} MB resident "
                      f"(goal {MEMORY / 1e6:.0f})")  # fmt: skip
        finally:
            parser.close()
    return results


def _write(path: Path, rows: int) -> None:
    """Write the file in a process of its own, whose memory does not count."""
    query = f"COPY (SELECT {_COLUMNS} FROM range({rows})) TO '{path}' (FORMAT csv, HEADER)"
    subprocess.run(
        [
            sys.executable,
            "-c",
            f"import duckdb; c = duckdb.connect(); c.execute('SET enable_progress_bar=false'); c.execute({query!r})",
        ],
        check=True,
    )


def _seconds_alone(connection: duckdb.DuckDBPyConnection, path: Path) -> float:
    begin = time.perf_counter()
    for _ in nanoarrow.c_array_stream(connection.sql(f"SELECT * FROM read_csv('{path}')")):
        pass
    return time.perf_counter() - begin


def _read(parser: UploadParser, folder: Path, path: Path) -> tuple[float, float]:
    """Seconds for reading the file and for writing the dataset."""
    with ExitStack() as stack:
        upload = stack.enter_context(path.open("rb"))
        exchange, first, second = (stack.enter_context(tempfile.TemporaryFile(dir=folder)) for _ in range(3))
        begin = time.perf_counter()
        table = parser.table(upload, exchange, (first, second), ReadOptions(label="c0"))
        middle = time.perf_counter()
        write_durably(folder / "rows.h5", table.image(DatasetLabel("rows", utc_now())))
        return middle - begin, time.perf_counter() - middle


def _own_peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _child_peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


if __name__ == "__main__":
    main(large="--large" in sys.argv)
