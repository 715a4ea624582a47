"""Documents in short form: the query parameter ``fields`` names the members that are wanted."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import marshmallow as ma

from models.errors import unknown_field
from models.schemas import DescribedField, left_out
from service.web.response_shapes import SHAPES

__all__ = ["Fields", "picked"]


class Fields(DescribedField):
    """Names of members of documents of a shape, with commas between them; None if it is left out: all members."""

    def __init__(self, shape: str, *without: str) -> None:
        description = "Only these members of each document, as in `{},{}`; all if left out."
        self.known = [name for name in SHAPES[shape]["properties"] if name not in without]
        super().__init__(
            # A schema has an attribute of this name, so its fields have another one.
            data_key="fields",
            load_default=left_out,
            metadata={"description": description.format(self.known[0], self.known[-1])},
        )

    def json_schema(self) -> dict[str, Any]:
        one = f"({'|'.join(self.known)})"
        return {"type": "string", "pattern": f"^{one}(,{one})*$"}

    def _validated(self, value: Any) -> frozenset[str]:
        names = frozenset(value.split(","))
        for name in value.split(","):
            if name not in self.known:
                raise ma.ValidationError(f"{name!r} {unknown_field(name, self.known)}")
        return names


def picked(document: dict[str, Any], fields: Collection[str] | None) -> dict[str, Any]:
    """The members of a document that ``fields`` names, or all of them."""
    return document if fields is None else {name: value for name, value in document.items() if name in fields}
