"""Bodies of requests: taken whole or refused, and read to a limit."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import IO

from flask import current_app, request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from models.errors import MalformedError

__all__ = ["bound_body", "drain", "receive"]


_CHUNK = 1 << 20
#: How much of a refused body is read and thrown away.
DRAINED_BYTES = 64 * 2**20
#: Endpoints that read their bodies piece by piece, to a bound of their own.
STREAMED = {"checkpoints.import_file"}


def bound_body() -> None:
    """Have every body taken whole or refused: Werkzeug by itself takes the beginning of one for the whole.

    A body with its length is checked against it as it is read, which Werkzeug leaves out where a server ends the
    stream by itself. A body without is read here, as Werkzeug would stop at the limit.
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
    """Read what is left of a refused body, up to a bound.

    A connection that is closed over bytes nobody has read is reset, and a client that still sends may lose the answer.
    """
    left = min(request.content_length or 0, DRAINED_BYTES)
    with suppress(OSError):
        while left > 0 and (chunk := request.environ["wsgi.input"].read(min(left, 65_536))):
            left -= len(chunk)


def receive(file: IO[bytes], limit: int) -> None:
    """Write the present request's body into ``file`` as it comes.

    Raises RequestEntityTooLarge beyond ``limit`` bytes, ClientDisconnected where it is cut short, and MalformedError.
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
