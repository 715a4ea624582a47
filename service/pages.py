"""Query parameters of lists."""

from __future__ import annotations

import marshmallow as ma

from models.schemas import StrictSchema

__all__ = ["PageSchema"]


class PageSchema(StrictSchema):
    """Which page of a list is wanted."""

    limit = ma.fields.Integer(
        load_default=20,
        validate=ma.validate.Range(1, 100, error="must be from {min} to {max}. Received: {input}"),
        error_messages={"invalid": "must be a whole number"},
        metadata={"description": "Most entries to answer with."},
    )
    after = ma.fields.String(load_default=None, metadata={"description": "Answer with entries below this one."})
