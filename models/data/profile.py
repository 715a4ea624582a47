"""The profile of a table: what each column holds, and how much it says about the label. Computed in one pass.

A profile is a JSON document, one object a column:

    {"name", "type", "missing", "distinct", "use", "reason" (if it is set aside), "relation" (0 to 1; null without a
     label, and for texts),
     numbers and times: "min", "max", "mean", "std", "quantiles", "histogram": {"edges", "counts"},
     numbers of few different values: "values": [{"value", "count"}],
     categories and booleans: "levels": [{"value", "count"}], the most frequent first}

Times are ISO text, their standard deviation is in seconds.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.data.columns import Column, ColumnKind, ColumnSpec
from models.data.summary import (
    DistinctSketch,
    LevelSummary,
    NumberSummary,
    Summary,
    TextSummary,
    sorted_unique,
    summary_of,
)
from models.data.table import CHUNK, Table
from nncore.arrays import Array

__all__ = [
    "LISTED",
    "SHARES",
    "ColumnProfile",
    "Provenance",
    "TableDetails",
    "TableWarning",
    "details_of",
    "iso_time",
    "profile_documents",
    "profile_of",
    "relations_with",
]

#: The quantiles of a profile.
SHARES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
#: Different values, or levels, that a profile lists.
LISTED = 1000
#: Bins of a histogram, and the pieces that numbers are cut into to be related to the label.
BINS, PIECES = 20, 10
#: Rows, and cells of all columns together, from which relations with the label are computed.
RELATED_ROWS, RELATED_CELLS = 50_000, 5_000_000


@dataclass(frozen=True)
class TableWarning:
    """Something that a client should look at: a stable code, a sentence and, if one is meant, a column."""

    code: str
    detail: str
    column: str | None = None

    def document(self) -> dict[str, str]:
        """The warning in the API."""
        return {"code": self.code, "detail": self.detail, **({} if self.column is None else {"column": self.column})}


@dataclass(frozen=True)
class Provenance:
    """What a table's values do not show: how its file was read, and what a client should look at."""

    format: Mapping[str, Any]
    warnings: tuple[TableWarning, ...] = ()

    def document(self) -> dict[str, Any]:
        """The JSON document that ``of`` reads."""
        return {"format": dict(self.format), "warnings": [each.document() for each in self.warnings]}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Provenance:
        """The source in a document."""
        warnings = tuple(TableWarning(w["code"], w["detail"], w.get("column")) for w in document["warnings"])
        return cls(document["format"], warnings)


@dataclass(frozen=True)
class TableDetails:
    """What the database row of a table holds beside its size: all that the check of a request reads.

    ``format`` says how the file was read; ``profile`` has one document a column, in the columns' order.
    """

    label: str | None
    weight: str | None
    columns: tuple[ColumnSpec, ...]
    format: Mapping[str, Any]
    warnings: tuple[TableWarning, ...]
    profile: tuple[Mapping[str, Any], ...]

    def document(self) -> dict[str, Any]:
        """The JSON document that ``of`` reads."""
        return {
            "label": self.label,
            "weight": self.weight,
            "columns": [
                {"name": each.name, "type": each.kind, "levels": list(each.levels), "reason": each.reason}
                for each in self.columns
            ],
            "format": dict(self.format),
            "warnings": [each.document() for each in self.warnings],
            "profile": [dict(each) for each in self.profile],
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> TableDetails:
        """The details in a document."""
        return cls(
            document["label"],
            document["weight"],
            tuple(ColumnSpec(c["name"], c["type"], tuple(c["levels"]), c["reason"]) for c in document["columns"]),
            document["format"],
            tuple(TableWarning(w["code"], w["detail"], w.get("column")) for w in document["warnings"]),
            tuple(document["profile"]),
        )


class ColumnProfile:
    """The profile of one column, filled piece by piece.

    ``sample`` is the number of first rows that are kept to relate the column with the label.
    """

    def __init__(self, kind: ColumnKind, sample: int) -> None:
        self.kind = kind
        numeric = kind in ("number", "datetime")
        self.summary: Summary = NumberSummary(sampled=True) if numeric else summary_of(kind)
        self._distinct = DistinctSketch()
        self._values: tuple[Array, Array] | None = (np.empty(0), np.empty(0, np.int64))
        self._kept: list[Array] = []
        self._room = sample

    def add(self, column: Column) -> None:
        """Add the values of the column in some rows."""
        self.summary.add(column)
        if self.kind == "text":
            present = [text.encode() for text in column.values if text]
            keys = [int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") for text in present]
            self._distinct.add(np.array(keys, np.uint64))
            return
        self._keep(column.values)
        if self.kind in ("number", "datetime"):
            self._count(column.values[~column.missing()].astype(np.float64))

    def add_texts(self, lengths: Array, keys: Array) -> None:
        """Add texts by their lengths in characters, 0 if missing, and by 64-bit hashes of those that are not."""
        assert isinstance(self.summary, TextSummary)
        missing = int(np.count_nonzero(lengths == 0))
        self.summary.missing += missing
        self.summary.count += len(lengths) - missing
        self.summary.characters += int(lengths.sum())
        self._distinct.add(keys)

    def _keep(self, values: Array) -> None:
        if self._room > 0:
            self._kept.append(values[: self._room].copy())
            self._room -= len(self._kept[-1])

    def _count(self, present: Array) -> None:
        """Count the different values one by one until there are many, then all together."""
        if self._values is None or not len(present):
            self._distinct.add_numbers(present)
            return
        values, counts = _counted(present)
        known, before = self._values
        together = sorted_unique(np.concatenate([known, values]))
        if len(together) > LISTED:
            self._values = None
            self._distinct.add_numbers(together)
            return
        totals = np.zeros(len(together), np.int64)
        totals[np.searchsorted(together, known)] += before
        totals[np.searchsorted(together, values)] += counts
        self._values = together, totals

    @property
    def distinct(self) -> int:
        """The number of different values that are not missing."""
        if isinstance(self.summary, LevelSummary):
            return len(self.summary.counts)
        return self._distinct.count if self._values is None or self.kind == "text" else len(self._values[0])

    @property
    def sample(self) -> Array:
        """The values of the first rows."""
        return np.concatenate(self._kept) if self._kept else np.empty(0)

    def document(self, spec: ColumnSpec, relation: float | None = None) -> dict[str, Any]:
        """The profile; called once, after the last piece."""
        summary = self.summary
        summary.close()
        document: dict[str, Any] = {
            "name": spec.name,
            "type": spec.kind,
            "missing": summary.missing,
            "distinct": self.distinct,
            "use": spec.reason is None,
            **({} if spec.reason is None else {"reason": spec.reason}),
            "relation": relation,
        }
        if isinstance(summary, LevelSummary):
            levels = summary.counts.most_common(LISTED)
            document["levels"] = [{"value": level, "count": count} for level, count in levels]
        elif isinstance(summary, NumberSummary):
            document |= self._numbers(summary)
        return document

    def _numbers(self, summary: NumberSummary) -> dict[str, Any]:
        if not summary.count:
            return {"min": None, "max": None, "mean": None, "std": None, "quantiles": [], "histogram": None}
        show = iso_time if self.kind == "datetime" else _finite
        edges = _edges(summary.minimum, summary.maximum)
        found: dict[str, Any] = {
            "min": show(summary.minimum),
            "max": show(summary.maximum),
            "mean": show(summary.mean),
            "std": _finite(summary.deviation / (1e6 if self.kind == "datetime" else 1.0)),
            # A sketch of many numbers need not hold the smallest and the largest.
            "quantiles": [
                show(value)
                for value in (summary.minimum, *summary.quantiles(np.array(SHARES[1:-1])).tolist(), summary.maximum)
            ],
            "histogram": {
                "edges": [show(edge) for edge in edges.tolist()],
                "counts": summary.counts(edges).tolist(),
            },
        }
        if self._values is not None and self.kind == "number":
            pairs = zip(*(each.tolist() for each in self._values), strict=True)
            found["values"] = [{"value": value, "count": count} for value, count in pairs]
        return found


def _finite(number: float) -> float | None:
    """A number as JSON has it: moments of very large numbers may be infinite."""
    return float(number) if math.isfinite(number) else None


def _edges(low: float, high: float) -> Array:
    """Edges of a histogram. Halves are spread, because the difference of two numbers may be infinite."""
    edges = np.linspace(low / 2, high / 2, BINS + 1) * 2 if high > low else np.array([low, high])
    edges[0], edges[-1] = low, high
    return edges


def _counted(values: Array) -> tuple[Array, Array]:
    """The different values in order, and how often each occurs."""
    low, high = values.min(), values.max()
    # Halves, because the difference of two numbers may be infinite.
    if high / 2 - low / 2 < 2 * LISTED:
        places = (values - low).astype(np.int64)
        if np.array_equal(places + low, values):  # Whole numbers, nearly always: no need to sort them.
            counts = np.bincount(places)
            found = np.flatnonzero(counts)
            return found + low, counts[found]
    ordered = np.sort(values + 0.0)
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return ordered[starts], np.diff(np.append(starts, len(ordered)))


def iso_time(microseconds: float) -> str:
    """A time as ISO text in UTC: a date if it is midnight, else with seconds, or microseconds if there are any."""
    whole = round(microseconds)
    unit = "D" if whole % 86_400_000_000 == 0 else "s" if whole % 1_000_000 == 0 else "us"
    return str(np.datetime64(whole, "us").astype(f"datetime64[{unit}]"))


def sample_rows(columns: int) -> int:
    """Rows of a table with so many columns from which relations are computed."""
    return min(RELATED_ROWS, RELATED_CELLS // max(columns, 1))


def profile_documents(
    specs: Sequence[ColumnSpec], profiles: Sequence[ColumnProfile], label: str | None
) -> list[dict[str, Any]]:
    """The documents of all columns, related to the label if one is named."""
    codes = None
    for spec, profile in zip(specs, profiles, strict=True):
        if spec.name == label and spec.kind != "text":
            codes = _codes(spec.kind, profile.sample)
    documents = []
    for spec, profile in zip(specs, profiles, strict=True):
        relation = None
        if codes is not None and spec.kind != "text":
            relation = 1.0 if spec.name == label else _relation(_codes(spec.kind, profile.sample), codes)
        documents.append(profile.document(spec, relation))
    return documents


def relations_with(table: Table, label: str) -> dict[str, float | None]:
    """How much each column of a table says about one of them, as a profile has it; None for texts, and about a text."""
    rows, kinds = sample_rows(len(table.columns)), {spec.name: spec.kind for spec in table.columns}
    if kinds[label] == "text":
        return dict.fromkeys(kinds)

    def codes(name: str) -> Array:
        return _codes(kinds[name], table.read(name, 0, rows).values)

    labels = codes(label)
    return {
        name: None if kind == "text" else 1.0 if name == label else _relation(codes(name), labels)
        for name, kind in kinds.items()
    }


def _codes(kind: ColumnKind, values: Array) -> Array:
    """The values of the first rows as small whole numbers; 0 is missing."""
    gaps = Column(kind, values).missing()
    if kind in ("category", "boolean"):
        return np.where(gaps, 0, values.astype(np.int64) + 1)
    present = values[~gaps].astype(np.float64)
    if not len(present):
        return np.zeros(len(values), np.int64)
    different = sorted_unique(present)
    if len(different) > 50:
        different = sorted_unique(np.quantile(present, np.arange(1, PIECES) / PIECES))
        return np.where(gaps, 0, np.searchsorted(different, values, "right") + 1)
    return np.where(gaps, 0, np.searchsorted(different, values) + 1)


def _relation(codes: Array, label: Array) -> float:
    """Mutual information as a share of the label's entropy, less what chance alone would give (Miller 1955)."""
    rows = len(label)
    if len(codes) != rows or not rows:
        return 0.0
    width = int(label.max()) + 1
    joint, marginal, classes = (
        _tally(codes * width + label),
        _tally(codes),
        _tally(label),
    )
    entropy = _entropy(classes, rows)
    if entropy <= 0:
        return 0.0
    information = _entropy(marginal, rows) + entropy - _entropy(joint, rows)
    chance = (len(marginal) - 1) * (len(classes) - 1) / (2 * rows)
    return float(min(max((information - chance) / entropy, 0.0), 1.0))


def _tally(codes: Array) -> Array:
    return _counted(codes.astype(np.float64))[1]


def _entropy(counts: Array, rows: int) -> float:
    shares = counts / rows
    return float(-(shares * np.log(shares)).sum())


def profile_of(table: Table) -> list[dict[str, Any]]:
    """The profile of a whole table, read in pieces."""
    profiles = []
    for spec in table.columns:
        profile = ColumnProfile(spec.kind, sample_rows(len(table.columns)))
        for start in range(0, table.rows, CHUNK):
            profile.add(table.read(spec.name, start, start + CHUNK))
        profiles.append(profile)
    return profile_documents(table.columns, profiles, table.label)


def details_of(table: Table, source: Provenance) -> TableDetails:
    """What the database row of a table holds, computed from its values."""
    profile = tuple(profile_of(table))
    return TableDetails(table.label, table.weight, tuple(table.columns), source.format, source.warnings, profile)
