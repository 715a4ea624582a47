"""Times as texts (ISO 8601) and as microseconds since 1970-01-01 UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

__all__ = ["time_of", "time_text"]

_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,9})?)?( ?(Z|[+-][0-9]{2}(:?[0-9]{2})?))?)?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY = 86_400_000_000


def time_of(text: str) -> int | None:
    """The microseconds of an ISO date or time; None if the text is none. A time without a zone is UTC."""
    plain = text.strip()
    if _ISO.fullmatch(plain) is None:
        return None
    try:
        moment = datetime.fromisoformat(
            plain.replace(",", ".").replace(" +", "+").replace(" -", "-").replace(" Z", "Z")
        )
    except ValueError:
        return None
    return int(((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND)


def time_text(microseconds: int) -> str:
    """The ISO text of a time: a date alone at midnight, seconds and their fractions if there are some."""
    moment = _EPOCH + timedelta(microseconds=microseconds)
    if not microseconds % _DAY:
        return moment.date().isoformat()
    return moment.replace(tzinfo=None).isoformat()
