"""The clock: times as the database, the files and the API show them."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["rfc3339", "utc_now"]


def utc_now() -> str:
    """The current time as RFC 3339 in UTC with milliseconds."""
    return rfc3339(datetime.now(UTC))


def rfc3339(time: datetime) -> str:
    """A time in UTC as RFC 3339 with milliseconds; such texts sort like the times."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
