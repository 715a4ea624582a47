"""The reader: a process that has imported everything and opened nothing, and forks a child for each file it is sent.

A child reads one file from outside under limits: of memory, processor time, time and file size, without cores, without
further processes, and without the right to open any file at all. What it finds goes into a second file that it was
sent, for the web worker, which so never hands HDF5 a file that somebody else has made. Where a file breaks its reader,
a child is lost, and the next file gets another one.

The second file holds the order at first, ``{"definition": …}``; then the arrays, a JSON document and, in eight bytes,
that document's length.
"""

from __future__ import annotations

import gc
import io
import json
import logging
import os
import resource
import signal
import socket
import struct
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np
from h5py import h5pl

from models.data.rows import Array
from models.definition.definition import ModelDefinition
from models.errors import TrainyardError, UnreadableError
from models.formats.checkpoint_file import FORMAT, FORMAT_VERSION
from models.formats.checkpoint_import import read_import
from models.formats.hdf5_image import Put, hdf5_image

__all__ = ["LENGTH", "STATUS", "TELL_BYTES", "WALL_SECONDS", "answer", "limit", "main", "own_bytes", "warm_up"]

_log = logging.getLogger("trainyard.reader")

#: How the length of the closing document is written, and how a child's exit status is told.
LENGTH, STATUS = struct.Struct("<q"), struct.Struct("<i")
#: Most bytes of the closing document.
TELL_BYTES = 2**20
#: A reader that nobody asks for so long ends.
IDLE_SECONDS = 60.0
#: A file is read within this time, and within so much processor time, to which each 50 MB add a second.
WALL_SECONDS, PROCESSOR_SECONDS, BYTES_A_SECOND = 120, 1, 50_000_000
#: Memory beside the process itself and twice the parameters, of which one array is read at a time.
RESERVE_BYTES = 256 * 2**20


def main() -> None:
    """Serve the socket that is standard input, one file after the other, until it ends."""
    warm_up()
    own = own_bytes()
    control = socket.socket(fileno=0)
    control.settimeout(IDLE_SECONDS)
    while True:
        try:
            order, descriptors, _, _ = socket.recv_fds(control, 1, 2)
            if not order:
                return
            child = os.fork()
            if not child:
                _serve(descriptors[0], descriptors[1], own)
            for descriptor in descriptors:
                os.close(descriptor)
            control.sendall(STATUS.pack(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
        except (TimeoutError, ConnectionError):
            return  # Nobody asks, or the one who did is gone.


def own_bytes() -> int:
    """The address space that this process takes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def warm_up() -> None:
    """Read one good file, so that nothing is imported, and no file opened for it, when it counts."""
    # Where a file does not open, HDF5 looks through these folders for a plugin that may know it.
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
        upload.writelines(hdf5_image(build))
        upload.flush()
        answer(upload.fileno(), exchange.fileno(), definition)
    gc.freeze()  # What is there by now is shared with every child.


def _serve(upload: int, exchange: int, own: int) -> NoReturn:
    """Be the child that reads one file, and end."""
    status = 1
    try:
        signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS)
        os.dup2(upload, 0)
        os.dup2(exchange, 1)
        os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        with io.FileIO(1, "r+", closefd=False) as file:
            file.seek(0)
            order = json.loads(file.readall())
            file.truncate(0)
        definition = ModelDefinition.load(json.loads(order["definition"]))
        limit(os.fstat(0).st_size, definition, own)
        answer(0, 1, definition)
        status = 0
    except BaseException as error:  # noqa: BLE001 - told by the status, and no child may go on as if it were the reader
        _log.error("a child failed: %s: %s", type(error).__name__, error)
    os._exit(status)


def limit(size: int, definition: ModelDefinition, own: int) -> None:
    """Give up, for good, what reading a file of this size does not take."""
    parameters = definition.parameter_count * np.dtype(definition.dtype).itemsize
    seconds = PROCESSOR_SECONDS + size // BYTES_A_SECOND
    for what, soft, hard in (
        (resource.RLIMIT_AS, memory := own + RESERVE_BYTES + 2 * parameters, memory),
        (resource.RLIMIT_CPU, seconds, seconds + 1),
        (resource.RLIMIT_FSIZE, size + TELL_BYTES, size + TELL_BYTES),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NPROC, 0, 0),
        (resource.RLIMIT_NOFILE, 0, 0),
    ):
        resource.setrlimit(what, (soft, hard))


class _StorageError(Exception):
    """What was found could not be written."""


def answer(upload: int, exchange: int, definition: ModelDefinition) -> None:
    """Read the one file and write into the other what was found, or why it is refused."""
    try:
        told, arrays = read_import(upload, definition)
        _write(exchange, told, arrays)
    except TrainyardError as error:
        places = [[problem.pointer, problem.detail] for problem in error.problems]
        _write(exchange, {"refused": {"code": error.code, "detail": error.detail, "places": places}})
    except _StorageError as error:
        os.ftruncate(exchange, 0)
        _write(exchange, {"errno": error.args[0]})
    except Exception as error:  # noqa: BLE001 - h5py meets damage in many ways, and here is nothing else to go wrong
        _log.info("a file could not be read: %s: %s", type(error).__name__, error)
        refusal = UnreadableError("invalid_hdf5", f"the file is damaged or no HDF5 file: {error}"[:500])
        _write(exchange, {"refused": {"code": refusal.code, "detail": refusal.detail, "places": []}})


def _write(exchange: int, told: dict[str, Any], arrays: Iterable[Array] = ()) -> None:
    """The arrays one after the other, then the document and its length, in place of what stands there."""
    document = json.dumps(told).encode()
    with io.FileIO(exchange, "r+", closefd=False) as file:
        file.seek(0)
        file.truncate()
        for array in arrays:
            _write_all(file, array.data.cast("B"))
        _write_all(file, memoryview(document + LENGTH.pack(len(document))))


def _write_all(file: io.FileIO, content: memoryview) -> None:
    try:
        while content:
            content = content[file.write(content) :]
    except OSError as error:
        raise _StorageError(error.errno) from error
