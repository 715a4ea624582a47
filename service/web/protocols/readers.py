"""Which protocol reads the requests of a path."""

from __future__ import annotations

from functools import lru_cache

from service.web.protocols import native
from service.web.protocols.exchange import Reader

__all__ = ["reader_of"]

#: Each returns the reader of a path, None if the path is not one of its protocol.
_PROTOCOLS = (native.reader_of,)


@lru_cache(maxsize=4_096)
def reader_of(path: str) -> Reader | None:
    """The reader of a path to which predictions are posted; None if there is none."""
    found = (reader for protocol in _PROTOCOLS if (reader := protocol(path)) is not None)
    return next(found, None)
