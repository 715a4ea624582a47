"""Run the benchmark on tables (``make bench-tabular``); an interrupted run goes on where it was."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from benchmarks.tabular.contestants import CONTESTANTS
from benchmarks.tabular.data import TABLES, Half, Table, splits, tables_of
from benchmarks.tabular.page import report, write_page
from benchmarks.tabular.results import path_of, save, scored
from benchmarks.tabular.served import Served
from benchmarks.tabular.sources import MissingPackageError

__all__ = ["main"]

HALVES: tuple[Half, ...] = ("design", "large", "untouched")


def main(arguments: Sequence[str] = ()) -> None:
    """Measure what has no result yet."""
    parser = argparse.ArgumentParser("python -m benchmarks.tabular", description=__doc__)
    parser.add_argument("tables", nargs="*", help="names of tables; all by default")
    parser.add_argument("--half", choices=HALVES, action="append", help="all by default")
    parser.add_argument("--contestant", choices=list(CONTESTANTS), action="append", help="all by default")
    parser.add_argument("--again", action="store_true", help="measure also what has a result")
    parser.add_argument("--report", action="store_true", help="measure nothing and print the tables")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/recipe.md at the end")
    chosen = parser.parse_args(arguments)
    unknown = set(chosen.tables) - {table.name for table in TABLES}
    if unknown:
        parser.error(f"there is no table {min(unknown)!r}")
    if chosen.report:
        print(report())
        return
    tables = [table for table in tables_of(*(chosen.half or HALVES)) if table.name in (chosen.tables or [table.name])]
    for name in chosen.contestant or CONTESTANTS:
        if CONTESTANTS[name].version is None:
            print(f"The package {CONTESTANTS[name].package} is not installed: {CONTESTANTS[name].title} is left out")
            continue
        for table in tables:
            _measure(table, name, chosen.again)
    if chosen.write:
        write_page()


def _measure(table: Table, name: str, again: bool) -> None:
    """Measure one contestant on the splits of a table, on all or on those that have no result."""
    contestant = CONTESTANTS[name]
    version = contestant.version
    assert version is not None
    try:
        frame, codes = table.load()
    except MissingPackageError as error:
        print(f"{table.name} is left out: {error}")
        return
    for number, (training, test) in enumerate(splits(codes)):
        if not again and path_of(table.name, number, name, version).exists():
            continue
        begin, cpu_begin = time.perf_counter(), time.process_time()
        predict = contestant.fit(frame.iloc[training].reset_index(drop=True), codes[training], number)
        seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu_begin
        if isinstance(predict, Served):  # Other processes did the work.
            seconds = cpu_seconds = predict.seconds
        score = scored(predict(frame.iloc[test].reset_index(drop=True)), codes[test], seconds, cpu_seconds)
        save(score, table.name, number, name, version)
        print(
            f"{table.name:<16}{number:>2} {contestant.title:<22}{score.log_loss:>8.4f}{score.accuracy:>8.4f}"
            f"{score.auc:>8.4f}{score.cpu_seconds:>8.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
