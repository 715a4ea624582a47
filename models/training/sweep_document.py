"""What tells the request of a sweep from that of a single run; it imports nothing, as the trainer does not either."""

from __future__ import annotations

from typing import Any

__all__ = ["is_sweep", "training_of"]


def is_sweep(request: dict[str, Any]) -> bool:
    """Whether a job's request is that of a sweep."""
    return "over" in request


def training_of(request: dict[str, Any]) -> dict[str, Any]:
    """The training request within a job's; that of the first trial if it is a sweep."""
    found: dict[str, Any] = request["train"] if is_sweep(request) else request
    return found
