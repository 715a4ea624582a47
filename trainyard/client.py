"""The client of a service."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainyard.checkpoints import Checkpoint
from trainyard.datasets import Dataset
from trainyard.documents import read
from trainyard.errors import Busy
from trainyard.evaluations import Evaluation
from trainyard.event_stream import Event
from trainyard.jobs import Job
from trainyard.models import Alias, Model, Version
from trainyard.paging import Pages
from trainyard.predicted_files import predict_file
from trainyard.predicting import predict
from trainyard.predictions import Prediction
from trainyard.requests import path_of
from trainyard.service import AuditRecord, DryRun, Key
from trainyard.session import Session
from trainyard.training import labelled_rows, training_request
from trainyard.uploads import upload
from trainyard.waiting import all_events

__all__ = ["Trainyard"]


class Trainyard(Session):
    """A service: its models, datasets and jobs.

    The ``url`` is that in ``TRAINYARD_URL``, or http://127.0.0.1:8000, if it is left out; it may be ``unix:PATH`` too.
    The ``key`` is that in ``TRAINYARD_KEY`` if it is left out. ``timeout`` is the number of seconds without an answer
    after which a request is given up, and ``retries`` how often it is sent again if that is safe. An admin may work for
    another ``owner``. A client may be used by several threads; it opens a connection when it first needs one.
    """

    # Datasets.

    def upload(self, data: Any, name: str | None = None, label: str | None = None, **options: Any) -> Dataset:
        """Store a table: a file's path, a frame, a list of objects, lists by column, or ``(X, y)``.

        The name is that of the file if it is left out. ``options`` are those of ``POST /datasets``, such as ``types``,
        ``ignore`` or ``delimiter``. The same table is stored once, however often it is uploaded within a day. If
        another table has the name, this raises Conflict if ``name`` was given, and otherwise finds a free name.
        """
        return upload(self, data, name, {"label": label, **options}, exact=name is not None)

    def datasets(self, prefix: str | None = None) -> Pages[Dataset]:
        """All datasets, the newest first, or those whose name begins with ``prefix``."""
        return Pages(self.transport, "/datasets", lambda one: Dataset.of(one, self), "id", {"prefix": prefix})

    def dataset(self, key: str) -> Dataset:
        """A dataset by its name or id."""
        return Dataset.of(self.request("GET", path_of("datasets", key)).json(), self)

    # Training.

    def train(
        self,
        data: Any,
        *,
        label: str | None = None,
        name: str | None = None,
        model: str | None = None,
        held_out: Any = None,
        patience: int | None = None,
        skip: Sequence[str] = (),
        **options: Any,
    ) -> Job:
        """Train a model and return the job, which has only begun then.

        ``data`` is the name of a dataset or what ``upload`` takes. The model is named after it, or ``name``; ``model``
        trains the newest definition of an existing one. ``held_out`` is a share of the rows, or rows like ``data``.
        With ``patience``, the job ends after so many epochs without improvement; a fifth of the rows is held out then
        if nothing else is said. Columns to ``skip`` are not used. ``options`` are members of a definition (``hidden``,
        ``layers``, ``features`` and so on) or of ``POST /train`` (``epochs``, ``optimizer``, ``seed`` and so on).
        """
        request = training_request(
            self,
            data,
            label=label,
            name=name,
            model=model,
            held_out=held_out,
            patience=patience,
            skip=skip,
            options=options,
        )
        return Job.of(self.request("POST", "/train", request).json(), self)

    def dry_run(self, data: Any, **options: Any) -> DryRun:
        """What ``train`` with the same arguments would need; rows that are no dataset yet are uploaded."""
        given = {"label": None, "name": None, "model": None, "held_out": None, "patience": None, "skip": ()}
        known = {name: options.pop(name, default) for name, default in given.items()}
        request = training_request(self, data, options=options, **known)
        return read(DryRun, self.request("POST", "/train", {**request, "dry_run": True}).json())

    def sweep(self, train: Mapping[str, Any], over: Mapping[str, Any], **options: Any) -> Job:
        """Train many variants of a request side by side and publish the best one.

        ``train`` is a request as for ``POST /train``, and ``over`` has the values for each JSON pointer into it.
        ``options`` are ``search``, ``monitor`` and what else ``POST /sweeps`` takes.
        """
        return Job.of(self.request("POST", "/sweeps", {"train": train, "over": over, **options}).json(), self)

    def jobs(self, model: str | None = None, state: str | None = None) -> Pages[Job]:
        """All jobs, the newest first; those of a model or in a state alone, if that is given."""
        return Pages(self.transport, "/jobs", lambda one: Job.of(one, self), "id", {"model": model, "state": state})

    def job(self, job_id: str, *, wait: float | None = None, retries: int | None = None) -> Job:
        """A job by its id; with ``wait``, as it is when it ends or so many seconds are over (at most 60)."""
        seconds = self.timeout + (wait or 0.0)
        answer = self.request("GET", path_of("jobs", job_id), query={"wait": wait}, timeout=seconds, retries=retries)
        return Job.of(answer.json(), self)

    def events(self, after: int | None = None) -> Iterator[Event]:
        """The events of all jobs as they happen, without an end: from now on, or behind the one with the id ``after``.

        An event's ``data`` names its ``job``.
        """
        return all_events(self, after)

    # Models.

    def define(self, name: str, **definition: Any) -> Model:
        """Define a model by the members of ``POST /models``, such as ``classes``, ``features`` and ``hidden``."""
        return Model.of(self.request("POST", "/models", {"name": name, **definition}).json(), self)

    def models(self, prefix: str | None = None) -> Pages[Model]:
        """All models, the newest first, or those whose name begins with ``prefix``."""

        def place(model: Mapping[str, Any]) -> str:
            return f"{model['owner']}~{model['name']}" if "owner" in model else str(model["name"])

        return Pages(self.transport, "/models", lambda one: Model.of(one, self), place, {"prefix": prefix})

    def model(self, name: str) -> Model:
        """A model by its name."""
        return Model.of(self.request("GET", path_of("models", name)).json(), self)

    def import_model(
        self, name: str, path: str | os.PathLike[str], classes: Sequence[str | int | bool] = ()
    ) -> Version:
        """Publish a file as the next version of a model: a checkpoint, or a network in an ONNX or a skops file.

        The model need not exist if the file is one of the latter two. ``classes`` are the labels of the network's
        outputs in their order, in place of those of the file.
        """
        labels = [str(label).lower() if isinstance(label, bool) else str(label) for label in classes]
        query = {"classes": ",".join(labels) or None}
        # The service sees what the file is by its content.
        document = self.upload_file(
            path_of("models", name, "checkpoints"), Path(path), "application/octet-stream", query
        )
        return Version.of(document, self)

    def put_alias(
        self,
        model: str,
        alias: str,
        version: int | Mapping[int, float],
        *,
        shadow: int | Mapping[str, Any] | None = None,
    ) -> Alias:
        """Let an alias of a model name a version, or several with their weights; see ``Model.promote``."""
        body: dict[str, Any] = {"version": version}
        if isinstance(version, Mapping):
            body = {"versions": [{"version": number, "weight": weight} for number, weight in version.items()]}
        if shadow is not None:
            body["shadow"] = {"version": shadow} if isinstance(shadow, int) else dict(shadow)
        return read(Alias, self.request("PUT", path_of("models", model, "aliases", alias), body).json())

    def checkpoint(self, checkpoint_id: str) -> Checkpoint:
        """A checkpoint by its id."""
        return Checkpoint.of(self.request("GET", path_of("checkpoints", checkpoint_id)).json(), self)

    def predict(self, model: str, data: Any, *, version: Any = None, **options: Any) -> Prediction:
        """The classes of rows and their probabilities.

        ``data`` is an object or a list of objects by column, a frame, an array or lists of numbers, or a file's path.
        Many rows are sent in several requests, which one version answers. ``version`` is a number, an alias, a
        checkpoint's id, or ``{"job": …, "checkpoint": "best"}``. ``options`` are ``coverage``, ``by_class``,
        ``uncertainty``, ``report``, ``explain`` and ``sticky``, or those for reading a file.
        """
        return predict(self, model, data, version, options)

    def predict_file(
        self,
        model: str,
        source: str | os.PathLike[str],
        target: str | os.PathLike[str],
        *,
        version: Any = None,
        **options: Any,
    ) -> Path:
        """Write the file ``target`` with the columns of ``source`` and the predictions beside them, however long it is.

        The ending of ``target`` is .csv, .ndjson or .parquet.
        """
        return predict_file(self, model, Path(source), Path(target), version, options)

    def evaluate(
        self, model: str, data: Any, *, label: str | None = None, version: Any = None, **options: Any
    ) -> Evaluation:
        """How good a model is on labelled rows, which are given as to ``train``.

        ``{"job": …, "part": "validation"}`` are those that a job held out. ``options`` are ``rows``, ``top_k``,
        ``coverage``, ``by_class`` and ``importance``.
        """
        document = {"model": model, "data": labelled_rows(self, data, label), **options}
        document |= {} if version is None else {"version": version}
        return Evaluation.of(self.request("POST", "/evaluate", document, timeout=max(self.timeout, 300.0)).json())

    # The service.

    def key(self) -> Key:
        """What the key of this client may do, and what its owner uses."""
        return read(Key, self.request("GET", "/key").json())

    def audit(self, **query: Any) -> Pages[AuditRecord]:
        """Who changed what, the newest first; ``query`` has ``owner``, ``action``, ``kind`` and so on. For admins."""
        return Pages(self.transport, "/audit", lambda one: read(AuditRecord, one), "id", query)

    def is_live(self) -> bool:
        """Whether the service answers."""
        return bool(self.request("GET", "/health/live").json()["status"] == "live")

    def readiness(self) -> Mapping[str, str]:
        """The state of each part, such as ``{"database": "ok", "trainer": "ok"}``, also if one does not work."""
        try:
            document: Mapping[str, Any] = self.request("GET", "/health/ready", retries=0).json()
        except Busy as error:
            document = {"status": error.code, **(error.document if isinstance(error.document, Mapping) else {})}
        return {name: str(document[name]) for name in ("status", "database", "storage", "trainer") if name in document}

    def version(self) -> Mapping[str, str]:
        """The versions of the service and of what it computes with."""
        document: Mapping[str, str] = self.request("GET", "/version").json()
        return document

    def metrics(self) -> str:
        """What Prometheus reads."""
        return self.request("GET", "/metrics", accept="text/plain").text

    def index(self) -> Mapping[str, Any]:
        """Where everything is: the document at ``/``."""
        document: Mapping[str, Any] = self.request("GET", "/").json()
        return document
