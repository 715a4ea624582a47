"""Requests for predictions, from whatever form the rows have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from trainyard import tables
from trainyard.predicted_files import of_file
from trainyard.predictions import Prediction, joined

if TYPE_CHECKING:
    from trainyard.client import Trainyard

__all__ = ["predict"]

#: Values in one request at most; more rows are sent in several.
VALUES = 200_000


def predict(client: Trainyard, model: str, data: Any, version: Any, options: Mapping[str, Any]) -> Prediction:
    """The classes of rows."""
    path = tables.as_file(data)
    if path is not None:
        return of_file(client, model, path, version, options)
    shared = {"model": model, **{name: value for name, value in options.items() if value is not None}}
    parts: list[Prediction] = []
    answering = version
    for piece in _pieces(data, lambda: _columns(client, model, version)):
        document = {**shared, **piece, **({} if answering is None else {"version": answering})}
        parts.append(Prediction.of(client.request("POST", "/predict", document).json()))
        # A version or checkpoint that comes meanwhile does not answer the rest.
        answering = parts[-1].checkpoint if parts[-1].version is None else parts[-1].version
    return joined(parts)


def _pieces(data: Any, names: Callable[[], list[str]]) -> Iterator[dict[str, Any]]:
    """The members of each request: ``rows``, ``columns`` and ``rows``, or ``inputs``."""
    if isinstance(data, Mapping):
        data = [data]
    if tables.is_frame(data):
        columns = tables.named_columns(data)
        for rows in _batches(tables.as_lists(data), len(columns)):
            yield {"columns": columns, "rows": rows}
    elif isinstance(data, Sequence) and data and all(isinstance(row, Mapping) for row in data):
        for rows in _batches(iter(tables.records(data)), len(data[0])):
            yield {"rows": [dict(row) for row in rows]}
    else:
        matrix = tables.as_matrix(data)
        width = len(matrix[0]) if matrix else 1
        # Only rows with names may have gaps.
        named = {"columns": names()} if any(None in row for row in matrix) else {}
        for rows in _batches(iter(matrix), width):
            yield {**named, "rows" if named else "inputs": rows}


def _batches(rows: Iterator[Any], width: int) -> Iterator[list[Any]]:
    """Lists of rows with about ``VALUES`` values each; one that is empty if there are no rows."""
    size = max(1, VALUES // max(1, width))
    batch = list(islice(rows, size))
    while True:
        following = list(islice(rows, size))
        yield batch
        if not following:
            return
        batch = following


def _columns(client: Trainyard, model: str, version: Any) -> list[str]:
    """The columns that a version reads, in their order; raises ValueError if it reads plain numbers."""
    is_one = isinstance(version, int) or (isinstance(version, str) and not version.startswith("ckpt_"))
    features = client.model(model).version(version if is_one else "default").features
    if not isinstance(features, tuple):
        raise ValueError(f"rows must have no gaps: the model {model!r} reads plain numbers")  # noqa: TRY004
    return [str(feature["column"]) for feature in features if feature.get("type") != "ignore"]
