"""Models, their versions, and the aliases of these."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.documents import read
from trainyard.paging import Pages
from trainyard.predictions import Label
from trainyard.requests import path_of

if TYPE_CHECKING:
    from trainyard.checkpoints import Checkpoint
    from trainyard.client import Trainyard
    from trainyard.evaluations import Evaluation
    from trainyard.jobs import Job
    from trainyard.predictions import Prediction

__all__ = ["Alias", "Model", "Version"]


@dataclass(frozen=True)
class Alias:
    """A name for a version, or for several that share its requests; ``version`` is None if there is none yet.

    ``versions`` have a ``weight`` each, and ``version`` is the one with the greatest. ``shadow`` predicts the same rows
    after one of them has answered. If one alias was asked for, both have metrics and counts.
    """

    model: str
    alias: str
    version: int | None = None
    versions: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    shadow: Mapping[str, Any] | None = field(default=None, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Version:
    """A published version of a model; lists leave out its ``definition``."""

    client: Trainyard = field(repr=False, compare=False)
    model_name: str
    number: int
    checkpoint: str = ""
    job_id: str | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    created_at: datetime | None = None
    definition: Mapping[str, Any] | None = field(default=None, repr=False)
    inputs: int | None = None
    parameters: int | None = None
    features: Any = field(default=None, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, document: Mapping[str, Any], client: Trainyard) -> Version:
        """A version of the API."""
        return read(cls, document, {"model": "model_name", "version": "number", "job": "job_id"}, client=client)

    @property
    def model(self) -> Model:
        """The model that it is a version of."""
        return self.client.model(self.model_name)

    def predict(self, data: Any, **options: Any) -> Prediction:
        """What this version predicts for rows; see ``Trainyard.predict``."""
        return self.client.predict(self.model_name, data, version=self.number, **options)

    def evaluate(self, data: Any, **options: Any) -> Evaluation:
        """How good this version is on labelled rows; see ``Trainyard.evaluate``."""
        return self.client.evaluate(self.model_name, data, version=self.number, **options)

    def export(self, path: str | os.PathLike[str] | None = None, format: str = "onnx") -> Path:
        """Write this version to a file that other programs run; see ``Model.export``."""
        return self.model.export(self.number, path, format)

    def promote(self, alias: str = "default") -> Alias:
        """Let an alias name this version; ``default`` answers requests that name no version."""
        return self.client.put_alias(self.model_name, alias, self.number)


@dataclass(frozen=True)
class Model:
    """A model: its newest definition, and ``default``, the version that answers if a request names none.

    ``metrics`` are those of that version, and ``job`` says how its newest job is, if the service tells them.
    """

    client: Trainyard = field(repr=False, compare=False)
    name: str
    classes: Sequence[Label] = ()
    default: int | None = None
    inputs: int | None = None
    parameters: int | None = None
    label: str | None = None
    features: Any = field(default=None, repr=False)
    layers: Sequence[Mapping[str, Any]] | None = field(default=None, repr=False)
    network: Mapping[str, Any] | None = field(default=None, repr=False)
    optimizer: Mapping[str, Any] | None = field(default=None, repr=False)
    loss: Mapping[str, Any] | None = field(default=None, repr=False)
    class_weights: Any = field(default=None, repr=False)
    dtype: str = "float32"
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)
    metrics: Mapping[str, float | None] | None = None
    job: Mapping[str, Any] | None = field(default=None, repr=False)
    owner: str | None = None
    created_at: datetime | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, document: Mapping[str, Any], client: Trainyard) -> Model:
        """A model of the API."""
        return read(cls, document, client=client)

    @property
    def _path(self) -> str:
        return path_of("models", self.name)

    def refresh(self) -> Model:
        """The model as it is now."""
        return self.client.model(self.name)

    def predict(self, data: Any, **options: Any) -> Prediction:
        """The classes of rows; see ``Trainyard.predict``."""
        return self.client.predict(self.name, data, **options)

    def evaluate(self, data: Any, **options: Any) -> Evaluation:
        """How good the model is on labelled rows; see ``Trainyard.evaluate``."""
        return self.client.evaluate(self.name, data, **options)

    def train(self, data: Any, **options: Any) -> Job:
        """Train its newest definition on other rows; see ``Trainyard.train``."""
        return self.client.train(data, model=self.name, **options)

    @property
    def versions(self) -> Pages[Version]:
        """All versions, the newest first."""
        transport, client = self.client.transport, self.client
        return Pages(transport, f"{self._path}/versions", lambda one: Version.of(one, client), "version")

    def version(self, version: int | str = "default") -> Version:
        """One version with its definition, by its number or an alias."""
        document = self.client.request("GET", f"{self._path}{path_of('versions', version)}").json()
        return Version.of(document, self.client)

    @property
    def aliases(self) -> Pages[Alias]:
        """All aliases, in alphabetical order."""
        return Pages(self.client.transport, f"{self._path}/aliases", lambda one: read(Alias, one), "alias")

    def alias(self, alias: str) -> Alias:
        """One alias."""
        return read(Alias, self.client.request("GET", f"{self._path}{path_of('aliases', alias)}").json())

    def promote(
        self,
        version: int | Version | Mapping[int, float],
        alias: str = "default",
        *,
        shadow: int | Mapping[str, Any] | None = None,
    ) -> Alias:
        """Let an alias name a version; ``default`` answers requests that name no version.

        Several versions share its requests by their weights, ``{3: 0.9, 4: 0.1}``. ``shadow`` is the number of a
        version that predicts the same rows besides, or an object with ``version``, ``share`` and ``log``.
        """
        target = version.number if isinstance(version, Version) else version
        return self.client.put_alias(self.name, alias, target, shadow=shadow)

    def download_shadow_log(self, path: str | os.PathLike[str], alias: str = "default") -> Path:
        """Write the rows that the shadow of an alias has logged to a file, a line of JSON each. Returns the path."""
        place = f"{self._path}{path_of('aliases', alias)}/shadow"
        return self.client.save(place, path, accept="application/x-ndjson")

    def clear_shadow_log(self, alias: str = "default") -> None:
        """Delete these rows."""
        self.client.delete(f"{self._path}{path_of('aliases', alias)}/shadow")

    def delete_alias(self, alias: str) -> None:
        """Delete an alias; without ``default``, the newest version answers."""
        self.client.delete(f"{self._path}{path_of('aliases', alias)}")

    @property
    def checkpoints(self) -> Pages[Checkpoint]:
        """All checkpoints of all jobs, the newest first."""
        from trainyard.checkpoints import Checkpoint

        transport, client = self.client.transport, self.client
        return Pages(transport, f"{self._path}/checkpoints", lambda one: Checkpoint.of(one, client), "id")

    def import_checkpoint(self, path: str | os.PathLike[str], classes: Sequence[str | int | bool] = ()) -> Version:
        """Publish a file as the model's next version; see ``Trainyard.import_model``."""
        return self.client.import_model(self.name, path, classes)

    def publish(self, checkpoint: str | Checkpoint) -> Version:
        """Make a checkpoint that a job has kept the model's next version; its version if it is one already."""
        wanted = checkpoint if isinstance(checkpoint, str) else checkpoint.id
        answer = self.client.request("POST", f"{self._path}/versions", {"checkpoint": wanted}).json()
        return Version.of(answer, self.client)

    def export(
        self,
        version: int | str | Version = "default",
        path: str | os.PathLike[str] | None = None,
        format: str = "onnx",
    ) -> Path:
        """Write a version, by its number or an alias, to a file that other programs run, and return the path.

        The file is ``path``, or ``NAME-VERSION.onnx`` in the present directory.
        """
        wanted = version.number if isinstance(version, Version) else version
        place = Path(f"{self.name}-{wanted}.{format}" if path is None else path)
        request = f"{self._path}{path_of('versions', wanted, 'export')}"
        return self.client.save(request, place, query={"format": format}, accept="application/octet-stream")

    @property
    def jobs(self) -> Pages[Job]:
        """All jobs that train the model, the newest first."""
        return self.client.jobs(model=self.name)

    def delete(self, *, force: bool = False) -> None:
        """Delete the model with its versions and checkpoints; ``force`` cancels its active jobs."""
        self.client.delete(self._path, force=True if force else None)

    def _repr_html_(self) -> str:
        from trainyard.html import facts

        some, rest = ", ".join(map(str, self.classes[:10])), " …" if len(self.classes) > 10 else ""
        members = {
            "classes": f"{len(self.classes)}: {some}{rest}",
            "parameters": None if self.parameters is None else f"{self.parameters:,}",
            "version": self.default,
        }
        newest = self.jobs.first()
        return facts(f"model {self.name}", members) + (newest._repr_html_() if newest is not None else "")
