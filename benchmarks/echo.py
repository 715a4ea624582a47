"""The bare reference for /predict: a WSGI application that answers the body that it reads, or its beginning."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

#: Bytes of the answer; all of the body without the variable.
LENGTH = int(os.environ["CONSTANT_LENGTH"]) if "CONSTANT_LENGTH" in os.environ else None
READY = b'{"trainer": "ok"}'


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer a POST with its body, and a GET as a service that is ready."""
    answer = READY
    if environ["REQUEST_METHOD"] == "POST":
        answer = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))[:LENGTH]
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]
