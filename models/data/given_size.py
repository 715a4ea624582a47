"""The number of rows and columns of rows in a JSON document, before anything is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.data.limits import TableSize
from models.data.rows import NumberRows

__all__ = ["require_size"]


def require_size(part: Mapping[str, Any], size: TableSize, pointer: str = "") -> None:
    """Raise InvalidError if the ``inputs`` or ``rows`` of a document have more rows or columns than ``size``.

    The first row shows the number of columns; what is no list of rows is refused by whoever reads them.
    """
    for name in ("inputs", "rows"):
        given = part.get(name)
        if isinstance(given, NumberRows):
            size.require(given.count, given.length, f"{pointer}/{name}")
        elif isinstance(given, list) and given:
            columns = len(given[0]) if isinstance(given[0], (list, dict)) else 0
            size.require(len(given), columns, f"{pointer}/{name}")
