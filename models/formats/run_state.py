"""The state of one run in a checkpoint file: what lies below one group.

The group is the file itself or that of a member: parameters, statistics, averaged_statistics, optimizer, training, best
and history, as ``models.formats.checkpoint_file`` lists them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from models.definition.definition import ModelDefinition
from models.definition.rules import optimizer_field
from models.errors import InvalidError
from models.features.fitted import FittedFeatures
from models.formats.hdf5_image import Put
from models.schemas import load
from models.training.checkpoint import Checkpoint, Origin
from nncore.arrays import Array
from nncore.best import Best
from nncore.kernels.kinds import Kind
from nncore.network import parameter_shapes, statistics_shapes
from nncore.optimizers import Optimizer
from nncore.training import Epoch, TrainingState

__all__ = ["ADDED_COLUMNS", "OPTIONAL_COLUMNS", "CheckpointError", "StateReader", "build_state", "unreadable"]


#: Columns of /history that hold NaN for epochs that were not validated.
OPTIONAL_COLUMNS = frozenset({"validation_loss", "validation_log_loss", "validation_accuracy"})
#: Columns of /history that files of earlier releases lack.
ADDED_COLUMNS = frozenset({"validation_log_loss"})


class CheckpointError(Exception):
    """A checkpoint file does not match its definition; the message has path, expected and found."""

    def __init__(self, path: Path, place: str, expected: object, found: object) -> None:
        super().__init__(f"{path.name}: {place}: expected {expected}, found {found}")


def unreadable(path: Path, error: Exception) -> CheckpointError:
    """The error for a file that HDF5 cannot read."""
    found = "no such file" if isinstance(error, FileNotFoundError) else str(error).replace(str(path), path.name)
    return CheckpointError(path, "/", "a checkpoint", found)


def build_state(group: h5py.Group, put: Put, checkpoint: Checkpoint, prefix: str = "") -> None:
    """Add the state of a run below ``group``, whose path in the file is ``prefix`` without the slash at its end."""
    state = checkpoint.state
    for name, array in checkpoint.parameters.items():
        put(f"{prefix}parameters/{name}", array)
    group.create_group("statistics")
    for name, array in checkpoint.statistics.items():
        put(f"{prefix}statistics/{name}", array)
    for name, array in state.averaged_statistics.items():
        put(f"{prefix}averaged_statistics/{name}", array)
    document = optimizer_field().serialize("optimizer", {"optimizer": checkpoint.optimizer})
    optimizer = group.create_group("optimizer")
    optimizer.attrs["type"] = document.pop("type")
    optimizer.attrs["hyperparameters"] = json.dumps(document)
    optimizer.attrs["iterations"] = state.updates
    for moment, arrays in state.moments.items():
        for name, array in arrays.items():
            put(f"{prefix}optimizer/{moment}/{name}", array)
    training = group.create_group("training")
    for name in _SCALARS:
        training.attrs[name] = getattr(state, name)
    training.attrs["streams"] = json.dumps(state.streams)
    training.attrs["schedule"] = json.dumps(state.schedule)
    put(f"{prefix}training/permutation", state.order.astype(np.int64))
    put(f"{prefix}training/rows", checkpoint.rows.astype(np.int64))
    if checkpoint.best is not None:
        _build_best(group.create_group("best"), put, checkpoint.best, prefix)
    group.create_group("history")
    for column in fields(Epoch):
        values = [getattr(epoch, column.name) for epoch in checkpoint.history]
        numbers = np.array(
            [np.nan if value is None else value for value in values],
            np.int64 if column.name == "number" else np.float64,
        )
        put(f"{prefix}history/{_column(column.name)}", numbers)


def _build_best(group: h5py.Group, put: Put, best: Best, prefix: str) -> None:
    group.attrs["monitor"] = best.monitor
    group.attrs["min_delta"] = best.min_delta
    group.attrs["value"] = math.nan if best.value is None else best.value
    group.attrs["epoch"], group.attrs["step"] = best.epoch, best.step
    group.attrs["waited"], group.attrs["waited_steps"] = best.waited, best.waited_steps
    if best.epoch:
        group.create_group("statistics")
    for name, array in best.parameters.items():
        put(f"{prefix}best/parameters/{name}", array)
    for name, array in best.statistics.items():
        put(f"{prefix}best/statistics/{name}", array)


def _column(field_name: str) -> str:
    """The column of /history for a field of ``Epoch``."""
    return "epoch" if field_name == "number" else field_name


#: Numbers of a training state that are stored as attributes of /training.
_SCALARS: dict[str, type[int] | type[float]] = {
    "epoch": int,
    "step": int,
    "position": int,
    "loss_sum": float,
    "hits": int,
    "seconds": float,
}


def _parameter_shapes(definition: ModelDefinition) -> dict[str, tuple[int, ...]]:
    return parameter_shapes(definition.layers, definition.inputs)


def _statistics_shapes(definition: ModelDefinition) -> dict[str, tuple[int, ...]]:
    return statistics_shapes(definition.layers, definition.inputs)


class StateReader:
    """The state of a run below one group of an open file, checked strictly against the run's definition."""

    def __init__(self, path: Path, group: h5py.Group) -> None:
        self.path, self.file = path, group
        self._place = group.name.rstrip("/")

    def attribute(self, group: str, name: str) -> Any:
        """A required attribute."""
        found = self.file[group].attrs.get(name)
        if found is None:
            raise CheckpointError(self.path, f"{self._place}/{group} attribute {name}", "a value", "nothing")
        return found

    def datasets(
        self, group: str, shapes: Mapping[str, tuple[int, ...]], definition: ModelDefinition
    ) -> dict[str, h5py.Dataset]:
        """The datasets below ``group``, which must have exactly these names and shapes and the definition's dtype.

        An empty group may be absent.
        """
        found: dict[str, h5py.Dataset] = {}
        if shapes or group in self.file:
            self.file[group].visititems(
                lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None
            )
        for name in sorted(shapes.keys() ^ found.keys()):
            here = (shapes[name], "nothing") if name in shapes else ("nothing", found[name].shape)
            raise CheckpointError(self.path, f"{self._place}/{group}/{name}", *here)
        for name, shape in shapes.items():
            data = found[name]
            if data.shape != shape or data.dtype != np.dtype(definition.dtype):
                expected, received = f"{definition.dtype} of {shape}", f"{data.dtype} of {data.shape}"
                raise CheckpointError(self.path, f"{self._place}/{group}/{name}", expected, received)
        return {name: found[name] for name in shapes}

    def arrays(
        self, group: str, shapes: Mapping[str, tuple[int, ...]], definition: ModelDefinition
    ) -> dict[str, Array]:
        return {name: data[()] for name, data in self.datasets(group, shapes, definition).items()}

    def checkpoint(
        self,
        definition: ModelDefinition,
        created_at: str,
        origin: Origin | None = None,
        features: FittedFeatures | None = None,
        kernels: Kind = "numpy",
    ) -> Checkpoint:
        """The state as a checkpoint; what it does not hold itself is given."""
        group = self.file["optimizer"]
        document = {"type": group.attrs["type"], **json.loads(group.attrs["hyperparameters"])}
        try:
            optimizer: Optimizer = load(optimizer_field(), document)
        except InvalidError as error:
            raise CheckpointError(
                self.path, f"{self._place}/optimizer attributes", "a valid optimizer", error.detail
            ) from error
        if set(group) != set(optimizer.vectors):
            raise CheckpointError(self.path, f"{self._place}/optimizer", sorted(optimizer.vectors), sorted(group))
        training = self.file["training"]
        shapes = _parameter_shapes(definition)
        scalars: dict[str, Any] = {name: kind(self.attribute("training", name)) for name, kind in _SCALARS.items()}
        averaged = _statistics_shapes(definition) if optimizer.average is not None else {}
        state = TrainingState(
            **scalars,
            order=training["permutation"][()],
            streams=json.loads(self.attribute("training", "streams")),
            updates=int(self.attribute("optimizer", "iterations")),
            schedule=json.loads(training.attrs.get("schedule", "{}")) or optimizer.schedule.initial_state(),
            averaged_statistics=self.arrays("averaged_statistics", averaged, definition),
            moments={name: self.arrays(f"optimizer/{name}", shapes, definition) for name in optimizer.vectors},
        )
        return Checkpoint(
            definition=definition,
            parameters=self.arrays("parameters", shapes, definition),
            statistics=self.arrays("statistics", _statistics_shapes(definition), definition),
            optimizer=optimizer,
            state=state,
            history=self.history(),
            rows=training["rows"][()],
            best=self.best(definition),
            created_at=created_at,
            origin=origin,
            features=features,
            kernels=kernels,
        )

    def best(self, definition: ModelDefinition) -> Best | None:
        if "best" not in self.file:
            return None
        value, epoch = float(self.attribute("best", "value")), int(self.attribute("best", "epoch"))
        attributes = self.file["best"].attrs
        best = Best(
            monitor=self.attribute("best", "monitor"),
            min_delta=float(self.attribute("best", "min_delta")),
            value=None if math.isnan(value) else value,
            epoch=epoch,
            waited=int(self.attribute("best", "waited")),
            # Runs of releases that did not count steps do not wait for any.
            step=int(attributes.get("step", 0)),
            waited_steps=int(attributes.get("waited_steps", 0)),
        )
        if epoch:
            best.parameters = self.arrays("best/parameters", _parameter_shapes(definition), definition)
            best.statistics = self.arrays("best/statistics", _statistics_shapes(definition), definition)
        return best

    def history(self) -> list[Epoch]:
        expected = {_column(item.name) for item in fields(Epoch)}
        found = set(self.file["history"])
        if not expected - ADDED_COLUMNS <= found <= expected:
            raise CheckpointError(self.path, f"{self._place}/history", sorted(expected), sorted(found))
        columns = {name: data[()].tolist() for name, data in self.file["history"].items()}
        for name in OPTIONAL_COLUMNS & found:
            columns[name] = [None if math.isnan(value) else value for value in columns[name]]
        columns["number"] = columns.pop("epoch")
        return [Epoch(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
