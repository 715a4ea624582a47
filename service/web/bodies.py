"""Request bodies: decompressed, complete or refused, and limited in size."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from flask import current_app, g, request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.sansio.utils import get_content_length

from models.errors import MalformedError, UnsupportedError, describe, shortened
from service.web.gzip_body import GzipBody

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

__all__ = ["bound_body", "drain", "receive", "receive_whole", "uploaded"]


_CHUNK = 1 << 20
#: Maximum number of bytes of a refused body that are read and discarded.
DRAINED_BYTES = 64 * 2**20
#: Keys in ``environ``: the stream and length of a compressed body, and a mark that a body cannot be read on.
_COMPRESSED, _BROKEN = "trainyard.compressed", "trainyard.broken"
#: Endpoints that stream their bodies and apply a different limit; of some, only those with this query parameter.
STREAMED = {"checkpoints.import_file": None, "datasets.create": None, "predictions.predict": "model"}


def bound_body() -> None:
    """Ensure that every body is complete or refused; Werkzeug alone would accept the beginning of a body.

    If the request states a length, the body is checked against it while it is read. Werkzeug skips this check for
    servers that end the stream themselves. A chunked body is read here, because Werkzeug would cut it off at the limit.
    """
    environ = request.environ
    if request.method not in ("GET", "HEAD"):
        _decode(environ)
    if "CONTENT_LENGTH" in environ:
        environ.pop("wsgi.input_terminated", None)
        return
    if not environ.get("wsgi.input_terminated") or request.method in ("GET", "HEAD"):
        return
    if _is_streamed():
        return
    limit = current_app.config["MAX_CONTENT_LENGTH"]
    try:
        body = environ["wsgi.input"].read(limit + 1)
    except (MalformedError, RequestEntityTooLarge):
        raise
    except Exception as error:  # noqa: BLE001 - every server has its own errors for what is wrong with the chunks
        environ[_BROKEN] = True
        raise MalformedError("invalid_body", f"the chunked body cannot be read: {shortened(str(error))}") from None
    if len(body) > limit:
        raise RequestEntityTooLarge
    environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))


def _is_streamed() -> bool:
    if request.endpoint not in STREAMED:
        return False
    parameter = STREAMED[request.endpoint]
    return parameter is None or parameter in request.args


def _decode(environ: WSGIEnvironment) -> None:
    """Have a compressed body decompressed as it is read; from here on it is as one without a length.

    Raises UnsupportedError for another coding than gzip.
    """
    coding = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if coding in ("", "identity"):
        return
    if coding not in ("gzip", "x-gzip"):
        detail = f"the Content-Encoding of the body must be gzip or identity. Received: {describe(coding)}"
        raise UnsupportedError("unsupported_encoding", detail)
    length = get_content_length(environ.get("CONTENT_LENGTH"), environ.get("HTTP_TRANSFER_ENCODING"))
    if length is None and not environ.get("wsgi.input_terminated"):
        return  # There is no body.
    source, limit = environ["wsgi.input"], current_app.config["MAX_CONTENT_LENGTH"]
    environ[_COMPRESSED] = source, length
    environ["wsgi.input"], environ["wsgi.input_terminated"] = GzipBody(source, length, limit), True
    environ.pop("CONTENT_LENGTH", None)
    if length is not None and length > limit and not _is_streamed():
        raise RequestEntityTooLarge


def drain() -> None:
    """Read and discard the rest of a refused body, up to ``DRAINED_BYTES``.

    Closing a connection with unread bytes resets it, and a client that is still sending may lose the response.
    """
    environ = request.environ
    source, length = environ.get(_COMPRESSED) or (environ["wsgi.input"], request.content_length)
    if length is None and (not environ.get("wsgi.input_terminated") or environ.get(_BROKEN)):
        return
    left = DRAINED_BYTES if length is None else min(length, DRAINED_BYTES)
    with suppress(Exception):  # Every server has its own errors for what is wrong with the chunks.
        while left > 0 and (chunk := source.read(min(left, 65_536))):
            left -= len(chunk)


def receive(file: IO[bytes], limit: int) -> None:
    """Write the current request's body into ``file`` as it arrives.

    Raises RequestEntityTooLarge if it exceeds ``limit`` bytes, ClientDisconnected if it ends early, and
    MalformedError if its chunks are malformed.
    """
    request.max_content_length = limit
    chunked = "CONTENT_LENGTH" not in request.environ
    stream = request.environ["wsgi.input"] if chunked else request.stream
    if isinstance(stream, GzipBody):
        stream.limit = limit
    received = 0
    while True:
        try:
            chunk = stream.read(_CHUNK)
        except (ClientDisconnected, MalformedError, RequestEntityTooLarge):
            raise
        except Exception as error:  # noqa: BLE001 - every server has its own errors for what is wrong with the chunks
            request.environ[_BROKEN] = True
            raise MalformedError("invalid_body", f"the body cannot be read: {shortened(str(error))}") from None
        received += len(chunk)
        if received > limit:
            raise RequestEntityTooLarge
        if not chunk:
            return
        file.write(chunk)


def receive_whole(file: IO[bytes], limit: int, another: Callable[[], IO[bytes]]) -> None:
    """Receive the current request's body into ``file``, from which the request reads it from then on.

    So a view may look at the body, parse it as a form or as JSON, or take the file as it is (``uploaded``). Files in a
    form are written to files that ``another`` makes. Raises as ``receive`` does.
    """
    receive(file, limit)
    size = file.tell()
    file.seek(0)
    own: Any = request._get_current_object()  # type: ignore[attr-defined]
    own.environ["wsgi.input"], own.environ["CONTENT_LENGTH"] = file, str(size)
    own.__dict__["stream"] = file
    own._get_file_stream = lambda *_arguments, **_options: another()
    g.upload = file


def uploaded() -> IO[bytes] | None:
    """The file with the current request's body, if ``receive_whole`` has received it."""
    found: IO[bytes] | None = g.get("upload")
    return found
