"""Which protocol reads the requests of a path."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

from service.settings import Settings
from service.web.protocols import mlflow, native, open_inference, tensorflow
from service.web.protocols.exchange import Reader

__all__ = ["readers_by_path"]


def readers_by_path(settings: Settings) -> Callable[[str], Reader | None]:
    """A function that returns the reader of a path to which predictions are posted; None for any other path."""
    #: Each returns the reader of a path, None if the path is not one of its protocol.
    protocols: tuple[Callable[[str], Reader | None], ...] = (
        native.reader_of,
        open_inference.reader_of,
        tensorflow.reader_of,
        partial(mlflow.reader_of, default_model=settings.default_model),
    )

    @lru_cache(maxsize=4_096)
    def reader_of(path: str) -> Reader | None:
        found = (reader for protocol in protocols if (reader := protocol(path)) is not None)
        return next(found, None)

    return reader_of
