"""What answers: a version, an alias, a checkpoint, or the best of a job that may still be running."""

from __future__ import annotations

from typing import Any

__all__ = ["VERSION", "version_member"]

VERSION = "A version's number, an alias, a checkpoint's id, or a job's id for its best checkpoint so far."


def version_member(written: str | None) -> dict[str, Any]:
    """The member ``version`` of a request, if one is named."""
    if written is None:
        return {}
    if written.startswith("job_"):
        return {"version": {"job": written, "checkpoint": "best"}}
    return {"version": int(written) if written.isdecimal() else written}
