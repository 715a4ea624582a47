"""The file of a dataset.

/         attrs: format "trainyard-dataset", format_version 1, features (JSON), label_kind, created_at, name (empty for
          the rows of a training request)
/inputs   (n_rows, n_features), float32 if it represents every number exactly, else float64
/labels   (n_rows,) int64, indices into classes
/classes  UTF-8 JSON list, as bytes
/weights  (n_rows,) float64, how much each row counts; absent if all rows count the same
/source   UTF-8 JSON, as bytes: how the file was read, and warnings; absent if the columns are not described
"""

from __future__ import annotations

import errno
import json
import mmap
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from models.data.dataset import Dataset
from models.data.labels import Labels
from models.data.profile import Provenance
from models.formats.hdf5_image import Image, Put, hdf5_image
from models.identifiers import LOCAL
from nncore.arrays import Array

__all__ = ["DatasetLabel", "dataset_image", "is_inline", "load_dataset", "load_label", "put_label"]


FORMAT, FORMAT_VERSION = "trainyard-dataset", 1


@dataclass(frozen=True)
class DatasetLabel:
    """Metadata in a dataset's file: its name (None for the rows of a training request) and its time of creation.

    ``source`` says how the file was read; None if the database row does not describe the columns. ``owner`` is whose it
    is.
    """

    name: str | None
    created_at: str
    source: Provenance | None = None
    owner: str = LOCAL


def dataset_image(dataset: Dataset, label: DatasetLabel | None = None) -> Image:
    """The file of a dataset, good until its arrays change."""
    with np.errstate(over="ignore"):
        single = dataset.inputs.astype(np.float32)
    inputs = single if np.array_equal(single, dataset.inputs) else dataset.inputs

    def build(file: h5py.File, put: Put) -> None:
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["features"] = json.dumps(dataset.features)
        file.attrs["label_kind"] = dataset.labels.kind
        if label is not None:
            put_label(file, put, label)
        put("inputs", inputs)
        put("labels", dataset.labels.codes.astype(np.int64))
        if dataset.weights is not None:
            put("weights", dataset.weights)
        put("classes", np.frombuffer(json.dumps(dataset.labels.classes).encode(), np.uint8))

    return hdf5_image(build)


def put_label(file: h5py.File, put: Put, label: DatasetLabel) -> None:
    """Write the metadata."""
    file.attrs["name"], file.attrs["created_at"] = label.name or "", label.created_at
    if label.owner != LOCAL:
        file.attrs["owner"] = label.owner
    if label.source is not None:
        put("source", np.frombuffer(json.dumps(label.source.document()).encode(), np.uint8))


def load_dataset(path: Path, *, mapped: bool = False) -> Dataset:
    """Read a dataset's file; with ``mapped``, its inputs are read-only and come from the file as they are used.

    Raises OSError with the file's name if that fails.
    """
    try:
        return _read(path, mapped=mapped)
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "no such file", str(path)) from error
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        found = str(error).replace(str(path), path.name)
        detail = f"is not a {FORMAT} of version {FORMAT_VERSION}: {found}"
        raise OSError(errno.EIO, detail, str(path)) from error


def load_label(path: Path) -> DatasetLabel | None:
    """The metadata in a dataset's file, or None if it has none. Raises OSError if the file cannot be read."""
    try:
        with h5py.File(path, "r") as file:
            if "name" not in file.attrs:
                return None
            source = Provenance.of(json.loads(file["source"][()].tobytes())) if "source" in file else None
            owner = str(file.attrs.get("owner", LOCAL))
            return DatasetLabel(file.attrs["name"] or None, file.attrs["created_at"], source, owner)
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        raise OSError(errno.EIO, f"is not a {FORMAT}: {error}", str(path)) from error


def is_inline(path: Path) -> bool:
    """Whether a file holds the rows of a training request, which only that request's job needs."""
    try:
        label = load_label(path)
    except OSError:
        return False
    return label is not None and label.name is None


def _read(path: Path, *, mapped: bool) -> Dataset:
    with h5py.File(path, "r") as file:
        format_and_version = file.attrs.get("format"), file.attrs.get("format_version")
        if format_and_version != (FORMAT, FORMAT_VERSION):
            raise ValueError(f"its format and version are {format_and_version}")
        classes = tuple(json.loads(file["classes"][()].tobytes()))
        labels = Labels(file["labels"][()].astype(np.intp), classes, file.attrs["label_kind"])
        weights = file["weights"][()] if "weights" in file else None
        inputs = _mapped(path, file["inputs"]) if mapped else file["inputs"][()]
        return Dataset(inputs, labels, tuple(json.loads(file.attrs["features"])), weights)


def _mapped(path: Path, inputs: h5py.Dataset) -> Array:
    """The numbers of a dataset, mapped from its file if they lie there in one piece."""
    offset = inputs.id.get_offset()
    if offset is None or path.stat().st_size < offset + inputs.nbytes:
        read: Array = inputs[()]
        return read
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    mapped: Array = np.frombuffer(content, inputs.dtype, inputs.size, offset).reshape(inputs.shape)
    return mapped
