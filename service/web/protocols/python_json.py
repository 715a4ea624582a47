"""JSON as Python's ``json`` writes it, which clients of data frames send: ``NaN`` stands for a missing value."""

from __future__ import annotations

import re
from typing import Any

from models.errors import MalformedError
from service.web.json_bodies import parse_json
from service.web.memory import Held

__all__ = ["parse"]

_STRING_OR_NAN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|NaN', re.DOTALL)


def parse(body: bytes, held: Held | None = None) -> Any:
    """Parse strict JSON as ``parse_json``, with ``null`` in place of ``NaN``; infinite numbers are refused."""
    try:
        return parse_json(body, held)
    except MalformedError:
        if b"NaN" not in body:
            raise
    return parse_json(_STRING_OR_NAN.sub(lambda found: b"null" if found[0] == b"NaN" else found[0], body), held)
