"""Request bodies: complete or refused, and limited in size."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

from flask import current_app, g, request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from models.errors import MalformedError

__all__ = ["bound_body", "drain", "receive", "receive_whole", "uploaded"]


_CHUNK = 1 << 20
#: Maximum number of bytes of a refused body that are read and discarded.
DRAINED_BYTES = 64 * 2**20
#: Endpoints that stream their bodies and apply a different limit.
STREAMED = {"checkpoints.import_file", "datasets.create"}


def bound_body() -> None:
    """Ensure that every body is complete or refused; Werkzeug alone would accept the beginning of a body.

    If the request states a length, the body is checked against it while it is read. Werkzeug skips this check for
    servers that end the stream themselves. A chunked body is read here, because Werkzeug would cut it off at the limit.
    """
    environ = request.environ
    if "CONTENT_LENGTH" in environ:
        environ.pop("wsgi.input_terminated", None)
        return
    if not environ.get("wsgi.input_terminated") or request.method in ("GET", "HEAD"):
        return
    if request.endpoint in STREAMED:
        return
    limit = current_app.config["MAX_CONTENT_LENGTH"]
    try:
        body = environ["wsgi.input"].read(limit + 1)
    except Exception as error:  # noqa: BLE001 - every server has its own errors for what is wrong with the chunks
        raise MalformedError("invalid_body", f"the chunked body cannot be read: {error}") from None
    if len(body) > limit:
        raise RequestEntityTooLarge
    environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))


def drain() -> None:
    """Read and discard the rest of a refused body, up to ``DRAINED_BYTES``.

    Closing a connection with unread bytes resets it, and a client that is still sending may lose the response.
    """
    left = min(request.content_length or 0, DRAINED_BYTES)
    with suppress(OSError):
        while left > 0 and (chunk := request.environ["wsgi.input"].read(min(left, 65_536))):
            left -= len(chunk)


def receive(file: IO[bytes], limit: int) -> None:
    """Write the current request's body into ``file`` as it arrives.

    Raises RequestEntityTooLarge if it exceeds ``limit`` bytes, ClientDisconnected if it ends early, and
    MalformedError if its chunks are malformed.
    """
    request.max_content_length = limit
    chunked = "CONTENT_LENGTH" not in request.environ
    stream = request.environ["wsgi.input"] if chunked else request.stream
    received = 0
    while True:
        try:
            chunk = stream.read(_CHUNK)
        except (ClientDisconnected, RequestEntityTooLarge):
            raise
        except Exception as error:  # noqa: BLE001 - every server has its own errors for what is wrong with the chunks
            raise MalformedError("invalid_body", f"the body cannot be read: {error}") from None
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
