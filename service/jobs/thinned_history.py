"""A history of fewer points for a drawing: none of its ends, its best epochs and its extremes is lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import orjson

from service.jobs.events import HistoryPlace
from service.jobs.record import Job

__all__ = ["best_epochs", "thinned"]

#: What is drawn: the lowest and the highest value of each in a stretch of epochs are kept.
_DRAWN = ("loss", "validation_loss")


def best_epochs(job: Job) -> dict[int, int]:
    """The best epoch of each member, or of the only network, whose number is 0, as far as the job looks for it."""
    found = {0: job.details.get("best")} | {one["member"]: one["best"] for one in job.details.get("members", [])}
    return {member: best["epoch"] for member, best in found.items() if best is not None}


def thinned(epochs: Iterable[tuple[HistoryPlace, str]], points: int, best: Mapping[int, int]) -> Iterator[str]:
    """About ``points`` epochs of each member, as JSON text and in order."""
    for member, own in groupby(epochs, key=lambda epoch: epoch[0].member):
        rows = list(own)
        if len(rows) <= points:
            yield from (text for _, text in rows)
            continue
        ends = {0, len(rows) - 1} | {index for index, (place, _) in enumerate(rows) if place.epoch == best.get(member)}
        records = [orjson.loads(text) for _, text in rows]
        yield from (rows[index][1] for index in sorted(ends | _extremes(records, points - len(ends))))


def _extremes(records: Sequence[Mapping[str, Any]], most: int) -> set[int]:
    """The places of at most ``most`` extremes, of stretches that have the same length."""
    stretches = max(0, most // (2 * len(_DRAWN)))
    found: set[int] = set()
    for number in range(stretches):
        stretch = range(number * len(records) // stretches, (number + 1) * len(records) // stretches)
        for name in _DRAWN:
            values = [(records[index][name], index) for index in stretch if records[index].get(name) is not None]
            if values:
                found |= {min(values)[1], max(values)[1]}
    return found
