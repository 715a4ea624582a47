"""The header by which requests stay with one version of an alias that names several, in all protocols."""

from __future__ import annotations

from typing import Any

from models.errors import InvalidError, describe
from models.registry.traffic import STICKY_CHARACTERS

__all__ = ["STICKY_HEADER", "sticky_of"]

STICKY_HEADER = "Trainyard-Sticky"
_KEY = "HTTP_TRAINYARD_STICKY"


def sticky_of(environ: dict[str, Any]) -> str | None:
    """The text that a request's header has; None without one. Raises InvalidError if it is empty or too long."""
    given: str | None = environ.get(_KEY)
    if given is None:
        return None
    # WSGI has the bytes of a header as Latin-1; clients send text as UTF-8.
    text = given.encode("latin-1").decode(errors="surrogateescape")
    if not 0 < len(text) <= STICKY_CHARACTERS:
        wanted = f"the header {STICKY_HEADER} must have 1 to {STICKY_CHARACTERS} characters"
        raise InvalidError.at("", f"{wanted}. Received: {describe(text)}")
    return text
