"""Parameters mapped from a checkpoint file for serving; only names, shapes and offsets are read.

For each dataset, the low-level API of h5py is used. Its high-level objects take several times as long to open a
dataset, which matters for deep networks.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from models.definition.definition import ModelDefinition
from models.features.fitted import FittedFeatures
from models.formats.checkpoint_file import CheckpointError, CheckpointReader, unreadable
from nncore.arrays import Array
from nncore.network import parameter_shapes, statistics_shapes

__all__ = ["MappedParameters", "NoBestError", "map_parameters"]

Shape = tuple[int, ...]


class NoBestError(Exception):
    """A checkpoint holds no best epoch: its run looks for none, or no epoch had ended."""


class MappedParameters(NamedTuple):
    """What a version serves with; ``features`` is None if the model reads rows as they are."""

    definition: ModelDefinition
    parameters: dict[str, Array]
    features: FittedFeatures | None


def map_parameters(path: Path, *, best: bool = False) -> MappedParameters:
    """The definition, its features, and parameters and statistics as read-only arrays mapped from the file.

    All workers share the mapped pages. If the optimizer keeps a moving average of the parameters, that is served.
    With ``best``, the parameters are those of the best epoch so far; raises NoBestError if the file holds none.
    Raises CheckpointError with path, expected and found if the datasets do not match the definition exactly, or if an
    array is not stored contiguously.
    """
    try:
        with h5py.File(path, "r") as file:
            reader = CheckpointReader(path, file)
            definition = reader.definition()
            features = reader.features(definition)
            served, statistics = _best(file) if best else _present(file)
            places = {
                **_Group(path, file, served, definition.dtype).places(
                    parameter_shapes(definition.layers, definition.inputs)
                ),
                **_Group(path, file, statistics, definition.dtype).places(
                    statistics_shapes(definition.layers, definition.inputs)
                ),
            }
        with path.open("rb") as raw:
            content = mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ)
        parameters = {name: place.array(content, definition.dtype) for name, place in places.items()}
        return MappedParameters(definition, parameters, features)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise unreadable(path, error) from error


def _present(file: h5py.File) -> tuple[str, str]:
    """The groups of the parameters and statistics that a file is served with."""
    served = "optimizer/average" if "average" in file["optimizer"] else "parameters"
    return served, "averaged_statistics" if "averaged_statistics" in file else "statistics"


def _best(file: h5py.File) -> tuple[str, str]:
    """The groups of the best epoch; raises NoBestError if there is none."""
    if "best" not in file or not file["best"].attrs.get("epoch", 0):
        raise NoBestError
    return "best/parameters", "best/statistics"


class _Place(NamedTuple):
    """The place of an array in its file."""

    offset: int
    shape: Shape

    def array(self, content: mmap.mmap, dtype: str) -> Array:
        """The array as a view of the mapped file; a copy if its offset is not a multiple of the item size."""
        array: Array = np.ndarray(self.shape, dtype, content, self.offset)
        return np.require(array, requirements="A")


class _Group:
    """A group of an open file, with expected names, shapes and type of its datasets."""

    def __init__(self, path: Path, file: h5py.File, name: str, dtype: str) -> None:
        self._path, self._file, self._name = path, file, name
        self._type = h5py.h5t.py_create(np.dtype(dtype))

    def places(self, shapes: Mapping[str, Shape]) -> dict[str, _Place]:
        """The places of these datasets. Raises CheckpointError if others exist; an empty group may be absent."""
        if not shapes and self._name not in self._file:
            return {}
        group = self._file[self._name]
        links: dict[str, int] = {}
        group.id.links.visit(lambda name, link: links.update({name.decode(): link.type}), info=True)
        for name in sorted(shapes.keys() - links.keys()):
            raise self._refusal(name, shapes[name], "nothing")
        for name, kind in links.items():
            if kind != h5py.h5l.TYPE_HARD:
                raise self._refusal(name, "a hard link", "a link of another kind")
        for name in sorted(links.keys() - shapes.keys() - {name.partition("/")[0] for name in shapes}):
            if isinstance(group[name], h5py.Dataset):
                raise self._refusal(name, "nothing", group[name].shape)
        return {name: self._place(group, name, shape) for name, shape in shapes.items()}

    def _place(self, group: h5py.Group, name: str, shape: Shape) -> _Place:
        data = h5py.h5o.open(group.id, name.encode())
        if not isinstance(data, h5py.h5d.DatasetID):
            raise self._refusal(name, shape, "a group")
        if data.shape != shape or data.get_type() != self._type:
            raise self._refusal(name, f"{self._type.dtype} of {shape}", f"{data.dtype} of {data.shape}")
        offset = data.get_offset()
        if offset is None:
            raise self._refusal(name, "a contiguous dataset", "no place in the file")
        return _Place(offset, shape)

    def _refusal(self, name: str, expected: object, found: object) -> CheckpointError:
        return CheckpointError(self._path, f"/{self._name}/{name}", expected, found)
