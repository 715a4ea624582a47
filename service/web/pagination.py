"""Query parameters of lists."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from flask import Response

from models.identifiers import id_pattern
from models.schemas import StrictSchema, Text
from service.web.json_bodies import json_response

__all__ = ["NUMBER_PATTERN", "CheckpointPage", "DatasetPage", "JobPage", "NumberPage", "PageSchema", "page"]


#: Numbers that every database's integers can hold, in the digits that we write.
NUMBER_PATTERN = "[0-9]{1,18}"


class PageSchema(StrictSchema):
    """Which page of a list is wanted."""

    limit = ma.fields.Integer(
        load_default=20,
        validate=ma.validate.Range(1, 100, error="must be from {min} to {max}. Received: {input}"),
        error_messages={"invalid": "must be a whole number"},
        metadata={"description": "Most entries to answer with."},
    )
    after: ma.fields.Field[Any] = ma.fields.String(
        load_default=None, metadata={"description": "Answer with entries below this one."}
    )


def _after(pattern: str) -> Text:
    """The field of an entry that need not be there any more: its place in the order shows in itself."""
    return Text(pattern=pattern, load_default=None, metadata={"description": "Answer with entries below this one."})


class JobPage(PageSchema):
    """A page of jobs."""

    after = _after(id_pattern("job"))


class CheckpointPage(PageSchema):
    """A page of checkpoints."""

    after = _after(id_pattern("ckpt"))


class DatasetPage(PageSchema):
    """A page of datasets."""

    after = _after(id_pattern("ds"))


class NumberPage(PageSchema):
    """A page of what is ordered by number."""

    after = _after(NUMBER_PATTERN)


def page(rows: list[Any], limit: int) -> Response:
    """A page of a list, out of rows of which one more than ``limit`` was asked for."""
    return json_response({"data": rows[:limit], "has_more": len(rows) > limit})
