"""The route of a path: its rule, such as ``/models/<name>``, which names no one's model."""

from __future__ import annotations

from functools import lru_cache

from flask import Flask
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import RequestRedirect

__all__ = ["PathRoutes"]


class PathRoutes:
    """Finds routes, for one thread at a time. The routes of the application are complete when the first one is asked
    for."""

    def __init__(self, app: Flask) -> None:
        self._map = app.url_map
        self._find = lru_cache(maxsize=1_000)(self._matched)

    def rule(self, method: str | None, path: str | None) -> str | None:
        """The rule of a request, also if its method is not one of the path's; None if there is no such path."""
        if method is None or path is None:
            return None
        return self._find(method, path)

    def _matched(self, method: str, path: str) -> str | None:
        adapter = self._map.bind("")
        try:
            return adapter.match(path, method, return_rule=True)[0].rule
        except MethodNotAllowed as error:
            known = next(iter(error.valid_methods or ()), None)
            return None if known is None else self._matched(known, path)
        except (RequestRedirect, HTTPException):
            return None
