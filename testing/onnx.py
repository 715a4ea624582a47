"""What ONNX Runtime answers with an exported file."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime

from models.data.columns import Column
from models.data.conversion import coerce
from models.data.table import MemoryTable
from models.features.features import Feature
from nncore.arrays import Array

__all__ = ["answer_of", "feed_of", "feeds_of", "session_of"]


def session_of(content: bytes) -> Any:
    """A session of ONNX Runtime on one thread, which loads nothing but ``content``."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def answer_of(content: bytes, feeds: dict[str, Array]) -> dict[str, Array]:
    """All outputs by name."""
    session = session_of(content)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def feed_of(column: Column) -> Array:
    """A column (rows, 1) in the form in which an exported file reads it, as docs/export.md says."""
    match column.kind:
        case "number":
            return column.values.astype(np.float64)[:, None]
        case "category":
            return np.array([*column.levels, ""], object)[column.values][:, None]
    return column.values.astype(np.int64)[:, None]


def feeds_of(features: list[Feature], table: MemoryTable) -> dict[str, Array]:
    """What a file reads of a table, by input."""
    return {feature.column: feed_of(coerce(table.read(feature.column), feature.reads)) for feature in features}
