"""What a file of a network is, by its first bytes."""

from __future__ import annotations

from enum import StrEnum

from models.formats.untrusted_hdf5 import SIGNATURE

__all__ = ["BEGINNING", "Kind", "kind_of"]

#: Bytes that decide.
BEGINNING = 8


class Kind(StrEnum):
    """The format of a file that holds a network."""

    HDF5 = "hdf5"
    ONNX = "onnx"
    SKOPS = "skops"


def kind_of(beginning: bytes) -> Kind | None:
    """The kind of a file by its first ``BEGINNING`` bytes, None if it is none of them.

    An ONNX file is a protocol buffer without a signature. Every program that writes one begins with the first field of
    ``ModelProto``, ``ir_version``, a number.
    """
    if beginning.startswith(SIGNATURE):
        return Kind.HDF5
    if beginning.startswith(b"PK"):
        return Kind.SKOPS
    return Kind.ONNX if beginning[:1] == b"\x08" else None
