"""Comparable parts of jobs and checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py

__all__ = ["arrays", "timeless"]


def arrays(path: Path, *groups: str) -> dict[str, bytes]:
    """Every array below some groups of a checkpoint, as bytes."""
    found: dict[str, bytes] = {}
    with h5py.File(path) as file:
        for group in groups:
            file[group].visititems(
                lambda name, item, group=group: (
                    found.update({f"{group}/{name}": item[()].tobytes()}) if isinstance(item, h5py.Dataset) else None
                )
            )
    return found


def timeless(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in history]
