"""Names in the paths of routes."""

from __future__ import annotations

from werkzeug.routing import BaseConverter

__all__ = ["BareName"]


class BareName(BaseConverter):
    """A part of a path without a colon, after which TensorFlow Serving's paths have a verb: ``<bare:name>:predict``."""

    regex = "[^/:]+"
