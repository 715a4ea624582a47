"""A table as people have them: numbers, words, times, blanks, and a column that counts the rows.

It is about rented bicycles that come back late or in time. Nobody rented them: the rows are made by chance.
"""

from __future__ import annotations

import csv
import io
import random
from datetime import UTC, datetime, timedelta

__all__ = ["rentals"]

_DISTRICTS = ("harbour", "old town", "university", "airport")
_BIKES = ("city", "cargo", "electric")


def rentals(rows: int, seed: int) -> str:
    """A CSV file with so many rows and the label ``returned``."""
    source = random.Random(seed)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["rental", "started", "district", "bike", "distance_km", "member", "returned"])
    started = datetime(2026, 5, 1, 6, tzinfo=UTC)
    for number in range(1, rows + 1):
        started += timedelta(minutes=source.randint(5, 120))
        district, bike = source.choice(_DISTRICTS), source.choice(_BIKES)
        distance, member = source.lognormvariate(1.3, 0.6), source.random() < 0.6
        slow = distance if bike == "cargo" else 0.4 * distance
        evening = started.hour >= 17 and district in ("harbour", "airport")
        lateness = slow + (3 if evening else 0) - (2 if member and not evening else 0) + source.gauss(0, 0.4)
        writer.writerow(
            [
                number,
                started.strftime("%Y-%m-%d %H:%M"),
                _blank(source, district),
                bike,
                _blank(source, f"{distance:.1f}"),
                "yes" if member else "no",
                "late" if lateness > 1.8 else "in time",
            ]
        )
    return file.getvalue()


def _blank(source: random.Random, cell: str) -> str:
    """One of twelve cells was left empty."""
    return "" if source.random() < 1 / 12 else cell
