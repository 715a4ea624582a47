"""Query parameters of lists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import Response

from models.identifiers import NAME_PATTERN, QUALIFIED_PATTERN, id_pattern
from models.schemas import StrictSchema, Text, left_out
from service.web.fields import Fields
from service.web.json_bodies import json_bytes
from service.web.query_numbers import QueryWhole

__all__ = [
    "MAXIMUM_EPOCHS",
    "MAXIMUM_MODELS",
    "NUMBER_PATTERN",
    "PAGE_BYTES",
    "AliasPage",
    "CheckpointPage",
    "DatasetPage",
    "HistoryPage",
    "JobPage",
    "ModelPage",
    "NumberPage",
    "PageSchema",
    "VersionPage",
    "page",
]


#: Decimal numbers that fit into the integers of every database.
NUMBER_PATTERN = "[0-9]{1,18}"
#: A place in a job's history: an epoch, or a member and its epoch.
HISTORY_PATTERN = f"([0-9]{{1,5}}:)?{NUMBER_PATTERN}"
#: Bytes of rows after which a page ends, whatever its limit.
PAGE_BYTES = 8 * 2**20
#: Models in one page, with their definitions and without: those of a whole service come in one answer then.
MAXIMUM_MODELS, MAXIMUM_SHORT_MODELS = 100, 1000
#: Epochs of a job in one page: two megabytes of text.
MAXIMUM_EPOCHS = 10_000


def _limit(default: int | None, maximum: int, description: str) -> QueryWhole:
    return QueryWhole(
        1, maximum, load_default=left_out if default is None else default, metadata={"description": description}
    )


def _after(pattern: str, description: str = "") -> Text:
    """The field ``after``, whose values say in themselves which kind of entry they name."""
    described = description or "Start after this entry, usually the last one of the page before."
    return Text(pattern=pattern, load_default=left_out, metadata={"description": described})


def _prefix() -> Text:
    return Text(
        pattern=NAME_PATTERN,
        load_default=left_out,
        metadata={"description": "Only those whose names start with this, as in `class-`."},
    )


class PageSchema(StrictSchema):
    """Query parameters of a list: which page to return."""

    limit = _limit(20, 100, "Maximum number of entries on the page.")
    after = _after(NAME_PATTERN)


class ModelPage(PageSchema):
    """A page of models."""

    limit = _limit(
        20,
        MAXIMUM_SHORT_MODELS,
        f"Maximum number of entries on the page; at most {MAXIMUM_MODELS} unless `fields` leaves out the definition.",
    )
    after = _after(QUALIFIED_PATTERN)
    prefix = _prefix()
    members = Fields("Model")


class JobPage(PageSchema):
    """A page of jobs."""

    after = _after(id_pattern("job"))
    members = Fields("Job")


class CheckpointPage(PageSchema):
    """A page of checkpoints."""

    after = _after(id_pattern("ckpt"))
    members = Fields("Checkpoint")


class DatasetPage(PageSchema):
    """A page of datasets."""

    after = _after(id_pattern("ds"))
    prefix = _prefix()
    members = Fields("Dataset")


class AliasPage(PageSchema):
    """A page of aliases, in alphabetical order."""

    limit = _limit(100, 100, "Maximum number of entries on the page.")
    after = _after(NAME_PATTERN)


class HistoryPage(StrictSchema):
    """A page of a job's epochs, oldest first."""

    limit = _limit(None, MAXIMUM_EPOCHS, f"Maximum number of epochs. Default: {MAXIMUM_EPOCHS}, or all for NDJSON.")
    after = _after(
        HISTORY_PATTERN,
        "Start after the epoch with this number, usually the last one of the page before. If the job has several "
        "members and `member` is left out, it is `member:epoch`, as in `3:17`.",
    )
    member = QueryWhole(1, 10_000, load_default=left_out, metadata={"description": "Only the epochs of this member."})


class NumberPage(PageSchema):
    """A page of entries that are ordered by number."""

    after = _after(NUMBER_PATTERN)


class VersionPage(NumberPage):
    """A page of versions, without what depends on their definitions."""

    members = Fields("Version", "definition", "inputs", "parameters", "features")


def page(rows: Iterable[Any], limit: int) -> Response:
    """Respond with a page of a list, of at most ``limit`` rows and no more than ``PAGE_BYTES`` before the last one.

    ``rows`` holds up to ``limit + 1`` documents; those that are not shown mean more pages.
    """
    shown, size, more = list[bytes](), 0, False
    for row in rows:
        if len(shown) == limit or size > PAGE_BYTES:
            more = True
            break
        shown.append(json_bytes(row))
        size += len(shown[-1])
    body = b'{"data":[%s],"has_more":%s}\n' % (b",".join(shown), b"true" if more else b"false")
    return Response(body, content_type="application/json")
