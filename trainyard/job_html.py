"""What a notebook shows of a job: its state, its metrics and its curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainyard.html import curves, facts

if TYPE_CHECKING:
    from trainyard.jobs import Epoch, Job

__all__ = ["job_html"]


def job_html(job: Job) -> str:
    """The job as it was, with its history up to now."""
    measured = {f"held out: {name}": value for name, value in (job.held_out or {}).items() if isinstance(value, float)}
    trained = {} if measured else {name.replace("_", " "): value for name, value in job.metrics.items()}
    head = facts(
        f"{job.id} of {job.model_name}: {job.state}",
        {
            "epoch": f"{job.progress.epoch:,} of {job.progress.epochs:,}",
            "networks": len(job.members) or None,
            "version": job.version,
            **trained,
            **measured,
            "error": None if job.error is None else f"{job.error['detail']} ({job.error['code']})",
        },
    )
    return head + _curves(job.history(member=_shown_member(job)), job)


def _shown_member(job: Job) -> int | None:
    """The network whose curve stands for the others: the best one, or the first."""
    if not job.members:
        return None
    best = (job.best or {}).get("member")
    return int(best or job.members[0].get("member", 1))


def _curves(history: Sequence[Epoch], job: Job) -> str:
    training = [(float(each.number), each.loss) for each in history if each.loss is not None]
    held_out = [(float(each.number), each.validation_loss) for each in history if each.validation_loss is not None]
    lines = {"loss": training, **({"loss of held-out rows": held_out} if held_out else {})}
    words = f"loss by epoch of {job.id}"
    if training:
        words += f": {training[0][1]:.3g} at first, {training[-1][1]:.3g} at last"
    return curves(lines, words)
