"""The version of Trainyard. It is stated once, in ``nncore/__init__.py``."""

from __future__ import annotations

from nncore import __version__

__all__ = ["VERSION"]

VERSION: str = __version__
