"""Checkpoints: one immutable HDF5 file with everything that serving a model and continuing a run need.

    /             attrs: format "trainyard-checkpoint", format_version 1, created_at, nncore_version, numpy_version,
                  kernels ("numpy" or "llvm", those of the run), definition (JSON), classes (JSON); for a job's
                  checkpoint also job (its id), kind and metrics (JSON)
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

The file of a version with several members has format_version 2. In place of /parameters to /history, it has

    /members/N    attrs kind, fold, ended ("epochs", "early_stopping", "max_seconds" or "" if it is under way); below it
                  /parameters to /history as above, of one network; held_out, probabilities of the rows of its fold
    /training     attrs seconds; rows, as above
    /mixture      after the end: attrs weights (JSON by kind), temperature
    /held_out     after the end: rows, codes, folds, probabilities of the mixture
    /trust        after the end: what ``models.trust`` has fitted on the held-out rows, as named arrays

The file of a sweep under way has format_version 2 too. Its definition has no members; it has

    /members/N    attr definition (JSON), of a trial that may go on or is the best so far; below it /parameters to
                  /history as above
    /training     as for several members
    /sweep        state, the state of the search and of all trials, JSON as bytes

docs/checkpoint-format.md describes the layout for readers outside this project. Datasets are contiguous and
uncompressed, so that a server can map them. Loading is strict: the definition determines every name, shape and type,
and the file must match them exactly.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from models.definition.definition import ModelDefinition
from models.definition.ensemble import Ensemble
from models.errors import InvalidError
from models.features.fitted import FittedFeatures
from models.formats.hdf5_image import Image, Memory, Put, hdf5_image
from models.formats.run_state import CheckpointError, StateReader, build_state, unreadable
from models.training.checkpoint import Checkpoint, Origin
from models.training.ensemble_checkpoint import HELD_OUT, EnsembleCheckpoint, HeldOut, MemberState, Mixture
from models.training.sweep_checkpoint import SweepCheckpoint
from models.version import VERSION
from nncore.arrays import Array
from nncore.kernels.kinds import KINDS, Kind

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "MEMBERS_VERSION",
    "AnyCheckpoint",
    "CheckpointError",
    "CheckpointReader",
    "checkpoint_image",
    "load_checkpoint",
    "load_features",
    "load_held_out",
    "load_training_rows",
    "unreadable",
]

#: The versions of the format: of a single network, and of several members.
FORMAT, FORMAT_VERSION, MEMBERS_VERSION = "trainyard-checkpoint", 1, 2
AnyCheckpoint = Checkpoint | EnsembleCheckpoint | SweepCheckpoint


def checkpoint_image(checkpoint: AnyCheckpoint, memory: Memory | None = None) -> Image:
    """The file of a checkpoint, for ``write_durably``.

    The image is valid until the checkpoint's arrays change or, if they are copied to ``memory``, until that is reused.
    """
    return hdf5_image(lambda file, put: _build(file, put, checkpoint), memory)


def _build(file: h5py.File, put: Put, checkpoint: AnyCheckpoint) -> None:
    definition = checkpoint.definition
    file.attrs["format"] = FORMAT
    file.attrs["format_version"] = FORMAT_VERSION if isinstance(checkpoint, Checkpoint) else MEMBERS_VERSION
    file.attrs["created_at"] = checkpoint.created_at
    file.attrs["nncore_version"] = VERSION
    file.attrs["numpy_version"] = np.__version__
    file.attrs["kernels"] = checkpoint.kernels
    file.attrs["definition"] = definition.canonical()
    file.attrs["classes"] = json.dumps(definition.classes)
    file.attrs.update({} if checkpoint.origin is None else checkpoint.origin.attributes())
    if checkpoint.features is not None:
        file.create_group("features")
        for name, array in checkpoint.features.arrays().items():
            put(f"features/{name}", array)
    match checkpoint:
        case Checkpoint():
            build_state(file, put, checkpoint)
        case EnsembleCheckpoint():
            _build_members(file, put, checkpoint)
        case SweepCheckpoint():
            _build_sweep(file, put, checkpoint)


def _build_members(file: h5py.File, put: Put, checkpoint: EnsembleCheckpoint) -> None:
    members = file.create_group("members")
    for number, member in sorted(checkpoint.members.items()):
        group = members.create_group(str(number))
        group.attrs["kind"], group.attrs["fold"], group.attrs["ended"] = member.kind, member.fold, member.ended or ""
        build_state(group, put, member.checkpoint, f"members/{number}/")
        if member.held_out is not None:
            put(f"members/{number}/held_out", member.held_out)
    _build_training(file, put, checkpoint)
    if checkpoint.mixture is not None:
        mixture = file.create_group("mixture")
        mixture.attrs["weights"] = json.dumps(dict(checkpoint.mixture.weights))
        mixture.attrs["temperature"] = checkpoint.mixture.temperature
    if checkpoint.held_out is not None:
        for name, dtype in HELD_OUT.items():
            put(f"held_out/{name}", getattr(checkpoint.held_out, name).astype(dtype, copy=False))
    for name, array in checkpoint.trust.items():
        put(f"trust/{name}", array)


def _build_sweep(file: h5py.File, put: Put, checkpoint: SweepCheckpoint) -> None:
    members = file.create_group("members")
    for number, member in sorted(checkpoint.members.items()):
        group = members.create_group(str(number))
        group.attrs["definition"] = member.definition.canonical()
        build_state(group, put, member, f"members/{number}/")
    _build_training(file, put, checkpoint)
    # An attribute could not hold that of many trials.
    put("sweep/state", np.frombuffer(json.dumps(checkpoint.search).encode(), np.uint8))


def _build_training(file: h5py.File, put: Put, checkpoint: EnsembleCheckpoint | SweepCheckpoint) -> None:
    file.create_group("training").attrs["seconds"] = checkpoint.seconds
    put("training/rows", checkpoint.rows.astype(np.int64))


def load_checkpoint(path: Path) -> AnyCheckpoint:
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


def load_held_out(path: Path) -> tuple[ModelDefinition, HeldOut | None]:
    """The definition in a checkpoint, and what is known of rows that its members held out, None if nothing is.

    Raises CheckpointError with path, expected and found.
    """
    try:
        with h5py.File(path, "r") as file:
            reader = CheckpointReader(path, file)
            return reader.definition(), reader.held_out()
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


class CheckpointReader:
    """An open checkpoint file, checked strictly against its definition."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path, self.file = path, file
        expected = {"format": (FORMAT,), "format_version": (FORMAT_VERSION, MEMBERS_VERSION)}
        for name, values in expected.items():
            found = file.attrs.get(name)
            if found not in values:
                raise CheckpointError(path, f"/ attribute {name}", " or ".join(map(repr, values)), repr(found))

    def definition(self) -> ModelDefinition:
        """The definition, which determines the rest of the file."""
        return self._definition(self.file)

    def _definition(self, group: h5py.Group) -> ModelDefinition:
        try:
            return ModelDefinition.parse(group.attrs["definition"])
        except InvalidError as error:
            place = f"{group.name} attribute definition"
            raise CheckpointError(self.path, place, "a valid definition", error.detail) from error

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

    def checkpoint(self) -> AnyCheckpoint:
        """The whole content."""
        definition = self.definition()
        origin, created_at = Origin.of(self.file.attrs), self.file.attrs["created_at"]
        features = self.features(definition)
        if self.is_sweep:
            return self._sweep(definition, created_at, origin, features)
        if definition.ensemble is None:
            return StateReader(self.path, self.file).checkpoint(
                definition, created_at, origin, features, self.kernels()
            )
        return EnsembleCheckpoint(
            definition=definition,
            features=features,
            members=dict(sorted(self._members(definition, created_at).items())),
            rows=self.file["training/rows"][()],
            seconds=float(self.file["training"].attrs["seconds"]),
            created_at=created_at,
            mixture=self.mixture(definition),
            held_out=self.held_out(),
            trust=self.trust(),
            origin=origin,
            kernels=self.kernels(),
        )

    def kernels(self) -> Kind:
        """The kernels of the run."""
        found = self.file.attrs.get("kernels", "numpy")  # Files of earlier releases do not say it.
        for kind in KINDS:
            if found == kind:
                return kind
        raise CheckpointError(self.path, "/ attribute kernels", " or ".join(map(repr, KINDS)), repr(found))

    @property
    def is_sweep(self) -> bool:
        """Whether the file holds trials of a sweep, none of which is the result yet."""
        return "sweep" in self.file

    def _sweep(
        self, definition: ModelDefinition, created_at: str, origin: Origin | None, features: FittedFeatures | None
    ) -> SweepCheckpoint:
        members = {}
        for name, group in self.file["members"].items():
            own = self._definition(group)
            members[int(name)] = StateReader(self.path, group).checkpoint(own, created_at, kernels=self.kernels())
        return SweepCheckpoint(
            definition=definition,
            features=features,
            members=dict(sorted(members.items())),
            search=json.loads(self.file["sweep/state"][()].tobytes()),
            rows=self.file["training/rows"][()],
            seconds=float(self.file["training"].attrs["seconds"]),
            created_at=created_at,
            origin=origin,
            kernels=self.kernels(),
        )

    def _members(self, definition: ModelDefinition, created_at: str) -> dict[int, MemberState]:
        ensemble = self.ensemble(definition)
        found = {}
        for name, group in self.file["members"].items():
            number = int(name)
            if not 1 <= number <= ensemble.members:
                raise CheckpointError(self.path, f"/members/{name}", f"a number up to {ensemble.members}", name)
            kind, fold = ensemble.kind_of(number), ensemble.fold_of(number)
            for attribute, expected in (("kind", kind.name), ("fold", fold)):
                if group.attrs[attribute] != expected:
                    place = f"/members/{name} attribute {attribute}"
                    raise CheckpointError(self.path, place, repr(expected), repr(group.attrs[attribute]))
            found[number] = MemberState(
                kind=kind.name,
                fold=fold,
                checkpoint=StateReader(self.path, group).checkpoint(
                    definition.of_kind(kind), created_at, kernels=self.kernels()
                ),
                ended=group.attrs["ended"] or None,
                held_out=group["held_out"][()] if "held_out" in group else None,
            )
        return found

    def ensemble(self, definition: ModelDefinition) -> Ensemble:
        """The members' kinds and folds."""
        if not isinstance(definition.ensemble, Ensemble):
            raise CheckpointError(self.path, "/ attribute definition", "all kinds of networks", "an open recipe")
        return definition.ensemble

    def mixture(self, definition: ModelDefinition) -> Mixture | None:
        """How the members answer together; None before the end of their run."""
        if "mixture" not in self.file:
            return None
        attributes = self.file["mixture"].attrs
        weights = json.loads(attributes["weights"])
        names = [kind.name for kind in self.ensemble(definition).kinds if not kind.baseline]
        if sorted(weights) != sorted(names) or not all(_is_share(weight) for weight in weights.values()):
            raise CheckpointError(self.path, "/mixture attribute weights", f"weights of {sorted(names)}", weights)
        temperature = float(attributes["temperature"])
        if not 0.0 < temperature < np.inf:
            raise CheckpointError(self.path, "/mixture attribute temperature", "a number above 0", temperature)
        return Mixture(weights, temperature)

    def held_out(self) -> HeldOut | None:
        """What is known of rows that a member held out; None before the end of their run."""
        if "held_out" not in self.file:
            return None
        return HeldOut(**{name: self.file[f"held_out/{name}"][()] for name in HELD_OUT})

    def trust(self) -> dict[str, Array]:
        """What was fitted on held-out rows, by name."""
        if "trust" not in self.file:
            return {}
        found: dict[str, Array] = {}
        self.file["trust"].visititems(
            lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
        )
        return found


def _is_share(weight: Any) -> bool:
    return isinstance(weight, (int, float)) and 0.0 <= weight <= 1.0
