"""Lists that the service answers page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from trainyard.requests import request_for
from trainyard.transport import Transport

__all__ = ["Pages"]

Entry = TypeVar("Entry")


class Pages(Generic[Entry]):
    """All entries of a list, which are asked for page by page while they are iterated; each iteration asks anew.

    ``place`` says what of an entry's document the next page starts behind: a member, or what a function gives.
    """

    def __init__(
        self,
        transport: Transport,
        path: str,
        make: Callable[[Mapping[str, Any]], Entry],
        place: str | Callable[[Mapping[str, Any]], Any],
        query: Mapping[str, Any] | None = None,
    ) -> None:
        self._transport, self._path, self._make, self._place = transport, path, make, place
        self._query: Mapping[str, Any] = query or {}

    def documents(self) -> Iterator[Mapping[str, Any]]:
        """The entries as the service sends them."""
        after = self._query.get("after")
        while True:
            query = {"limit": 100, **self._query, "after": after}
            page = self._transport.send(request_for("GET", self._path, query=query)).json()
            yield from page["data"]
            if not page["has_more"]:
                return
            last = page["data"][-1]
            after = page.get("after") or (self._place(last) if callable(self._place) else last[self._place])

    def __iter__(self) -> Iterator[Entry]:
        return (self._make(document) for document in self.documents())

    def first(self) -> Entry | None:
        """The first entry, which is the newest in most lists; None if there is none."""
        page = self._transport.send(request_for("GET", self._path, query={**self._query, "limit": 1})).json()
        return self._make(page["data"][0]) if page["data"] else None

    def __repr__(self) -> str:
        return f"<Pages of {self._path}>"
