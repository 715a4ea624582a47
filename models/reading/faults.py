"""What is wrong with a file, all together: rows of another width, quotes that do not end, cells that are no values."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator, Mapping

from models.errors import InvalidError, Problem, describe, file_problems
from models.reading.content import chunks_of
from models.reading.dialect import Dialect, rows_of
from models.reading.sinks import FAULTS, BadCells

__all__ = ["bad_cells", "bad_lines", "bad_rows"]

#: Seconds for which a file is searched for further faults after the first.
_SECONDS = 10.0


def bad_rows(descriptor: int, dialect: Dialect, width: int) -> InvalidError | None:
    """The rows of a CSV file that do not have ``width`` cells, and quotes that do not end; None if there are none."""
    problems: list[Problem] = []
    total, row, line = 0, 0, 1
    until = time.monotonic() + _SECONDS
    try:
        for number, begins, cells in rows_of(descriptor, dialect):
            row, line = number, begins
            if len(cells) != width and not (number == 0 and dialect.header):
                total += 1
                if len(problems) < FAULTS:
                    wanted = f"must have {width} cells, like {'the header' if dialect.header else 'the first row'}"
                    problems.append(Problem("", f"{wanted}. Received: {len(cells)}", row=number, line=begins))
                elif time.monotonic() > until:
                    break
    except csv.Error as error:
        what = str(error)
        if "unexpected end" in what:
            what = "a quotation mark begins a cell and none ends it"
        total += 1
        if len(problems) < FAULTS:
            problems.append(
                Problem("", f"must be CSV. Received: {what}", row=row + 1, line=_open_line(descriptor, dialect, line))
            )
    return file_problems(problems, total) if problems else None


def _open_line(descriptor: int, dialect: Dialect, after: int) -> int:
    """The line at which the row behind the last good one begins."""
    last = after
    try:
        for _, begins, cells in rows_of(descriptor, dialect):
            last = begins + sum(cell.count("\n") for cell in cells) + 1
    except csv.Error:
        pass
    return last


def bad_cells(
    cells: Mapping[str, tuple[BadCells, str]],
    texts: Mapping[str, Mapping[int, str]],
    lines: Mapping[int, int],
) -> InvalidError:
    """Cells that are no values, by row and column: the first of them all.

    ``cells`` has, by column, the bad ones and what they must be; ``texts`` their content by row, ``lines`` the line of
    a row; rows count from 0 here.
    """
    order = {name: place for place, name in enumerate(cells)}
    places = sorted(((row, order[name], name) for name, (bad, _) in cells.items() for row in bad.rows))[:FAULTS]
    problems = []
    for row, _, name in places:
        text = texts.get(name, {}).get(row)
        received = "" if text is None else f". Received: {describe(text) if text else 'an empty cell'}"
        problems.append(Problem("", f"{cells[name][1]}{received}", row=row + 1, column=name, line=lines.get(row)))
    return file_problems(problems, sum(bad.total for bad, _ in cells.values()))


def bad_lines(descriptor: int) -> InvalidError | None:
    """The lines of an NDJSON file that are no JSON objects; None if all are."""
    problems, total, rest, number, row = list[Problem](), 0, b"", 0, 0
    until = time.monotonic() + _SECONDS
    for chunk in _with_end(descriptor):
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        for content in lines:
            number += 1
            if not content.strip():
                continue
            row += 1
            what = _fault_of(content)
            if what is not None:
                total += 1
                if len(problems) < FAULTS:
                    problems.append(Problem("", f"must be a JSON object. Received: {what}", row=row, line=number))
        if problems and time.monotonic() > until:
            break
    return file_problems(problems, total) if problems else None


def _with_end(descriptor: int) -> Iterator[bytes]:
    """The pieces of a file, then the end of its last line."""
    yield from chunks_of(descriptor)
    yield b"\n"


def _fault_of(content: bytes) -> str | None:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        return str(error)[:200]
    if not isinstance(value, dict):
        return describe(value)
    return None
