"""How long to train, and in which batches, if a request leaves this and the network to the service."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

__all__ = ["Schedule", "schedule_for"]

#: Steps of a run on few rows; on many rows, the least number of epochs takes more.
STEPS = 2_000
LEAST_EPOCHS, MOST_EPOCHS = 20, 1_000
#: Rows of a batch, by the number of rows from which on it is used.
BATCHES = {0: 32, 5_000: 128, 100_000: 512}


class Schedule(NamedTuple):
    """The epochs of a run and the rows of a batch."""

    epochs: int
    batch_size: int | Literal["full"]


def schedule_for(rows: int, batch_size: int | Literal["full"] | None) -> Schedule:
    """The schedule of a run on ``rows`` rows; ``batch_size`` is that of the request, None if it has none."""
    if batch_size is None:
        batch_size = max(size for least, size in BATCHES.items() if rows >= least)
    steps = 1 if batch_size == "full" else math.ceil(rows / batch_size)
    return Schedule(min(max(math.ceil(STEPS / steps), LEAST_EPOCHS), MOST_EPOCHS), batch_size)
