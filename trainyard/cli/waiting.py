"""Waiting for a job: what it reports is shown, and Ctrl-C leaves it running."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event as Alarm
from typing import Any, NoReturn

import click

from trainyard.cli.command import INTERRUPTED
from trainyard.cli.progress import Progress, Run
from trainyard.cli.session import Session

__all__ = ["FINAL", "leaving", "wait_for"]

FINAL = ("succeeded", "failed", "cancelled")
#: Seconds within which a second Ctrl-C stops the job.
SECOND = 2.0
#: Seconds for which the service may be away.
AWAY = 60.0


def wait_for(
    session: Session, job: Mapping[str, Any], past: Mapping[str, Any] | None = None, *, shown: bool = True
) -> dict[str, Any]:
    """The job when it has ended; ``past`` is the history that it had before.

    After Ctrl-C the command ends and the job goes on; a second Ctrl-C stops it.
    """
    with leaving(session, job["id"]):
        if job["state"] not in FINAL:
            _follow(session, job, past or {}, shown=shown)
        return _job(session, job["id"])


@contextmanager
def leaving(session: Session, job_id: str) -> Iterator[None]:
    """Ctrl-C in the block leaves the job running and ends the command, with a word on how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        _leave(session, job_id)


def _follow(session: Session, job: Mapping[str, Any], past: Mapping[str, Any], *, shown: bool) -> None:
    from trainyard.event_stream import follow
    from trainyard.requests import path_of

    run = Run(job)
    for epoch in past.get("data", ()):
        run.report(epoch)
    progress = Progress(session.output, run, lambda: _now(session, run))
    request = session.request("GET", path_of("jobs", job["id"], "events"), accept="text/event-stream")
    over = lambda: _job(session, job["id"])["state"] in FINAL  # noqa: E731
    try:
        for event in follow(session.transport, request, past.get("event"), over, AWAY):
            if event.type == "epoch":
                run.report(event.data)
            elif event.type == "state":
                run.job = {**run.job, "state": event.data["state"]}
                if event.data["state"] in FINAL:
                    return
            elif event.type == "log":
                progress.close()
                session.output.say(event.data["message"], mark="!")
            if shown:
                progress.step()
    finally:
        progress.close()


def _job(session: Session, job_id: str) -> dict[str, Any]:
    from trainyard.requests import path_of

    document: dict[str, Any] = session.ask("GET", path_of("jobs", job_id))
    return document


def _now(session: Session, run: Run) -> Mapping[str, Any]:
    """The job as it is now, or as it was at last while the service is away: the stream tells when that is too long."""
    from trainyard.errors import Busy, Unreachable
    from trainyard.requests import path_of

    request = session.request("GET", path_of("jobs", run.job["id"]))
    try:
        document: dict[str, Any] = session.transport.send(request, retries=0).json()
    except (Unreachable, Busy):
        return run.job
    return document


def _leave(session: Session, job_id: str) -> NoReturn:
    """Say how to go on, and give Ctrl-C a second chance; the command ends in any case."""
    from trainyard.requests import path_of

    try:
        session.output.say(f"\n{job_id} goes on. Watch it: trainyard job watch {job_id}")
        session.output.say(f"Stop it: Ctrl-C again now, or trainyard job stop {job_id}")
        Alarm().wait(SECOND)
    except KeyboardInterrupt:
        stopped = session.ask("POST", path_of("jobs", job_id, "cancel"))
        session.output.say(f"{job_id} is {'stopped' if stopped['state'] == 'cancelled' else 'being stopped'}.")
    raise click.exceptions.Exit(INTERRUPTED)
