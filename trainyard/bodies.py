"""What a request sends: nothing, bytes, a JSON document, a file that is read as it is sent, or a stream."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import IO, Any

__all__ = ["Body", "FileBody", "JsonBody", "NoBody", "RawBody", "StreamBody", "body_of", "json_text"]

#: Bytes that are read from a file at a time.
BLOCK = 1 << 18


def json_text(document: Any) -> str:
    """A document as JSON; values of NumPy and pandas, dates and decimals are written as what they are.

    Raises ValueError for numbers that JSON does not know.
    """
    return json.dumps(document, default=_plain, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    """A value that JSON knows, for one that it does not."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if type(value).__name__ == "Decimal":  # importing its module takes 5 ms
        return float(value)
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    if hasattr(value, "tolist"):  # an array or a scalar of NumPy, without NumPy being imported
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON")


@dataclass(frozen=True)
class NoBody:
    """Nothing is sent."""

    content_type: str | None = None
    length: int | None = 0
    replayable: bool = True

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """What http.client sends."""
        yield None


@contextmanager
def _in_memory(body: RawBody | JsonBody) -> Iterator[Any]:
    """What http.client sends."""
    yield body.data


@dataclass(frozen=True)
class RawBody:
    """Bytes as they are."""

    data: bytes
    content_type: str | None = "application/octet-stream"
    replayable: bool = True

    @property
    def length(self) -> int | None:
        """Bytes in all."""
        return len(self.data)

    opened = _in_memory


@dataclass(frozen=True)
class JsonBody:
    """A JSON document."""

    document: Any
    content_type: str | None = "application/json"
    replayable: bool = True

    @property
    def data(self) -> bytes:
        """The document as UTF-8."""
        return json_text(self.document).encode()

    @property
    def length(self) -> int | None:
        """Bytes in all, which are counted as they are sent."""
        return None

    opened = _in_memory


@dataclass(frozen=True)
class FileBody:
    """A file on disk, read block by block; raises FileNotFoundError when it is sent and does not exist."""

    path: Path
    content_type: str | None = "application/octet-stream"
    replayable: bool = True

    @property
    def length(self) -> int | None:
        """Bytes in all."""
        return self.path.stat().st_size

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """What http.client sends."""
        with self.path.open("rb") as file:
            yield file


@dataclass(frozen=True)
class StreamBody:
    """An open file or an iterable of bytes, which is sent once, in chunks."""

    stream: IO[bytes] | Iterable[bytes]
    content_type: str | None = "application/octet-stream"
    length: int | None = None
    replayable: bool = False

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """What http.client sends."""
        read = getattr(self.stream, "read", None)
        yield iter(lambda: read(BLOCK), b"") if callable(read) else iter(self.stream)


Body = NoBody | RawBody | JsonBody | FileBody | StreamBody


def body_of(value: Any) -> Body:
    """The body for a value: a path is a file, bytes go as they are, open files and generators as streams.

    Anything else is a JSON document.
    """
    if value is None:
        return NoBody()
    if isinstance(value, NoBody | RawBody | JsonBody | FileBody | StreamBody):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return RawBody(bytes(value))
    if isinstance(value, Path):
        return FileBody(value)
    if hasattr(value, "read") or isinstance(value, Iterator):
        return StreamBody(value)
    return JsonBody(value)
