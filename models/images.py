"""HDF5 files as bytes, made in memory so that they are hashed and written in one go."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import h5py

__all__ = ["hdf5_image"]


def hdf5_image(build: Callable[[h5py.File], None]) -> bytes:
    """The bytes of an HDF5 file that ``build`` fills, made in memory so that it is hashed and written in one go.

    Data sets begin at multiples of 64 bytes, so that they can be mapped and handed to vector instructions. The format
    is the one of HDF5 1.8, which every tool reads.
    """
    name = f"image-{secrets.token_hex(8)}"
    with h5py.File(
        name,
        "w",
        driver="core",
        backing_store=False,
        libver=("v108", "v108"),
        alignment_threshold=64,
        alignment_interval=64,
    ) as file:
        build(file)
        file.flush()
        image: bytes = file.id.get_file_image()
    return image
