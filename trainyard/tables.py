"""Tables in this process: frames, arrays, lists of rows. What NumPy and pandas have is found without importing them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["as_file", "as_lists", "as_matrix", "is_frame", "named_columns", "plain", "records"]

#: Endings of files that the service reads.
ENDINGS = re.compile(r"\.(csv|tsv|txt|dat|data|parquet|pq|ndjson|jsonl|json)(\.(gz|gzip|zst|zstd))?$", re.IGNORECASE)


def as_file(data: Any) -> Path | None:
    """The file that ``data`` names: a ``Path``, or a text with a separator or the ending of a table.

    None if it names none. Raises FileNotFoundError if there is no such file.
    """
    if isinstance(data, str) and not (ENDINGS.search(data) or "/" in data or os.sep in data):
        return None
    if not isinstance(data, str | os.PathLike):
        return None
    path = Path(data)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r} in {Path.cwd()}")
    return path


def is_frame(data: Any) -> bool:
    """Whether it is a table with named columns, as pandas has them."""
    return hasattr(data, "columns") and hasattr(data, "dtypes") and hasattr(data, "itertuples")


def plain(value: Any) -> Any:
    """A cell as JSON has it; what is missing (None, NaN, NaT, NA) becomes None."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if not isinstance(value, float) and hasattr(value, "item"):  # a scalar of NumPy
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else _not_finite(value)
    if type(value).__name__ in ("NaTType", "NAType"):
        return None
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return str(value)


def _not_finite(value: float) -> None:
    if not math.isnan(value):
        raise ValueError(f"numbers must be finite. Received: {value}")


def named_columns(frame: Any) -> list[str]:
    """The names of a frame's columns as texts; raises ValueError if one is there twice."""
    names = [str(name) for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise ValueError(
            f"each column must have a name of its own. There more than once: {', '.join(map(repr, twice))}"
        )
    return names


def as_lists(frame: Any) -> Iterator[list[Any]]:
    """The rows of a frame."""
    for row in frame.itertuples(index=False, name=None):
        yield [plain(value) for value in row]


def as_matrix(data: Any) -> list[list[Any]]:
    """Rows of numbers, from an array or a list of lists; one row may be flat."""
    rows = data.tolist() if hasattr(data, "tolist") else list(data)
    if rows and not isinstance(rows[0], Sequence | Iterable):
        rows = [rows]
    return [[plain(value) for value in row] for row in rows]


def records(data: Any) -> Iterator[Mapping[str, Any]]:
    """The rows of a table as objects: of a frame, of a list of objects, of lists by column, or of ``(X, y)``.

    The columns of an array are ``x1``, ``x2`` and so on, and its labels are the column ``label``. Raises TypeError for
    anything else, and ValueError if ``X`` and ``y`` differ in length.
    """
    if is_frame(data):
        names = named_columns(data)
        return (dict(zip(names, row, strict=True)) for row in as_lists(data))
    if isinstance(data, Mapping):
        names = [str(name) for name in data]
        return (dict(zip(names, map(plain, row), strict=True)) for row in zip(*data.values(), strict=True))
    if isinstance(data, tuple) and len(data) == 2:
        return _labelled(*data)
    if isinstance(data, Sequence) and data and all(isinstance(row, Mapping) for row in data):
        return ({str(name): plain(value) for name, value in row.items()} for row in data)
    raise TypeError(
        "rows must be a file's path, the name of a dataset, a frame, a list of objects, or (X, y). "
        f"Received: {type(data).__name__}"
    )


def _labelled(x: Any, y: Any) -> Iterator[Mapping[str, Any]]:
    labels = [plain(label) for label in (y.tolist() if hasattr(y, "tolist") else y)]
    if is_frame(x):
        names, rows = named_columns(x), list(as_lists(x))
    else:
        rows = as_matrix(x)
        names = [f"x{place}" for place in range(1, 1 + max(map(len, rows), default=0))]
    if len(rows) != len(labels):
        raise ValueError(f"X and y must have as many rows. Received: {len(rows):,} and {len(labels):,}")
    label = label_name(x, y)
    return ({**dict(zip(names, row, strict=True)), label: value} for row, value in zip(rows, labels, strict=True))


def label_name(x: Any, y: Any) -> str:
    """The name of the column of labels of ``(X, y)``: that of a series, or ``label``; no column of X has it."""
    name = str(getattr(y, "name", None) or "label")
    taken = set(named_columns(x)) if is_frame(x) else set[str]()
    while name in taken:
        name += "_"
    return name
