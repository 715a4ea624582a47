"""Parts of JSON schemas that several modules of response shapes use."""

from __future__ import annotations

from typing import Any

__all__ = ["NUMBER", "OPTIONAL_NUMBER", "described"]

NUMBER: dict[str, Any] = {"type": "number"}
OPTIONAL_NUMBER: dict[str, Any] = {"type": ["number", "null"]}


def described(description: str, optional: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    """The schema of an object with these members, of which those in ``optional`` may be absent."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "description": description, "properties": properties, "required": required}
