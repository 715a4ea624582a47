"""Matrices as NumPy stores them: requests and answers of the type ``application/x-npy``.

The format is that of ``numpy.save`` (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
"""

from __future__ import annotations

import io
import math
from functools import lru_cache
from tokenize import TokenError
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs

import numpy as np
from numpy.lib import format as npy_format

from models.data.rows import Array
from models.errors import InvalidError, MalformedError, unknown_field
from models.registry import versions
from models.registry.traffic import require_sticky
from models.registry.versions import Wanted
from models.serving.given_matrix import matrix_rows
from models.serving.served_model import ServedModel
from service.serving.inference import Prediction
from service.serving.resolution import ServedVersion
from service.web.json_bodies import json_line
from service.web.predictions import plain_document
from service.web.protocols.exchange import Exchange, Reply, version_header

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

__all__ = ["NPY", "NpyExchange", "accepts_npy", "is_npy", "npy_array", "npy_reply"]

NPY = "application/x-npy"
#: Bytes of a header that is remembered. Those of matrices have 118.
_HEADER_BYTES = 256
_FIELDS = ("model", "version", "sticky")


class _Header(NamedTuple):
    """What stands before the numbers, and how many bytes it takes."""

    shape: tuple[int, ...]
    columns_first: bool
    dtype: np.dtype[np.generic]
    size: int


class NpyExchange(Exchange):
    """A matrix in the body, and in the query which model predicts it."""

    def __init__(self, environ: WSGIEnvironment, body: bytes) -> None:
        self.model, self.wanted, self.sticky = _named(environ.get("QUERY_STRING", ""))
        self._numbers = npy_array(body)
        self._as_npy = accepts_npy(environ, default=True)

    @property
    def count(self) -> int:
        return len(self._numbers)

    def rows(self, network: ServedModel) -> Array:
        return matrix_rows(network, self._numbers, "")

    def reply(self, version: ServedVersion, prediction: Prediction) -> Reply:
        return npy_reply(prediction) if self._as_npy else Reply(json_line(plain_document(prediction)))


def is_npy(content_type: str) -> bool:
    """Whether a body with this content type is read as a stored array."""
    return content_type == NPY or content_type.partition(";")[0].strip().lower() == NPY


def accepts_npy(environ: WSGIEnvironment, *, default: bool = False) -> bool:
    """Whether the answer is to be an array; ``default`` holds if the request accepts anything."""
    accepted = environ.get("HTTP_ACCEPT", "*/*")
    if accepted == "*/*":
        return default
    kinds = {kind.partition(";")[0].strip().lower() for kind in accepted.split(",")}
    return NPY in kinds or (default and "*/*" in kinds and "application/json" not in kinds)


def npy_reply(prediction: Prediction) -> Reply:
    """Probabilities (n_rows, n_classes) as a stored array; a header names the version that answered."""
    out = io.BytesIO()
    npy_format.write_array(out, np.ascontiguousarray(prediction.probabilities), (1, 0), allow_pickle=False)
    return Reply(out.getvalue(), NPY, version_header(prediction))


def npy_array(body: bytes) -> Array:
    """The matrix of numbers in a body; a vector is one row. Raises MalformedError or InvalidError."""
    shape, columns_first, dtype, size = _header(body)
    if dtype.kind not in "fiu":
        raise InvalidError.at("", f"must be an array of real numbers. Received: an array of {dtype}")
    if len(shape) not in (1, 2) or not all(shape):
        raise InvalidError.at("", f"must be a matrix (rows, columns), or a vector of one row. Received: {shape}")
    count = math.prod(shape)
    if len(body) - size != count * dtype.itemsize:
        detail = f"an array of {dtype} and the shape {shape} has {count * dtype.itemsize} bytes"
        raise MalformedError("invalid_body", f"{detail} after its header. Received: {len(body) - size}")
    numbers = np.frombuffer(body, dtype, count, size)
    if len(shape) == 1:
        return numbers.reshape(1, -1)
    return numbers.reshape(shape[::-1]).T if columns_first else numbers.reshape(shape)


def _header(body: bytes) -> _Header:
    begin = bytes(body[:10])
    length = int.from_bytes(begin[8:10], "little")
    if begin[:8] == b"\x93NUMPY\x01\x00" and length <= _HEADER_BYTES:
        return _parsed(bytes(body[: 10 + length]))
    return _parsed.__wrapped__(bytes(body[: 2**16]))


@lru_cache(maxsize=256)
def _parsed(beginning: bytes) -> _Header:
    """The header at the beginning of an array's file; reading it takes as long as a prediction."""
    file = io.BytesIO(beginning)
    try:
        if npy_format.read_magic(file) == (1, 0):
            shape, columns_first, dtype = npy_format.read_array_header_1_0(file)
        else:
            shape, columns_first, dtype = npy_format.read_array_header_2_0(file)
    except (ValueError, TypeError, KeyError, SyntaxError, TokenError, RecursionError, MemoryError) as error:
        detail = f"the body must be an array as numpy.save writes it: {str(error)[:200]}"
        raise MalformedError("invalid_body", detail) from None
    return _Header(shape, columns_first, dtype, file.tell())


@lru_cache(maxsize=256)
def _named(query: str) -> tuple[str, Wanted, str | None]:
    """Model, version and what is sticky, as the query names them; raises InvalidError."""
    given = parse_qs(query, keep_blank_values=True)
    for name, values in given.items():
        if name not in _FIELDS:
            raise InvalidError.at(f"/{name}", unknown_field(name, _FIELDS))
        if len(values) > 1:
            raise InvalidError.at(f"/{name}", "must be given once")
    if "model" not in given:
        raise InvalidError.at("/model", "must be a model's name, as in /predict?model=NAME. Received: none")

    wanted = given["version"][0] if "version" in given else None
    number = int(wanted) if wanted is not None and wanted.isdecimal() and len(wanted) < 10 else wanted
    return given["model"][0], versions.require_version_form(number), require_sticky(given.get("sticky", [None])[0])
