"""How a CSV file is written: delimiter, quotes, header; and its rows in Python, slowly, with their lines."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from models.data.words import BOOLEAN_PAIRS
from models.errors import Problem, file_problem, file_problems
from models.reading.cells import SPACES, NumberForm, date_forms
from models.reading.options import ReadOptions

__all__ = ["CELL_BYTES", "ONE_LINE", "Dialect", "Row", "Sample", "dialect_of", "normalize", "rows_of", "sample_of"]

#: Bytes of a cell at most.
CELL_BYTES = 16 * 2**20
#: Rows and bytes of the sample at the beginning of a file, and of the two pieces from its middle and its end.
_ROWS, _BYTES, _PIECE = 2000, 8 * 2**20, 64 * 1024
_DELIMITERS = ("\t", ";", "|", ",", " ")
csv.field_size_limit(CELL_BYTES)


@dataclass(frozen=True)
class Dialect:
    """Delimiter, quotes and header of a CSV file, and the names of its columns.

    ``spaced``: quotes may come after a space. ``escape`` is the sign before a quote inside of quotes. ``blank`` is the
    number of empty lines before the first row.
    """

    delimiter: str
    quote: str = '"'
    escape: str = '"'
    spaced: bool = False
    header: bool = True
    names: tuple[str, ...] = ()
    blank: int = 0

    def reader(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """Python's reader of rows."""
        doubled = self.escape == self.quote
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote,
            doublequote=doubled,
            escapechar=None if doubled else self.escape,
            skipinitialspace=self.spaced,
            strict=True,
        )


class Row(NamedTuple):
    """A row of a file: its number (the header is row 0), the line at which it begins, and its cells."""

    number: int
    line: int
    cells: list[str]


#: What came if the ends of lines did not come: the most usual way to send a file by curl loses them.
ONE_LINE = "one line; curl's -d joins all lines, --data-binary keeps them"


class Sample(NamedTuple):
    """The first rows of a file, further rows from its middle and end, and whether the first rows are all."""

    rows: list[list[str]]
    further: list[list[str]]
    whole: bool
    bytes: int


def dialect_of(descriptor: int, options: ReadOptions) -> tuple[Dialect, Sample]:
    """The dialect of a file of UTF-8, and a sample of its rows of data. Raises InvalidError if it holds no rows."""
    size = os.fstat(descriptor).st_size
    content = os.pread(descriptor, _BYTES, 0)
    text = content.decode("utf-8", "replace").removeprefix("\ufeff")
    if not text.strip():
        raise file_problem("must begin with a row of column names. Received: nothing")
    lead = text[:65_536]
    quote = _quote_of(lead)
    if options.delimiter is not None:
        delimiter = options.delimiter
    else:
        delimiter = max(_DELIMITERS, key=lambda sign: _evenness(lead, sign, quote, len(text) > len(lead)))
        if _evenness(lead, delimiter, quote, len(text) > len(lead))[0] == 0:
            delimiter = ","
    escaped = f"\\{quote}" in lead and _evenness(lead, delimiter, quote, False, "\\") > _evenness(
        lead, delimiter, quote, False
    )
    spaced = re.search(f"{re.escape(delimiter)} +{quote}", lead) is not None and delimiter != " "
    found = Dialect(delimiter, quote, "\\" if escaped else quote, spaced)
    rows = _first_rows(found, text, len(content) < size)
    if not rows:
        raise file_problem("must begin with a row of column names. Received: nothing")
    sample, whole = rows[: _ROWS + 1], len(content) >= size and len(rows) <= _ROWS + 1
    header = _has_header(sample) if options.header is None else options.header
    names = _names(sample[0], sample) if header else tuple(f"column_{place + 1}" for place in range(len(sample[0])))
    blank = len(re.findall(r"\r\n|\n|\r", text[: len(text) - len(text.lstrip("\r\n"))]))
    found = Dialect(delimiter, quote, found.escape, spaced, header, names, blank)
    taken = sum(map(len, text[: 1 << 20].splitlines(keepends=True)[: len(sample)])) if not whole else size
    further = [] if whole else _pieces(descriptor, found, size)
    return found, Sample(sample[1:] if header else sample, further, whole, taken)


def _quote_of(lead: str) -> str:
    """The quotation mark: a single one only if cells are enclosed by it, and there is no double one."""
    enclosed = re.findall(r"(?:^|[,;\t|])'[^'\n]*'(?=[,;\t|]|\r?$)", lead, re.MULTILINE)
    return "'" if '"' not in lead and len(enclosed) > 2 else '"'


def _evenness(lead: str, delimiter: str, quote: str, cut: bool, escape: str | None = None) -> tuple[float, int]:
    """How well a delimiter explains a text: the share of rows as wide as the first, and whether they have cells."""
    dialect = Dialect(delimiter, quote, escape or quote, spaced=delimiter != " ")
    widths = []
    try:
        for cells in dialect.reader(io.StringIO(lead, newline="")):
            if cells:
                widths.append(len(cells))
            if len(widths) == 200:
                break
    except csv.Error:
        widths.append(0)  # A delimiter that makes no sense of a quote explains nothing from there on.
    if cut and len(widths) < 200:
        widths = widths[:-1] or widths
    if not widths or widths[0] < 2:
        return 0.0, 0
    share = widths.count(widths[0]) / len(widths)
    # A comma may also be a decimal sign, a space may be anything: the others come first if all fit as well.
    return round(share, 2), len(_DELIMITERS) - _DELIMITERS.index(delimiter)


def _first_rows(dialect: Dialect, text: str, cut: bool) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        for cells in dialect.reader(io.StringIO(text, newline="")):
            if cells:
                rows.append(cells)
            if len(rows) > _ROWS + 1:
                return rows
    except csv.Error:
        return rows or [next(csv.reader([text.splitlines()[0]], delimiter=dialect.delimiter))]
    return rows[:-1] if cut and len(rows) > 1 else rows


def _pieces(descriptor: int, dialect: Dialect, size: int) -> list[list[str]]:
    """Rows from the middle and the end of a file, those that are as wide as the header."""
    found = []
    for start in (size // 2, max(size - _PIECE, 0)):
        text = os.pread(descriptor, _PIECE, start).decode("utf-8", "replace")
        whole = text.partition("\n")[2].rpartition("\n")[0]
        try:
            rows = list(dialect.reader(io.StringIO(whole, newline="")))
        except csv.Error:
            continue
        found += [cells for cells in rows if len(cells) == len(dialect.names)]
    return found


def _names(cells: Sequence[str], sample: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The names in a header. Raises InvalidError for repeated ones."""
    names = [cell.strip(SPACES) or f"column_{place + 1}" for place, cell in enumerate(cells)]
    # R writes the rows' names without a name above them.
    if len(sample) > 1 and all(len(row) == len(cells) + 1 for row in sample[1:]):
        names = ["column_1", *names]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated and len(sample) == 1:
        raise file_problem(f"must have lines. Received: {ONE_LINE}")
    if repeated:
        raise file_problems(
            [Problem("", "every column must have a unique name. Received: it twice", 0, name, 1) for name in repeated]
        )
    return tuple(names)


_PLAIN = NumberForm()
_BOOLEAN_WORDS = {word for pair in BOOLEAN_PAIRS for word in pair}


def _sort_of(cell: str) -> str:
    cell = cell.strip(SPACES)
    if not cell:
        return "empty"
    if _PLAIN.fits(cell) or re.fullmatch(r"[+-]?[$€£]? ?[0-9][0-9.,']*[ %€$]{0,2}", cell):
        return "number"
    return "time" if cell[0].isdigit() and date_forms([cell], day_first=True) else "word"


def _has_header(sample: Sequence[Sequence[str]]) -> bool:
    """Whether the first row is a header: some cell does not parse like those below it."""
    first, rest = sample[0], [row for row in sample[1:] if len(row) == len(sample[0])]
    sorts = [_sort_of(cell) for cell in first]
    if not rest:
        return "word" in sorts or "empty" in sorts
    certain = False
    unique = False
    for place, (cell, sort) in enumerate(zip(first, sorts, strict=True)):
        below = [row[place].strip(SPACES) for row in rest if row[place].strip(SPACES)]
        if sort == "empty" or not below:
            continue
        kinds = [_sort_of(other) for other in below[:500]]
        common = max(set(kinds), key=kinds.count)
        if sort != common:
            return True
        if sort in ("number", "time"):
            certain = True
        elif cell.strip(SPACES) in below:
            certain = certain or len(set(below)) < len(below)
        elif len(set(below)) > 0.5 * len(below) and len(below) > 2:
            unique = True
        else:
            return True
    if unique:
        # Names such as 2019 and 2020 above numbers are a header; measurements such as 7.25 are none.
        return not any(
            sort == "number" and not cell.strip(SPACES).isdigit() for cell, sort in zip(first, sorts, strict=True)
        )
    return not certain


def rows_of(descriptor: int, dialect: Dialect, encoding: str = "utf-8-sig") -> Iterator[Row]:
    """All rows of a file, the header included, without empty lines. Raises csv.Error."""
    with io.TextIOWrapper(
        io.BufferedReader(_Rewound(descriptor), 1 << 20), encoding=encoding, errors="replace", newline=""
    ) as lines:
        reader = dialect.reader(lines)
        number, line = 0 if dialect.header else 1, 1
        for cells in reader:
            if cells:
                yield Row(number, line, cells)
                number += 1
            line = reader.line_num + 1  # type: ignore[attr-defined]


class _Rewound(io.RawIOBase):
    """A descriptor read from its beginning, whose own position does not move."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor, self._position = descriptor, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = os.preadv(self._descriptor, [buffer], self._position)
        self._position += count
        return count


def normalize(descriptor: int, dialect: Dialect, into: int) -> Dialect:
    """Write a file again with commas, double quotes and one kind of line break. Raises csv.Error."""
    plain = Dialect(",", '"', '"', False, dialect.header, dialect.names)
    with io.FileIO(into, "w", closefd=False) as raw, io.TextIOWrapper(raw, encoding="utf-8", newline="") as out:
        # Python before 3.13 puts quotes around those signs of line breaks alone that end its own lines.
        csv.writer(out, lineterminator="\r\n").writerows(row.cells for row in rows_of(descriptor, dialect))
    return plain


def sample_of(sample: Sample, names: Sequence[str]) -> dict[str, list[str]]:
    """The cells of each column in a sample."""
    rows = [row for row in [*sample.rows, *sample.further] if len(row) == len(names)]
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}
