"""Parameters mapped from a checkpoint file for serving; only names, shapes and offsets are read.

For each dataset, the low-level API of h5py is used. Its high-level objects take several times as long to open a
dataset, which matters for deep networks.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import h5py
import numpy as np

from models.definition.definition import ModelDefinition
from models.definition.ensemble import Ensemble
from models.features.fitted import FittedFeatures
from models.formats.checkpoint_file import CheckpointError, CheckpointReader, unreadable
from models.training.ensemble_checkpoint import Mixture
from nncore.arrays import Array
from nncore.network import parameter_shapes, statistics_shapes

__all__ = ["MappedNetwork", "MappedVersion", "NoBestError", "map_parameters"]

Shape = tuple[int, ...]


class NoBestError(Exception):
    """A checkpoint holds no best epoch: its run looks for none, or no epoch had ended.

    Or it is of several members, of which too few have ended.
    """


class MappedNetwork(NamedTuple):
    """One network of a version: parameters and statistics by name. ``kind`` is empty if the version has one network."""

    kind: str
    parameters: dict[str, Array]


class MappedVersion(NamedTuple):
    """What a version serves with.

    ``features`` is None if the model reads rows as they are. ``mixture`` says how several networks answer together,
    None if there is one. ``trust`` is what was fitted on held-out rows.
    """

    definition: ModelDefinition
    networks: list[MappedNetwork]
    features: FittedFeatures | None
    mixture: Mixture | None = None
    trust: Mapping[str, Array] = MappingProxyType({})

    @property
    def nbytes(self) -> int:
        """The bytes of all networks' parameters and statistics."""
        return sum(array.nbytes for network in self.networks for array in network.parameters.values())

    @property
    def parameters(self) -> dict[str, Array]:
        """Parameters and statistics of the only network."""
        (network,) = self.networks
        return network.parameters


def map_parameters(path: Path, *, best: bool = False) -> MappedVersion:
    """The definition, its features, and parameters and statistics as read-only arrays mapped from the file.

    All workers share the mapped pages. If the optimizer keeps a moving average of the parameters, that is served.
    With ``best``, the parameters are those of the best epoch so far; raises NoBestError if the file holds none, if the
    file of several members holds no mixture yet, and if it is that of a sweep under way. Raises CheckpointError with
    path, expected and found if the datasets do not match the definition exactly, or if an array is not stored
    contiguously.
    """
    try:
        with h5py.File(path, "r") as file:
            reader = CheckpointReader(path, file)
            definition = reader.definition()
            features = reader.features(definition)
            mixture, trust = None, {}
            if reader.is_sweep:
                raise NoBestError
            if definition.ensemble is None:
                groups = _best(file) if best else _present(file)
                found = [("", _places(path, file, definition, groups))]
            else:
                mixture, trust = reader.mixture(definition), reader.trust()
                if mixture is None:
                    raise NoBestError
                found = list(_members(path, file, definition, reader.ensemble(definition)))
        with path.open("rb") as raw:
            content = mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ)
        networks = [
            MappedNetwork(kind, {name: place.array(content, definition.dtype) for name, place in places.items()})
            for kind, places in found
        ]
        return MappedVersion(definition, networks, features, mixture, trust)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise unreadable(path, error) from error


def _members(
    path: Path, file: h5py.File, definition: ModelDefinition, ensemble: Ensemble
) -> Iterator[tuple[str, dict[str, _Place]]]:
    """The places of each member that answers: those of its best epoch, if its run looked for it."""
    for name in sorted(file["members"], key=int):
        kind = ensemble.kind_of(int(name))
        group = file[f"members/{name}"]
        if kind.baseline or not group.attrs["ended"]:
            continue
        holds_best = "best" in group and group["best"].attrs.get("epoch", 0)
        groups = _best(group) if holds_best else _present(group)
        yield kind.name, _places(path, group, definition.of_kind(kind), groups)


def _places(path: Path, group: h5py.Group, definition: ModelDefinition, groups: tuple[str, str]) -> dict[str, _Place]:
    """The places of parameters and statistics in two groups."""
    served, statistics = groups
    shapes = parameter_shapes(definition.layers, definition.inputs)
    others = statistics_shapes(definition.layers, definition.inputs)
    return {
        **_Group(path, group, served, definition.dtype).places(shapes),
        **_Group(path, group, statistics, definition.dtype).places(others),
    }


def _present(group: h5py.Group) -> tuple[str, str]:
    """The groups of the parameters and statistics that a network is served with."""
    served = "optimizer/average" if "average" in group["optimizer"] else "parameters"
    return served, "averaged_statistics" if "averaged_statistics" in group else "statistics"


def _best(group: h5py.Group) -> tuple[str, str]:
    """The groups of the best epoch; raises NoBestError if there is none."""
    if "best" not in group or not group["best"].attrs.get("epoch", 0):
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

    def __init__(self, path: Path, file: h5py.Group, name: str, dtype: str) -> None:
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
        return CheckpointError(self._path, f"{self._file.name.rstrip('/')}/{self._name}/{name}", expected, found)
