"""A file read into typed columns: recognized, decoded, and passed through DuckDB into the exchange."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from models.data.columns import ColumnSpec
from models.data.limits import ANY_SIZE, MAXIMUM_COLUMNS, TableSize, class_fault, too_long
from models.data.profile import TableDetails, TableWarning, profile_documents
from models.errors import InvalidError, Problem, file_problem, file_problems, shortened
from models.reading.blocks import Blocks
from models.reading.content import Content, compression_of, gunzip, type_of
from models.reading.dialect import ONE_LINE, Dialect, dialect_of, normalize, rows_of, sample_of
from models.reading.encoding import encoding_of, is_utf8, mark_of, transcode
from models.reading.faults import bad_cells, bad_lines, bad_rows
from models.reading.options import ReadOptions
from models.reading.passes import BadCellsError, Passes, native_plans
from models.reading.scan import Engine, Source, csv_source, json_source, parquet_source, select
from models.reading.sinks import FAULTS, Finished
from models.reading.types import Plan, Reading, plan_of_words
from models.reading.zstd import unzstd

__all__ = ["Files", "read_table"]

#: Different numbers of a label beyond which they are numbers to estimate.
_LABEL_NUMBERS = 50
#: Why a file may lack a name that it has.
_HEADLESS = "; the first row looks like data, header=true makes it the columns' names"


@dataclass(frozen=True)
class Files:
    """Descriptors of open files: the upload, two empty ones for text that has to be rewritten, and the exchange."""

    upload: int
    scratches: tuple[int, int]
    exchange: int


def read_table(
    engine: Engine, files: Files, options: ReadOptions, limit: int, size: TableSize = ANY_SIZE
) -> dict[str, Any]:
    """Read a file; the document of ``ReadTable``. ``limit`` is the most bytes that it may have when it is unpacked.

    ``size`` is the most rows and columns. Raises InvalidError with all faults together, and ExchangeError.
    """
    engine.allow([path_of(each) for each in (files.upload, *files.scratches)])
    return _Reader(engine, files, options, limit, size).read()


def path_of(descriptor: int) -> str:
    """The path by which DuckDB opens a file that is open already."""
    return f"/proc/self/fd/{descriptor}"


class _Reader:
    """One file being read; ``file`` is the descriptor of its present form."""

    def __init__(self, engine: Engine, files: Files, options: ReadOptions, limit: int, size: TableSize) -> None:
        self.engine, self.options, self.limit, self.size = engine, options, limit, size
        self.blocks = Blocks(files.exchange)
        self.file = files.upload
        self._free = list(files.scratches)
        self.warnings: list[TableWarning] = []
        self.format: dict[str, Any] = {}
        self.dialect: Dialect | None = None
        self._normal = False

    def read(self) -> dict[str, Any]:
        content = self._unpacked()
        self.format = {"type": content.type}
        if content.type == "parquet":
            found = self._typed(lambda: parquet_source(self.engine, path_of(self.file)))
        else:
            self.format["encoding"] = self._decoded()
            if content.type == "csv":
                found = self._csv()
            else:
                array = content.type == "json"
                found = self._typed(lambda: json_source(self.engine, path_of(self.file), array=array))
        if content.compression is not None:
            self.format["compression"] = content.compression
        return found

    # What the file is.

    def _rewritten(self) -> int:
        """An empty file to write the text to again, which is read from then on."""
        if not self._free:
            raise file_problem("must be CSV, Parquet, NDJSON or a JSON array that can be read in three steps")
        return self._free.pop(0)

    def _unpacked(self) -> Content:
        head = os.pread(self.file, 4096, 0)
        compression = compression_of(head)
        if compression is not None:
            into = self._rewritten()
            if compression == "gzip":
                gunzip(self.file, into, self.limit)
            else:
                unzstd(self.engine, path_of(self.file), into, self.limit)
            self.file = into
            head = os.pread(self.file, 4096, 0)
            if compression_of(head) is not None:
                raise file_problem("must be compressed once. Received: a compressed file inside of another")
        if not head:
            raise file_problem("must begin with a row of column names. Received: nothing")
        return Content(type_of(head), compression)

    def _decoded(self) -> str:
        """Turn text into UTF-8 if its beginning shows another encoding. Returns the encoding."""
        mark = mark_of(os.pread(self.file, 4096, 0))
        encoding = self.options.encoding or mark or "utf-8"
        if mark == "utf-16" and encoding.startswith("utf-16"):
            encoding = "utf-16"
        if encoding not in ("utf-8", "utf-8-sig", "ascii"):
            self._transcode(encoding)
        elif self.options.encoding is None:
            sample = os.pread(self.file, 1 << 20, 0)
            try:
                (sample[: sample.rfind(b"\n") + 1] if len(sample) == 1 << 20 else sample).decode()
            except UnicodeDecodeError as error:
                encoding = encoding_of(self.file, error.start)
                self._transcode(encoding)
        return _shown(encoding)

    def _transcode(self, encoding: str) -> None:
        into = self._rewritten()
        transcode(self.file, into, encoding, self.limit)
        self.file = into

    # Files that have types.

    def _typed(self, opened: Callable[[], Source]) -> dict[str, Any]:
        try:
            source = opened()
            names = tuple(name.strip() or f"column_{place + 1}" for place, name in enumerate(source.names))
            source = replace(source, names=names)
            self._check_columns(source)
            reading = Reading.of(self.options, {}, ",")
            plans = native_plans(self.engine, source, reading)
            return self._table(Passes(self.engine, source, plans, reading, self.blocks, self.size))
        except duckdb.Error as error:
            raise self._refusal(error) from error
        except BadCellsError as error:
            raise self._located(error, source) from None

    def _check_columns(self, source: Source) -> None:
        """Raise InvalidError for repeated names, nested values, and options that name no column."""
        self._check_names(source.names)
        problems = []
        repeated = {name for name, count in Counter(source.names).items() if count > 1}
        for name, kind in dict(zip(source.names, source.types, strict=True)).items():
            if name in repeated:
                problems.append(Problem("", "every column must have a unique name. Received: it twice", 0, name))
            if _is_nested(kind):
                detail = f"must hold numbers, words, times or booleans. Received: {kind[:80]}, which is nested"
                problems.append(Problem("", detail, None, name))
        if problems:
            raise file_problems(problems)

    def _check_names(self, names: tuple[str, ...]) -> None:
        """Raise InvalidError for too many or too few columns, long names, and options that name no column."""
        self.size.require(0, len(names))
        if len(names) > MAXIMUM_COLUMNS:
            raise file_problem(f"must have at most {MAXIMUM_COLUMNS} columns. Received: {len(names)}", 0)
        # Without being stored, a column may have the name of a model that is older than the limit.
        long = {} if self.options.alone else {name: wrong for name in names if (wrong := too_long(name))}
        problems = [Problem("", f"a column's name {wrong}", 0, name) for name, wrong in long.items()]
        headless = self.dialect is not None and not self.dialect.header and self.options.header is None
        faults = self.options.faults_of_names(names, _HEADLESS if headless else "")
        problems += [*faults.problems, *self._too_few(names)]
        if problems:
            raise file_problems(problems, len(problems) - len(faults.problems) + faults.total)

    def _too_few(self, names: tuple[str, ...]) -> list[Problem]:
        left = [name for name in names if name not in (self.options.label, self.options.weight, *self.options.ignore)]
        if left and (len(names) > 1 or self.options.alone):
            return []
        return [Problem("", "must have at least one column beside the label and the weight. Received: none", 0)]

    # CSV.

    def _csv(self) -> dict[str, Any]:
        self.dialect, sample = dialect_of(self.file, self.options)
        names = self.dialect.names
        self._check_names(names)
        if not sample.rows:
            raise file_problem(f"must hold at least one row below the header. Received: {ONE_LINE}")
        described = {name: getattr(self.dialect, name) for name in ("delimiter", "quote", "header")}
        if self.dialect.spaced:
            self._normalize()
        cells = sample_of(sample, names)
        reading = Reading.of(self.options, cells, described["delimiter"])
        plans = {
            name: plan_of_words(cells[name], name, reading, whole=sample.whole, rows=len(sample.rows)) for name in names
        }
        self.format |= {**described, **_signs(plans, cells)}
        short = self.dialect.header and self._header_width() < len(names)
        if not self.dialect.header and self.options.header is None:
            detail = "the first row looks like the others, so it is data; header=true makes it the columns' names"
            self.warnings.append(TableWarning("no_header", detail))
        while True:
            source = csv_source(path_of(self.file), self.dialect, short_header=short)
            try:
                native: dict[str, tuple[Plan, str | None]] = {name: (plan, None) for name, plan in plans.items()}
                passes = Passes(self.engine, source, native, reading, self.blocks, self.size)
                return self._table(passes)
            except duckdb.Error as error:
                if self._repaired(error):
                    return self._csv()
                short = False
            except BadCellsError as error:
                raise self._located(error, source) from None

    def _header_width(self) -> int:
        assert self.dialect is not None
        with suppress(csv.Error):
            return next((len(row.cells) for row in rows_of(self.file, self.dialect)), 0)
        return len(self.dialect.names)

    def _normalize(self) -> None:
        """Write the text again in the plainest dialect. Raises InvalidError for rows of another width."""
        assert self.dialect is not None
        fault = bad_rows(self.file, self.dialect, len(self.dialect.names))
        if fault is not None:
            raise fault
        into = self._rewritten()
        self.dialect = normalize(self.file, self.dialect, into)
        self.file, self._normal = into, True

    def _repaired(self, error: duckdb.Error) -> bool:
        """Make a text readable that DuckDB refused; True if it has to be looked at anew.

        Raises InvalidError if that is impossible.
        """
        bad = None if self._normal else is_utf8(self.file)
        if bad is not None and self.options.encoding is None and self._free:
            encoding = encoding_of(self.file, bad)
            self._transcode(encoding)
            self.format["encoding"] = _shown(encoding)
            self.warnings.clear()
            return True
        if bad is not None:
            raise file_problem(f"must be UTF-8; encoding=… names another one. Received: a byte at {bad} that is not")
        if self._normal or not self._free:
            raise self._refusal(error) from error
        self._normalize()
        return False

    # The table.

    def _table(self, passes: Passes) -> dict[str, Any]:
        finished = passes.run()
        label = self.options.label
        if not passes.rows:
            if passes.left_out:
                raise file_problem("must be a label in at least one row. Received: none", None, label)
            raise file_problem("must hold at least one row below the header. Received: none")
        if label is not None:
            self._check_label(label, finished[label], passes)
        columns = list(finished.items())
        order = list(passes.plans)
        columns.sort(key=lambda pair: order.index(pair[0]))
        specs = [self._spec(each.spec) for _, each in columns]
        self._warn(passes, specs)
        profile = profile_documents(specs, [each.profile for _, each in columns], label)
        weights = [each for each in profile if each["name"] == self.options.weight]
        if weights and not weights[0]["max"]:
            raise file_problem("must not be 0 in every row", None, self.options.weight)
        details = TableDetails(
            label, self.options.weight, tuple(specs), self.format, tuple(self.warnings), tuple(profile)
        )
        arrays = [[array.document() for array in each.arrays] for _, each in columns]
        return {"rows": passes.rows, "details": details.document(), "arrays": arrays}

    def _spec(self, spec: ColumnSpec) -> ColumnSpec:
        """A column as the options have it."""
        if spec.name in self.options.ignore:
            return replace(spec, reason="as asked")
        wanted = spec.name in (self.options.label, self.options.weight) or spec.name in self.options.types
        return replace(spec, reason=None) if wanted else spec

    def _check_label(self, name: str, label: Finished, passes: Passes) -> None:
        different = label.profile.distinct
        if label.spec.kind == "number" and different > _LABEL_NUMBERS:
            detail = f"has numbers to estimate, not classes; types={shortened(name)}:category makes each number a class"
            raise file_problem(f"{detail}. Received: {different} different numbers", None, name)
        if label.spec.kind == "text":
            raise file_problem(f"must hold classes. Received: {different} different texts", None, name)
        fault = class_fault(label.spec.levels)
        if fault is not None:
            raise file_problem(fault[1], None, name)
        if different < 2:
            raise file_problem("must hold at least two different classes. Received: one", None, name)
        if passes.left_out:
            rows = (
                "1 row has no label and is"
                if passes.left_out == 1
                else f"{passes.left_out:,} rows have no label and are"
            )
            self.warnings.append(TableWarning("rows_without_label", f"{rows} left out", name))

    def _warn(self, passes: Passes, specs: list[ColumnSpec]) -> None:
        for spec in specs:
            if spec.reason is not None and spec.name not in self.options.ignore:
                self.warnings.append(TableWarning("column_set_aside", f"is not used: {spec.reason}", spec.name))
        for name, plan in passes.plans.items():
            if plan.mixed and plan.kind in ("category", "text") and name != self.options.label:
                detail = f"holds numbers and words, and is taken as words; types={name}:number lists what is no number"
                self.warnings.append(TableWarning("mixed_column", detail, name))
            if plan.ambiguous and plan.kind == "datetime" and plan.date is not None:
                detail = (
                    f"days and months may be swapped; they are read as {plan.date.name}, and dates=… says otherwise"
                )
                self.warnings.append(TableWarning("ambiguous_dates", detail, name))

    # Faults.

    def _located(self, error: BadCellsError, source: Source) -> InvalidError:
        """The fault for bad cells, with their lines and what they hold."""
        wanted = sorted({row for bad, _ in error.cells.values() for row in bad.rows})[: FAULTS * len(error.cells)]
        texts: dict[str, dict[int, str]] = {name: {} for name in error.cells}
        lines: dict[int, int] = {}
        if self.dialect is not None:
            self._find_cells(wanted, source.names, texts, lines)
        else:
            for row in wanted[:FAULTS]:
                cells = [f"c{source.names.index(name)}::VARCHAR" for name in texts]
                found = self.engine.rows(f"{select(source, cells, 1)} OFFSET {row}")
                for name, cell in zip(texts, found[0] if found else (), strict=False):
                    texts[name][row] = cell or ""
                if self.format["type"] == "ndjson":
                    lines[row] = row + 1
        return bad_cells(error.cells, texts, lines)

    def _find_cells(
        self, wanted: list[int], names: tuple[str, ...], texts: dict[str, dict[int, str]], lines: dict[int, int]
    ) -> None:
        assert self.dialect is not None
        rows, last = set(wanted), max(wanted)
        with suppress(csv.Error):
            for number, line, cells in rows_of(self.file, self.dialect):
                if number - 1 in rows:
                    lines[number - 1] = line
                    for name, found in texts.items():
                        place = names.index(name)
                        found[number - 1] = cells[place] if place < len(cells) else ""
                if number - 1 >= last:
                    return

    def _refusal(self, error: Exception) -> InvalidError:
        """The error for what DuckDB does not read."""
        if self.format.get("type") == "ndjson":
            found = bad_lines(self.file)
            if found is not None:
                return found
        text = str(error).partition("\n")[0].replace(path_of(self.file), "the file")
        return file_problem(f"cannot be read as {self.format.get('type')}: {text[:300]}")


def _shown(encoding: str) -> str:
    return {"utf-8-sig": "utf-8", "ascii": "utf-8"}.get(encoding, encoding.replace("_", "-"))


def _is_nested(kind: str) -> bool:
    nested = ("STRUCT", "MAP", "UNION", "LIST", "BLOB", "BIT", "VARIANT", "GEOMETRY")
    return kind.endswith("]") or kind.startswith(nested)


def _signs(plans: Mapping[str, Plan], cells: Mapping[str, list[str]]) -> dict[str, Any]:
    """The signs of numbers and the orders of dates, as they were found."""
    found: dict[str, Any] = {"decimal": "."}
    dates = []
    for name, plan in plans.items():
        form = plan.number
        if form is not None and not form.plain:
            if form.decimal == ",":
                found["decimal"] = ","
            if form.thousands and any(form.thousands in cell for cell in cells[name]):
                found["thousands"] = form.thousands
        if plan.date is not None and plan.date.name not in dates:
            dates.append(plan.date.name)
    if dates:
        found["dates"] = dates[0] if len(dates) == 1 else dates
    return found
