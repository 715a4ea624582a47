"""The commands about jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from trainyard.cli import text
from trainyard.cli.command import Group, command
from trainyard.cli.output import Column
from trainyard.cli.session import Session
from trainyard.cli.types import NAME_OF_JOB, NAME_OF_MODEL

__all__ = ["job"]

#: Epochs of the past that are enough for a curve in a line.
POINTS = 60
STATES = ["queued", "running", "paused", "succeeded", "failed", "cancelled"]


@click.group(
    name="job", cls=Group, example="trainyard job list --state running\ntrainyard job watch job_1htz3m43bnmnve1q9w78a"
)
def job() -> None:
    """List, watch, pause, stop and delete jobs."""


@command(job, "list", example="trainyard job list --model iris --state running")
@click.option("--model", type=NAME_OF_MODEL, metavar="MODEL", help="Show only jobs of this model.")
@click.option("--state", type=click.Choice(STATES), help="Show only jobs in this state.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Show so many at most.")
@click.option("--after", metavar="ID", help="Show those that are older than this one.")
def list_jobs(session: Session, model: str | None, state: str | None, limit: int, after: str | None) -> None:
    """List jobs, the newest first."""
    page = session.pages("/jobs", {"model": model, "state": state, "after": after}, limit)
    columns = (
        Column("ID", lambda each: each["id"]),
        Column("MODEL", lambda each: each["model"]),
        Column("STATE", lambda each: each["state"]),
        Column("DONE", lambda each: each["progress"]["fraction"], lambda share: f"{100 * share:.0f} %", right=True),
        Column("HELD OUT RIGHT", lambda each: each["metrics"].get("validation_accuracy"), _share, right=True),
        Column("LOSS", lambda each: each["metrics"].get("loss"), right=True),
        Column("VERSION", lambda each: each["version"], right=True),
        Column("CREATED", lambda each: each["created_at"], text.ago),
    )
    empty = "There are no such jobs. Begin one: trainyard train FILE --label COLUMN"
    session.result(page, lambda: session.output.table(columns, page["data"], empty))


def _share(value: float) -> str:
    return f"{value:.3f}"


@command(job, "show", example="trainyard job show job_1htz3m43bnmnve1q9w78a")
@click.argument("job_id", metavar="JOB", type=NAME_OF_JOB)
def show(session: Session, job_id: str) -> None:
    """Show a job."""
    from trainyard.requests import path_of

    document = session.ask("GET", path_of("jobs", job_id))
    session.result(document, lambda: session.output.pairs(_values(document)))


def _values(document: Mapping[str, Any]) -> dict[str, Any]:
    from trainyard.cli.expectation import metrics_of

    error, best, progress = document.get("error") or {}, document.get("best") or {}, document["progress"]
    members = document.get("members") or []
    return {
        **{name: document.get(name) for name in ("id", "model", "state", "version", "checkpoint")},
        "data": (document["request"].get("data") or {}).get("dataset"),
        "done": progress["fraction"],
        "epoch": progress["epoch"],
        "epochs": progress["epochs"],
        "networks": len(members) or None,
        "best_epoch": best.get("epoch"),
        "stopped_by": document.get("stopped_by"),
        **metrics_of(document),
        "error": f"{error['detail']} ({error['code']})" if error else None,
        **{name: document.get(name) for name in ("created_at", "started_at", "finished_at")},
    }


@command(job, "watch", example="trainyard job watch job_1htz3m43bnmnve1q9w78a")
@click.argument("job_id", metavar="JOB", type=NAME_OF_JOB)
def watch(session: Session, job_id: str) -> None:
    """Follow a job to its end, and print where its model answers.

    The exit status is 1 if the job fails or is cancelled. Ctrl-C leaves it running; a second Ctrl-C stops it.
    """
    from trainyard.requests import path_of

    path = path_of("jobs", job_id, "events")
    session.show(session.request("GET", path, accept="text/event-stream"))
    _end(session, job_id, shown=True)


@command(job, "wait", example="trainyard job wait job_1htz3m43bnmnve1q9w78a && trainyard predict iris -")
@click.argument("job_id", metavar="JOB", type=NAME_OF_JOB)
def wait(session: Session, job_id: str) -> None:
    """Wait for a job's end without showing how it goes on, and print where its model answers.

    The exit status is 1 if the job fails or is cancelled. Ctrl-C leaves it running; a second Ctrl-C stops it.
    """
    from trainyard.requests import path_of

    session.show(session.request("GET", path_of("jobs", job_id), query={"wait": 60}))
    _end(session, job_id, shown=False)


def _end(session: Session, job_id: str, *, shown: bool) -> None:
    """Wait from now on; what was reported before is the beginning of the curve."""
    from trainyard.cli.ending import end
    from trainyard.cli.waiting import wait_for
    from trainyard.requests import path_of

    past = session.ask("GET", path_of("jobs", job_id, "history"), query={"points": POINTS})
    document = session.ask("GET", path_of("jobs", job_id))
    end(session, wait_for(session, document, past, shown=shown))


@command(job, "pause", example="trainyard job pause job_1htz3m43bnmnve1q9w78a")
@click.argument("job_id", metavar="JOB", type=NAME_OF_JOB)
def pause(session: Session, job_id: str) -> None:
    """Pause a job; it keeps its state until it is resumed."""
    _change(session, job_id, "pause")


@command(job, "resume", example="trainyard job resume job_1htz3m43bnmnve1q9w78a")
@click.argument("job_id", metavar="JOB", type=NAME_OF_JOB)
def resume(session: Session, job_id: str) -> None:
    """Let a paused job go on."""
    _change(session, job_id, "resume")


@command(job, "stop", example="trainyard job stop job_1htz3m43bnmnve1q9w78a")
@click.argument("job_id", metavar="JOB", type=NAME_OF_JOB)
def stop(session: Session, job_id: str) -> None:
    """Cancel a job; its checkpoints stay."""
    _change(session, job_id, "cancel")


def _change(session: Session, job_id: str, action: str) -> None:
    from trainyard.requests import path_of

    document = session.ask("POST", path_of("jobs", job_id, action))
    session.result(document, lambda: session.output.line(document["state"]))


@command(job, "rm", example="trainyard job rm job_1htz3m43bnmnve1q9w78a")
@click.argument("job_ids", nargs=-1, required=True, metavar="JOB...", type=NAME_OF_JOB)
def remove(session: Session, job_ids: tuple[str, ...]) -> None:
    """Delete jobs that have ended, with their histories; versions stay."""
    from trainyard.cli.removing import remove_all

    remove_all(session, "jobs", job_ids)
