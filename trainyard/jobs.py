"""Jobs: training runs that can be followed, waited for, paused and ended."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.datasets import TABLE_TYPES
from trainyard.documents import read
from trainyard.errors import JobFailed
from trainyard.event_stream import Event
from trainyard.paging import Pages
from trainyard.requests import path_of

if TYPE_CHECKING:
    from trainyard.checkpoints import Checkpoint
    from trainyard.client import Trainyard
    from trainyard.evaluations import Evaluation
    from trainyard.models import Model
    from trainyard.predictions import Prediction

__all__ = ["FINAL", "Epoch", "Job", "Progress"]

#: States that a job keeps.
FINAL = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Epoch:
    """One pass over the data: means of its batches, and metrics of the rows that are held out.

    ``member`` is the network whose epoch it is, if the job trains several; these count from 1.
    """

    number: int
    loss: float | None = None
    accuracy: float | None = None
    validation_loss: float | None = None
    validation_log_loss: float | None = None
    validation_accuracy: float | None = None
    learning_rate: float | None = None
    seconds: float | None = None
    member: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Epoch:
        """An epoch of the API."""
        return read(cls, document, {"epoch": "number"})


@dataclass(frozen=True)
class Progress:
    """How far a job is; ``eta_seconds`` is None if that is not known."""

    epoch: int = 0
    epochs: int = 0
    step: int = 0
    fraction: float = 0.0
    eta_seconds: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Job:
    """A training run as it was when it was asked for: ``refresh`` and ``wait`` return newer ones.

    Iterating over a job gives its epochs as they end, from the first one on, until the job ends.
    """

    client: Trainyard = field(repr=False, compare=False)
    id: str
    model_name: str
    state: str
    progress: Progress = field(default_factory=Progress)
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    best: Mapping[str, Any] | None = None
    stopped_by: str | None = None
    kernels: str | None = None
    members: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    held_out: Mapping[str, Any] | None = field(default=None, repr=False)
    checkpoint: str | None = None
    version: int | None = None
    error: Mapping[str, str] | None = None
    warnings: Sequence[Mapping[str, Any]] = ()
    attempt: int = 1
    request: Mapping[str, Any] = field(default_factory=dict, repr=False)
    owner: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, document: Mapping[str, Any], client: Trainyard) -> Job:
        """A job of the API."""
        progress = read(Progress, document.get("progress") or {})
        return read(cls, {**document, "progress": progress}, {"model": "model_name"}, client=client)

    @property
    def _path(self) -> str:
        return path_of("jobs", self.id)

    @property
    def has_ended(self) -> bool:
        """Whether the state is final."""
        return self.state in FINAL

    @property
    def model(self) -> Model:
        """The model that the job trains."""
        return self.client.model(self.model_name)

    def refresh(self) -> Job:
        """The job as it is now."""
        return self.client.job(self.id)

    def wait(self, timeout: float | None = None) -> Job:
        """The job when it has ended, also if the service restarts meanwhile.

        Raises JobFailed if it failed or was cancelled, and TimeoutError if it has not ended after ``timeout`` seconds.
        """
        from trainyard.waiting import ended

        job = ended(self, timeout)
        if job.state != "succeeded":
            error = job.error or {"code": job.state, "detail": f"the job was {job.state}"}
            raise JobFailed(error["code"], error["detail"], job)
        return job

    def __iter__(self) -> Iterator[Epoch]:
        return (Epoch.of(event.data) for event in self.events() if event.type == "epoch")

    def events(self, after: int | None = None) -> Iterator[Event]:
        """The events as they happen, from the first one on or behind the one with the id ``after``, until the job ends.

        If the connection breaks, they go on behind the last one.
        """
        from trainyard.waiting import events_of

        return events_of(self, after)

    def list_events(self) -> Pages[Event]:
        """The events so far, the newest first."""
        return Pages(self.client.transport, f"{self._path}/events", Event.of, "id")

    def history(self, member: int | None = None, points: int | None = None) -> list[Epoch]:
        """The epochs so far, or those of one ``member``.

        With ``points``, about so many of them, among which are the extremes.
        """

        def place(epoch: Mapping[str, Any]) -> str:
            several = "member" in epoch and member is None
            return f"{epoch['member']}:{epoch['epoch']}" if several else str(epoch["epoch"])

        query = {"member": member, "points": points, "limit": None}
        return list(Pages(self.client.transport, f"{self._path}/history", Epoch.of, place, query))

    @property
    def checkpoints(self) -> Pages[Checkpoint]:
        """The checkpoints that it has saved and kept, the newest first."""
        from trainyard.checkpoints import Checkpoint

        transport, client = self.client.transport, self.client
        return Pages(transport, f"{self._path}/checkpoints", lambda one: Checkpoint.of(one, client), "id")

    def pause(self) -> Job:
        """Pause the job: it saves its state and waits."""
        return self._asked("pause")

    def resume(self) -> Job:
        """Let a paused job go on."""
        return self._asked("resume")

    def cancel(self) -> Job:
        """End the job; its checkpoints stay."""
        return self._asked("cancel")

    def _asked(self, verb: str) -> Job:
        return Job.of(self.client.request("POST", f"{self._path}/{verb}").json(), self.client)

    def delete(self) -> None:
        """Delete the job, which must have ended, with its events; its versions and checkpoints stay."""
        self.client.delete(self._path)

    def download_held_out(self, path: str | os.PathLike[str]) -> Path:
        """Write the predictions of its training rows, each by networks that did not train on it, and return the path.

        The ending of ``path`` is .csv, .ndjson or .parquet.
        """
        place = Path(path)
        kind = TABLE_TYPES.get(place.suffix.lower(), "text/csv")
        return self.client.save(f"{self._path}/held_out", place, accept=kind)

    def predict(self, data: Any, checkpoint: str = "best", **options: Any) -> Prediction:
        """What a checkpoint of the job predicts, also while it runs: ``best``, ``last``, or one's id."""
        version = {"job": self.id, "checkpoint": checkpoint}
        return self.client.predict(self.model_name, data, version=version, **options)

    def evaluate(self, part: str = "validation", **options: Any) -> Evaluation:
        """How good its version is on the rows that it held out (``validation``), or trained on (``training``)."""
        version = {} if self.version is None else {"version": self.version}
        return self.client.evaluate(self.model_name, {"job": self.id, "part": part}, **{**version, **options})

    def _repr_html_(self) -> str:
        from trainyard.job_html import job_html

        return job_html(self)
