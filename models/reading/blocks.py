"""The values of columns in a file, block by block, as they come; the exchange between two processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.reading.content import write_all
from nncore.arrays import Array

__all__ = ["Blocks", "ExchangeError", "StoredArray"]


class ExchangeError(Exception):
    """The exchange could not be written; ``errno`` says why."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.errno = error.errno


@dataclass
class StoredArray:
    """An array of one dimension: its type and where its pieces lie in the file, as (offset, bytes)."""

    dtype: str
    spans: list[tuple[int, int]] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"dtype": self.dtype, "spans": self.spans}


class Blocks:
    """The file, appended to."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._end = descriptor, 0

    def add(self, array: StoredArray, values: Array) -> None:
        """Append values to an array."""
        if not len(values):
            return
        content = np.ascontiguousarray(values).view(np.uint8).data
        try:
            write_all(self._descriptor, content)
        except OSError as error:
            raise ExchangeError(error) from error
        if array.spans and sum(array.spans[-1]) == self._end:
            start, length = array.spans[-1]
            array.spans[-1] = (start, length + content.nbytes)
        else:
            array.spans.append((self._end, content.nbytes))
        self._end += content.nbytes

    def read(self, array: StoredArray) -> Iterator[Array]:
        """The values of an array again, in pieces."""
        for start, length in array.spans:
            content = bytearray(length)
            view, done = memoryview(content), 0
            while done < length:
                count = os.preadv(self._descriptor, [view[done:]], start + done)
                if not count:
                    raise ExchangeError(OSError(5, "the exchange is cut short"))
                done += count
            yield np.frombuffer(content, array.dtype)
