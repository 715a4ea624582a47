"""Times as microseconds since 1970-01-01 UTC, from texts in ISO 8601."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

__all__ = ["time_of"]

_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,9})?)?( ?(Z|[+-][0-9]{2}(:?[0-9]{2})?))?)?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


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
