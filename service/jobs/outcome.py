"""Outcomes: how a runner ended, reported to the trainer as one line of JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from service.jobs.record import JobError

__all__ = ["Died", "Failed", "Finished", "Outcome", "Stale", "Stopped", "decode", "encode"]


@dataclass(frozen=True)
class Finished:
    """The job is trained to its end, and its last state is saved."""


@dataclass(frozen=True)
class Stopped:
    """The runner was asked to stop, and its state is saved."""


@dataclass(frozen=True)
class Failed:
    """The job cannot go on."""

    code: str
    detail: str


@dataclass(frozen=True)
class Died:
    """The runner could not go on; another one may."""

    cause: JobError


@dataclass(frozen=True)
class Stale:
    """This owner has lost the job, so the end of its runner changes nothing."""


Outcome = Finished | Stopped | Failed | Died | Stale

_WORDS: dict[type[Outcome], str] = {
    Finished: "finished",
    Stopped: "stopped",
    Failed: "failed",
    Died: "died",
    Stale: "lost",
}


def encode(outcome: Outcome) -> str:
    """One line of JSON without its end."""
    document: dict[str, Any] = {"outcome": _WORDS[type(outcome)]}
    match outcome:
        case Failed(code, detail) | Died(JobError(code, detail)):
            document |= {"code": code, "detail": detail}
    return json.dumps(document)


def decode(line: str | bytes) -> Outcome:
    """The outcome that ``encode`` made a line of; raises ValueError for another line."""
    document = json.loads(line)
    match document:
        case {"outcome": "finished"}:
            return Finished()
        case {"outcome": "stopped"}:
            return Stopped()
        case {"outcome": "failed", "code": str(code), "detail": str(detail)}:
            return Failed(code, detail)
        case {"outcome": "died", "code": str(code), "detail": str(detail)}:
            return Died(JobError(code, detail))
        case {"outcome": "lost"}:
            return Stale()
    raise ValueError(f"not an outcome of a runner: {document!r}")
