"""Request bodies: decompressed, and limited in size."""

from __future__ import annotations

import io
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import IO, Any

from flask import g, request
from werkzeug.exceptions import RequestEntityTooLarge

from models.errors import UnsupportedError, describe
from service.web.compressed_body import CODINGS, CompressedBody
from service.web.gate import LIMITS
from service.web.memory import held_by

__all__ = ["body_file", "bound_body", "read_from", "takes_file", "uploaded"]


_CHUNK = 1 << 20
#: Key in ``environ``: that the body is compressed, and a ``CompressedBody`` reads it.
_COMPRESSED = "trainyard.compressed"
#: Endpoints that take files, with a limit of their own; of some, only those with this query parameter.
_FILES = {"checkpoints.import_checkpoint": None, "datasets.upload_dataset": None, "predictions.predict": "model"}


def bound_body() -> None:
    """Apply the caller's limit, and have a compressed body decompressed as it is read, up to that.

    The server has received every body whole, within ``Content-Length`` or its chunks, and has refused longer ones.
    Raises UnsupportedError for another coding than gzip and deflate, MalformedError for what is no such data,
    RequestEntityTooLarge, and what ``Held.reserve`` raises.
    """
    environ = request.environ
    if LIMITS in environ:
        request.max_content_length = environ[LIMITS].body_bytes
    coding = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if coding in ("", "identity") or request.method in ("GET", "HEAD") or request.endpoint is None:
        return
    if coding not in CODINGS:
        detail = f"the Content-Encoding of the body must be gzip, deflate or identity. Received: {describe(coding)}"
        raise UnsupportedError("unsupported_encoding", detail)
    length = request.content_length or 0
    if not length:
        return
    limit = request.max_content_length or 0
    body = CompressedBody(environ["wsgi.input"], length, limit, coding)
    if takes_file(request.endpoint, request.args):
        environ[_COMPRESSED] = environ["wsgi.input"] = body
        environ.pop("CONTENT_LENGTH", None)
        return
    held, content = held_by(environ), bytearray()
    while piece := body.read(_CHUNK):
        held.reserve(2 * (len(content) + len(piece)))  # since a buffer that grows is copied
        content += piece
        if len(content) > limit:
            raise RequestEntityTooLarge
    environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(content), str(len(content))


def takes_file(endpoint: str | None, query: Container[str]) -> bool:
    """Whether a request's body is a file, which has a limit of its own."""
    if endpoint not in _FILES:
        return False
    parameter = _FILES[endpoint]
    return parameter is None or parameter in query


@contextmanager
def body_file(limit: int, another: Callable[[], IO[bytes]], require_room: Callable[[int], None]) -> Iterator[IO[bytes]]:
    """A block with the current request's body, decompressed, in a file with a descriptor, at its beginning.

    ``another`` makes an empty file, and ``require_room`` is called before so many bytes are written to it. Raises
    RequestEntityTooLarge if the body exceeds ``limit`` bytes, and MalformedError if it cannot be decompressed.
    """
    request.max_content_length = limit
    compressed: CompressedBody | None = request.environ.get(_COMPRESSED)
    received = request.environ["wsgi.input"]
    if compressed is None and isinstance(received, io.BufferedRandom):
        # The server has received it into a file.
        if (request.content_length or 0) > limit:
            raise RequestEntityTooLarge
        yield received
        return
    stream: Any = request.stream
    if compressed is not None:
        stream, compressed.limit = compressed, limit
    with another() as file:
        size = 0
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            if size > limit:
                raise RequestEntityTooLarge
            require_room(len(chunk))
            file.write(chunk)
        file.seek(0)
        yield file


def read_from(file: IO[bytes], another: Callable[[], IO[bytes]]) -> None:
    """Have the current request read its body from ``file``, as often as it is at its beginning.

    So a view may look at the body, parse it as a form or as JSON, or take the file as it is (``uploaded``). Files in a
    form are written to files that ``another`` makes.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    own: Any = request._get_current_object()  # type: ignore[attr-defined]
    own.environ["wsgi.input"], own.environ["CONTENT_LENGTH"] = file, str(size)
    own.__dict__["stream"] = file
    own._get_file_stream = lambda *_arguments, **_options: another()
    g.upload = file


def uploaded() -> IO[bytes] | None:
    """The file with the current request's body, if ``read_from`` has set it."""
    found: IO[bytes] | None = g.get("upload")
    return found
