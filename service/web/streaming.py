"""Responses that are sent piece by piece."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import Response

from service.web.worker.later import Later

__all__ = ["streamed"]


def streamed(pieces: Iterable[Any], content_type: str) -> Response:
    """A response whose pieces are sent as they come, past caches and the buffers of proxies."""
    response = Response(pieces, content_type=content_type, direct_passthrough=isinstance(pieces, Later))
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response
