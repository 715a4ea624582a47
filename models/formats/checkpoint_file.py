"""Checkpoints: one immutable HDF5 file with everything that serving a model and continuing a run need.

    /             attrs: format "trainyard-checkpoint", format_version 1, created_at, nncore_version, numpy_version,
                  definition (JSON), classes (JSON); for a job's checkpoint also job (its id), kind and metrics (JSON)
    /features     only if the model reads a table: what each feature has learned, as arrays index_column/name
    /parameters   a dataset for each parameter, index_type/name
    /statistics   a dataset for each array that is served like a parameter but not trained, index_type/name
    /averaged_statistics  moving averages of the statistics; only if /optimizer/average exists
    /optimizer    attrs: type, hyperparameters (JSON), iterations; a group for each of its vectors,
                  with the parameters' names
    /training     attrs: epoch, step, position, streams (JSON), loss_sum, hits, seconds; permutation, the order of the
                  training rows in the current epoch; rows, each training row's index in the given data
    /best         only if the run looks for its best epoch: attrs monitor, min_delta, value, epoch, step, waited,
                  waited_steps; that epoch's parameters/… and statistics/…
    /history      one dataset per column

docs/checkpoint-format.md describes the layout for readers outside this project. Datasets are contiguous and
uncompressed, so that a server can map them. Loading is strict: the definition determines every name, shape and type,
and the file must match them exactly.
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

from models.definition.definition import ModelDefinition, optimizer_field
from models.errors import InvalidError
from models.features.fitted import FittedFeatures
from models.formats.hdf5_image import Image, Memory, Put, hdf5_image
from models.schemas import load
from models.training.checkpoint import Checkpoint, Origin
from models.version import VERSION
from nncore.arrays import Array
from nncore.best import Best
from nncore.network import parameter_shapes, statistics_shapes
from nncore.optimizers import Optimizer
from nncore.training import Epoch, TrainingState

__all__ = [
    "ADDED_COLUMNS",
    "OPTIONAL_COLUMNS",
    "CheckpointError",
    "CheckpointReader",
    "checkpoint_image",
    "load_checkpoint",
    "load_features",
    "load_training_rows",
    "unreadable",
]


FORMAT, FORMAT_VERSION = "trainyard-checkpoint", 1
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


def checkpoint_image(checkpoint: Checkpoint, memory: Memory | None = None) -> Image:
    """The file of a checkpoint, for ``write_durably``.

    The image is valid until the checkpoint's arrays change or, if they are copied to ``memory``, until that is reused.
    """
    return hdf5_image(lambda file, put: _build(file, put, checkpoint), memory)


def _build(file: h5py.File, put: Put, checkpoint: Checkpoint) -> None:
    definition, state = checkpoint.definition, checkpoint.state
    file.attrs["format"] = FORMAT
    file.attrs["format_version"] = FORMAT_VERSION
    file.attrs["created_at"] = checkpoint.created_at
    file.attrs["nncore_version"] = VERSION
    file.attrs["numpy_version"] = np.__version__
    file.attrs["definition"] = definition.canonical()
    file.attrs["classes"] = json.dumps(definition.classes)
    file.attrs.update({} if checkpoint.origin is None else checkpoint.origin.attributes())
    _build_features(file, put, checkpoint)
    for name, array in checkpoint.parameters.items():
        put(f"parameters/{name}", array)
    file.create_group("statistics")
    for name, array in checkpoint.statistics.items():
        put(f"statistics/{name}", array)
    for name, array in state.averaged_statistics.items():
        put(f"averaged_statistics/{name}", array)
    document = optimizer_field().serialize("optimizer", {"optimizer": checkpoint.optimizer})
    optimizer = file.create_group("optimizer")
    optimizer.attrs["type"] = document.pop("type")
    optimizer.attrs["hyperparameters"] = json.dumps(document)
    optimizer.attrs["iterations"] = state.updates
    for moment, arrays in state.moments.items():
        for name, array in arrays.items():
            put(f"optimizer/{moment}/{name}", array)
    training = file.create_group("training")
    for name in _SCALARS:
        training.attrs[name] = getattr(state, name)
    training.attrs["streams"] = json.dumps(state.streams)
    training.attrs["schedule"] = json.dumps(state.schedule)
    put("training/permutation", state.order.astype(np.int64))
    put("training/rows", checkpoint.rows.astype(np.int64))
    if checkpoint.best is not None:
        _build_best(file.create_group("best"), put, checkpoint.best)
    file.create_group("history")
    for column in fields(Epoch):
        values = [getattr(epoch, column.name) for epoch in checkpoint.history]
        numbers = np.array(
            [np.nan if value is None else value for value in values],
            np.int64 if column.name == "number" else np.float64,
        )
        put(f"history/{_column(column.name)}", numbers)


def _build_features(file: h5py.File, put: Put, checkpoint: Checkpoint) -> None:
    if checkpoint.features is not None:
        file.create_group("features")
        for name, array in checkpoint.features.arrays().items():
            put(f"features/{name}", array)


def _build_best(group: h5py.Group, put: Put, best: Best) -> None:
    group.attrs["monitor"] = best.monitor
    group.attrs["min_delta"] = best.min_delta
    group.attrs["value"] = math.nan if best.value is None else best.value
    group.attrs["epoch"], group.attrs["step"] = best.epoch, best.step
    group.attrs["waited"], group.attrs["waited_steps"] = best.waited, best.waited_steps
    if best.epoch:
        group.create_group("statistics")
    for name, array in best.parameters.items():
        put(f"best/parameters/{name}", array)
    for name, array in best.statistics.items():
        put(f"best/statistics/{name}", array)


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


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a whole checkpoint. Raises CheckpointError with path, expected and found."""
    try:
        with h5py.File(path, "r") as file:
            return CheckpointReader(path, file).checkpoint()
    except (OSError, KeyError, ValueError) as error:
        raise unreadable(path, error) from error


def load_features(path: Path) -> tuple[ModelDefinition, FittedFeatures | None]:
    """The definition in a checkpoint, and its features with what they have learned, if it has any.

    Raises CheckpointError with path, expected and found.
    """
    try:
        with h5py.File(path, "r") as file:
            reader = CheckpointReader(path, file)
            definition = reader.definition()
            return definition, reader.features(definition)
    except (OSError, KeyError, ValueError) as error:
        raise unreadable(path, error) from error


def load_training_rows(path: Path) -> Array | None:
    """Each training row's number in the data as given, ascending; None if the file does not hold them.

    Raises CheckpointError if the file cannot be read.
    """
    try:
        with h5py.File(path, "r") as file:
            return np.sort(file["training/rows"][()]) if "training/rows" in file else None
    except (OSError, KeyError, ValueError) as error:
        raise unreadable(path, error) from error


def _parameter_shapes(definition: ModelDefinition) -> dict[str, tuple[int, ...]]:
    return parameter_shapes(definition.layers, definition.inputs)


def _statistics_shapes(definition: ModelDefinition) -> dict[str, tuple[int, ...]]:
    return statistics_shapes(definition.layers, definition.inputs)


class CheckpointReader:
    """An open checkpoint file, checked strictly against its definition."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path, self.file = path, file
        for name, expected in (("format", FORMAT), ("format_version", FORMAT_VERSION)):
            found = file.attrs.get(name)
            if found != expected:
                raise CheckpointError(path, f"/ attribute {name}", repr(expected), repr(found))

    def attribute(self, group: str, name: str) -> Any:
        """A required attribute."""
        found = self.file[group].attrs.get(name)
        if found is None:
            raise CheckpointError(self.path, f"/{group} attribute {name}", "a value", "nothing")
        return found

    def definition(self) -> ModelDefinition:
        """The definition, which determines the rest of the file."""
        try:
            return ModelDefinition.parse(self.file.attrs["definition"])
        except InvalidError as error:
            raise CheckpointError(self.path, "/ attribute definition", "a valid definition", error.detail) from error

    def features(self, definition: ModelDefinition) -> FittedFeatures | None:
        """The features with what they have learned; None if the model reads rows as they are."""
        if definition.features is None:
            return None
        if not isinstance(definition.features, tuple) or "features" not in self.file:
            raise CheckpointError(self.path, "/features", "a group with what was learned", "nothing")
        arrays: dict[str, Array] = {}
        self.file["features"].visititems(
            lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
        )
        try:
            fitted = FittedFeatures.of(definition.features, arrays)
        except ValueError as error:
            raise CheckpointError(self.path, "/features", "what the definition's features learn", error) from error
        if fitted.width != definition.inputs:
            raise CheckpointError(self.path, "/features", f"a width of {definition.inputs}", fitted.width)
        return fitted

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
            raise CheckpointError(self.path, f"/{group}/{name}", *here)
        for name, shape in shapes.items():
            data = found[name]
            if data.shape != shape or data.dtype != np.dtype(definition.dtype):
                expected, received = f"{definition.dtype} of {shape}", f"{data.dtype} of {data.shape}"
                raise CheckpointError(self.path, f"/{group}/{name}", expected, received)
        return {name: found[name] for name in shapes}

    def arrays(
        self, group: str, shapes: Mapping[str, tuple[int, ...]], definition: ModelDefinition
    ) -> dict[str, Array]:
        return {name: data[()] for name, data in self.datasets(group, shapes, definition).items()}

    def checkpoint(self) -> Checkpoint:
        definition = self.definition()
        group = self.file["optimizer"]
        document = {"type": group.attrs["type"], **json.loads(group.attrs["hyperparameters"])}
        try:
            optimizer: Optimizer = load(optimizer_field(), document)
        except InvalidError as error:
            raise CheckpointError(self.path, "/optimizer attributes", "a valid optimizer", error.detail) from error
        if set(group) != set(optimizer.vectors):
            raise CheckpointError(self.path, "/optimizer", sorted(optimizer.vectors), sorted(group))
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
            created_at=self.file.attrs["created_at"],
            origin=Origin.of(self.file.attrs),
            features=self.features(definition),
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
            raise CheckpointError(self.path, "/history", sorted(expected), sorted(found))
        columns = {name: data[()].tolist() for name, data in self.file["history"].items()}
        for name in OPTIONAL_COLUMNS & found:
            columns[name] = [None if math.isnan(value) else value for value in columns[name]]
        columns["number"] = columns.pop("epoch")
        return [Epoch(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
