"""What a file holds, found by its content and not by its name; and compressed files unpacked."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from typing import Literal, NamedTuple

from models.errors import InvalidError, file_problem

__all__ = ["Compression", "Content", "ContentType", "chunks_of", "compression_of", "gunzip", "type_of", "write_all"]

ContentType = Literal["csv", "json", "ndjson", "parquet"]
Compression = Literal["gzip", "zstd"]

_CHUNK = 1 << 20
#: What other files begin with, which people send by mistake.
_STRANGERS = {
    b"PK\x03\x04": "a ZIP archive or an Excel file; save the table as CSV or Parquet",
    b"\xd0\xcf\x11\xe0": "an old Excel file; save the table as CSV or Parquet",
    b"\x89HDF": "an HDF5 file; save the table as CSV or Parquet",
    b"%PDF": "a PDF",
    b"SQLite format 3": "an SQLite database",
    b"ARROW1": "an Arrow file; save the table as Parquet",
    b"ORC": "an ORC file; save the table as Parquet",
    b"BZh": "compressed by bzip2; use gzip or zstd",
    b"\xfd7zXZ": "compressed by xz; use gzip or zstd",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
    b"<?xml": "XML",
}


class Content(NamedTuple):
    """The type of a file, and how it was compressed."""

    type: ContentType
    compression: Compression | None


def chunks_of(descriptor: int) -> Iterator[bytes]:
    """The bytes of a file from its beginning, in pieces."""
    position = 0
    while chunk := os.pread(descriptor, _CHUNK, position):
        yield chunk
        position += len(chunk)


def write_all(descriptor: int, content: bytes | memoryview) -> None:
    """Write all of ``content``, however often the system takes a part of it."""
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def compression_of(head: bytes) -> Compression | None:
    """How a file that begins with ``head`` is compressed."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    return "zstd" if head.startswith(b"\x28\xb5\x2f\xfd") else None


def type_of(head: bytes) -> ContentType:
    """What a file that begins with ``head`` holds. Raises InvalidError for formats that are not read."""
    if head.startswith(b"PAR1"):
        return "parquet"
    for beginning, what in _STRANGERS.items():
        if head.startswith(beginning):
            raise file_problem(f"must be CSV, Parquet, NDJSON or a JSON array of objects. Received: {what}")
    text = head.removeprefix(b"\xef\xbb\xbf").replace(b"\0", b"").removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff")
    if re.match(rb"\s*\[\s*([{\]\[]|$)", text):
        return "json"
    return "ndjson" if re.match(rb'\s*\{\s*("|\}|$)', text) else "csv"


def gunzip(upload: int, into: int, limit: int) -> None:
    """Unpack a gzip file of one or more members. Raises InvalidError if it is damaged or exceeds ``limit`` bytes."""
    written, machine, fresh = 0, zlib.decompressobj(31), True
    try:
        for chunk in chunks_of(upload):
            rest = chunk
            while rest:
                if machine.eof:
                    if not rest.strip(b"\0"):  # Padding behind the last member.
                        rest = b""
                        break
                    machine, fresh = zlib.decompressobj(31), True
                content = machine.decompress(rest, _CHUNK)
                fresh = False
                written += len(content)
                if written > limit:
                    raise too_large(limit)
                write_all(into, content)
                rest = machine.unused_data if machine.eof else machine.unconsumed_tail
            while not machine.eof and (content := machine.decompress(machine.unconsumed_tail, _CHUNK)):
                written += len(content)
                if written > limit:
                    raise too_large(limit)
                write_all(into, content)
    except zlib.error as error:
        raise file_problem(f"must be a whole gzip file. Received: a damaged one ({error})") from None
    if not machine.eof or fresh:
        raise file_problem("must be a whole gzip file. Received: the beginning of one")


def too_large(limit: int) -> InvalidError:
    """The error for a file that is too large when it is unpacked."""
    return file_problem(f"must have at most {limit} bytes when it is unpacked. Received: more")
