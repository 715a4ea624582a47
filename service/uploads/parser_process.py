"""The parser: a process that forks a child for each uploaded file. It has imported all modules and opened no files.

A child reads one untrusted file under limits on memory, processor time, wall time and file size. It cannot dump core,
start processes or open files. It writes what it finds into a second file, the exchange, for the web worker. So the web
worker never opens an untrusted file with HDF5. If a file crashes its child, the next file gets a new one.

At first the exchange holds the order, ``{"definition": …}``. The child replaces it by the arrays, a JSON document and
the document's length in eight bytes.
"""

from __future__ import annotations

import gc
import io
import json
import logging
import os
import resource
import socket
import struct
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np
from h5py import h5pl

from models.data.rows import Array
from models.definition.definition import ModelDefinition
from models.definition.ensemble import Ensemble
from models.errors import TrainyardError, UnreadableError
from models.formats.checkpoint_file import FORMAT, FORMAT_VERSION
from models.formats.checkpoint_import import read_import
from models.formats.durable import chunks
from models.formats.hdf5_image import Put, hdf5_image
from service.uploads.limited_child import limit_process, read_in_child
from service.uploads.reader_process import STATUS

__all__ = [
    "DOCUMENT_BYTES",
    "LENGTH",
    "RESERVE_BYTES",
    "WALL_SECONDS",
    "WriteError",
    "answer",
    "limit",
    "main",
    "own_bytes",
    "serve",
    "warm_up",
    "write_exchange",
]

_log = logging.getLogger("trainyard.parser")

#: Binary format of the document's length.
LENGTH = struct.Struct("<q")
#: Maximum size of the document in bytes.
DOCUMENT_BYTES = 2**20
#: Seconds without a request after which the parser ends.
IDLE_SECONDS = 60.0
#: Limits for reading a file: wall time in seconds, and processor time in seconds, plus one second per 50 MB.
WALL_SECONDS, PROCESSOR_SECONDS, BYTES_A_SECOND = 120, 1, 50_000_000
#: Members that are read in a second; each has some dozens of arrays.
MEMBERS_A_SECOND = 25
#: Memory limit in addition to the process itself and twice the parameters.
RESERVE_BYTES = 256 * 2**20


def main() -> None:
    """Read files, one at a time, for the web worker at the other end of the socket on standard input."""
    warm_up()
    own = own_bytes()
    serve(lambda descriptors: _serve(descriptors[0], descriptors[1], own))


def serve(read: Callable[[list[int]], NoReturn]) -> None:
    """Fork a child for each message on standard input; it calls ``read`` with the message's descriptors."""
    with socket.socket(fileno=0) as control:
        control.settimeout(IDLE_SECONDS)
        while True:
            try:
                message, descriptors, _, _ = socket.recv_fds(control, 1, 4)
                if not message:
                    return
                child = os.fork()
                if not child:
                    read(descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)
                control.sendall(STATUS.pack(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
            except (TimeoutError, ConnectionError):
                return  # No requests, or the web worker has ended.


def own_bytes() -> int:
    """The size of this process's address space in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def warm_up() -> None:
    """Read a valid file, so that children need not import modules, for which they would have to open files."""
    # HDF5 would search these folders for a plugin if it failed to open a file.
    while h5pl.size():
        h5pl.remove(0)
    definition = ModelDefinition.load({"name": "warm", "inputs": 1, "classes": 2, "hidden": []})

    def build(file: h5py.File, put: Put) -> None:
        file.attrs["format"], file.attrs["format_version"] = FORMAT, FORMAT_VERSION
        file.attrs["definition"], file.attrs["classes"] = definition.canonical(), np.bytes_(b"[0, 1]")
        put("parameters/0_dense/weights", np.zeros((1, 2), "f4"))
        put("parameters/0_dense/bias", np.zeros(2, "f4"))
        optimizer = definition.document()["optimizer"]
        group = file.create_group("optimizer")
        group.attrs["type"], group.attrs["iterations"] = optimizer.pop("type"), 0
        group.attrs["hyperparameters"] = json.dumps(optimizer)

    with tempfile.TemporaryFile() as upload, tempfile.TemporaryFile() as exchange:
        upload.writelines(chunk for piece in hdf5_image(build) for chunk in chunks(piece))
        upload.flush()
        answer(upload.fileno(), exchange.fileno(), definition)
    gc.freeze()  # Children share the pages of objects that exist now; a collection would copy them.


def _serve(upload: int, exchange: int, own: int) -> NoReturn:
    """Read one file in the child, then exit."""

    def read(order: dict[str, Any]) -> None:
        definition = ModelDefinition.load(json.loads(order["definition"]))
        limit(os.fstat(0).st_size, definition, own)
        answer(0, 1, definition)

    read_in_child(upload, exchange, WALL_SECONDS, read)


def limit(size: int, definition: ModelDefinition, own: int) -> None:
    """Limit this process, irrevocably, to what reading a file of this size needs."""
    # How many parameters a model with features has follows from the file, which is no smaller than they are.
    fitted = definition.ensemble is not None or isinstance(definition.features, tuple)
    parameters = size if fitted else definition.parameter_count * np.dtype(definition.dtype).itemsize
    seconds = PROCESSOR_SECONDS + size // BYTES_A_SECOND
    if isinstance(definition.ensemble, Ensemble):
        seconds += definition.ensemble.members // MEMBERS_A_SECOND
    limit_process(own + RESERVE_BYTES + 2 * parameters, seconds, size + DOCUMENT_BYTES)


class WriteError(Exception):
    """The exchange could not be written."""


def answer(upload: int, exchange: int, definition: ModelDefinition) -> None:
    """Read the upload, and write into the exchange what it holds or why it is refused."""
    try:
        document, arrays = read_import(upload, definition)
        write_exchange(exchange, document, arrays)
    except TrainyardError as error:
        places = [{"pointer": problem.pointer, "detail": problem.detail} for problem in error.problems]
        refused = {"code": error.code, "detail": error.detail, "places": places, "total": error.total}
        write_exchange(exchange, {"refused": refused})
    except WriteError as error:
        os.ftruncate(exchange, 0)
        write_exchange(exchange, {"errno": error.args[0]})
    except Exception as error:  # noqa: BLE001 - h5py raises many exceptions for damaged files
        _log.info("a file could not be read: %s", type(error).__name__)
        refusal = UnreadableError("invalid_hdf5", f"the file is damaged or not an HDF5 file: {error}"[:500])
        write_exchange(
            exchange, {"refused": {"code": refusal.code, "detail": refusal.detail, "places": [], "total": 0}}
        )


def write_exchange(exchange: int, document: dict[str, Any], arrays: Iterable[Array] = ()) -> None:
    """Replace the content of the exchange by the arrays, the document and its length."""
    content = json.dumps(document).encode()
    with io.FileIO(exchange, "r+", closefd=False) as file:
        file.seek(0)
        file.truncate()
        for array in arrays:
            _write_all(file, array.data.cast("B"))
        _write_all(file, memoryview(content + LENGTH.pack(len(content))))


def _write_all(file: io.FileIO, content: memoryview) -> None:
    try:
        while content:
            content = content[file.write(content) :]
    except OSError as error:
        raise WriteError(error.errno) from error
