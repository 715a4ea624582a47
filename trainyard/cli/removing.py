"""Deleting several things of one kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainyard.cli.session import Session

__all__ = ["remove_all"]


def remove_all(session: Session, kind: str, names: Sequence[str], query: Mapping[str, Any] | None = None) -> None:
    """Delete things in their order; the first one that cannot be deleted ends it."""
    from trainyard.requests import path_of

    requests = [session.request("DELETE", path_of(kind, name), query=query) for name in names]
    session.show(*requests)
    for name, request in zip(names, requests, strict=True):
        session.send(request)
        session.output.say(f"deleted: {name}")
