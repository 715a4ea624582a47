"""Following a job until it ends, over a service that may be away for a while."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainyard.errors import Busy, Unreachable
from trainyard.event_stream import Event, follow
from trainyard.jobs import FINAL, Job
from trainyard.requests import path_of, request_for
from trainyard.retrying import Patience

if TYPE_CHECKING:
    from trainyard.client import Trainyard

__all__ = ["all_events", "ended", "events_of"]

#: Seconds for which one request waits for the end of a job.
ONE_WAIT = 20.0
#: Seconds for which a service may be away, as while it restarts, before a caller is told.
AWAY = 60.0


def ended(job: Job, timeout: float | None) -> Job:
    """The job when it has ended; raises TimeoutError if that takes more than ``timeout`` seconds."""
    until = None if timeout is None else time.monotonic() + timeout
    waiting = Patience(AWAY)
    while not job.has_ended:
        left = ONE_WAIT if until is None else until - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"{job.id} is {job.state} after {timeout:g} s")
        seconds = min(left, ONE_WAIT)
        try:
            job = job.client.job(job.id, wait=seconds, retries=0)
            waiting.renew()
        except (Unreachable, Busy) as error:
            if not waiting.wait(error.retry_after if isinstance(error, Busy) else None):
                raise
    return job


def events_of(job: Job, after: int | None) -> Iterator[Event]:
    """The events of a job as they happen, until the job ends."""
    over = False

    def is_over() -> bool:
        return over or job.refresh().has_ended

    request = request_for("GET", path_of("jobs", job.id, "events"), accept="text/event-stream")
    for event in follow(job.client.transport, request, after, is_over, AWAY):
        over = event.type == "state" and event.data.get("state") in FINAL
        yield event


def all_events(client: Trainyard, after: int | None) -> Iterator[Event]:
    """The events of all jobs, without an end."""
    request = request_for("GET", "/events", accept="text/event-stream")
    return follow(client.transport, request, after, lambda: False, AWAY)
