"""Which paths are those of other protocols, which have rules of their own."""

from __future__ import annotations

__all__ = ["is_foreign"]

#: The first parts of the paths of the Open Inference Protocol, TensorFlow Serving and MLflow.
_FOREIGN = ("v1", "v2", "invocations", "endpoints", "ping")


def is_foreign(path: str) -> bool:
    """Whether a path is one of another protocol, whose errors have a shape of their own."""
    return path.split("?", maxsplit=1)[0].split("/")[1] in _FOREIGN or path.split("?", maxsplit=1)[0] == "/health"
