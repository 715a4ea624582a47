"""The reader of networks of other programs: a process that forks a child for each file, as ``parser_process`` does.

The exchange first holds the order, ``{"kind": …}``. The child replaces it by the arrays, a JSON document and the
document's length in eight bytes. It may open no file. Neither scikit-learn nor skops is imported anywhere, and the
package that parses ONNX files in this process alone.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import warnings
import zipfile
from contextlib import suppress
from tempfile import TemporaryFile
from typing import Any, NoReturn

import numpy as np

from models.errors import TrainyardError, UnreadableError
from models.imports.kinds import Kind
from models.imports.network import Found, sent
from models.imports.onnx_network import onnx_network, small_onnx
from models.imports.sklearn_network import sklearn_network
from models.imports.skops_file import SkopsFile, inflated_bytes
from service.uploads.limited_child import limit_process, read_in_child
from service.uploads.parser_process import RESERVE_BYTES, WriteError, own_bytes, serve, write_exchange

__all__ = ["NETWORK_DOCUMENT_BYTES", "main", "read", "warm_up"]

#: Maximum size of the document in bytes: a definition, with the names of all classes.
NETWORK_DOCUMENT_BYTES = 8 * 2**20
#: Limits for reading a file: wall time in seconds, and processor time in seconds, plus one second per 20 MB.
WALL_SECONDS, PROCESSOR_SECONDS, BYTES_A_SECOND = 120, 3, 20_000_000
#: Copies of the file's numbers that are in memory at a time: as read, parsed, converted and checked.
COPIES = 5


def main() -> None:
    """Read files, one at a time, for the web worker at the other end of the socket on standard input."""
    warnings.simplefilter("ignore")  # To show a warning, Python opens the module's file.
    warm_up()
    own = own_bytes()
    serve(lambda descriptors: _serve(descriptors[0], descriptors[1], own))


def warm_up() -> None:
    """Read a small file of each kind, so that children need not import modules, for which they would open files."""
    for name in ("utf_8", "cp437", "latin_1", "ascii"):  # what zipfile and NumPy decode names and headers with
        importlib.import_module(f"encodings.{name}")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        array = io.BytesIO()
        np.save(array, np.zeros((2, 2)))
        file.writestr("1.npy", array.getvalue())
        node = {"__loader__": "NdArrayNode", "__module__": "numpy", "__class__": "ndarray", "type": "numpy"}
        file.writestr("schema.json", json.dumps({**node, "file": "1.npy"}))
    with TemporaryFile() as upload, TemporaryFile() as exchange:
        upload.write(archive.getvalue())
        upload.flush()
        SkopsFile(io.FileIO(upload.fileno(), closefd=False)).root.array()
        _answer(upload.fileno(), exchange.fileno(), Kind.SKOPS)
        # Without the package, the web worker refuses every ONNX file.
        with suppress(ImportError):
            content = small_onnx()
            os.ftruncate(upload.fileno(), 0)
            os.pwrite(upload.fileno(), content, 0)
            _answer(upload.fileno(), exchange.fileno(), Kind.ONNX)
    gc.freeze()  # Children share the pages of objects that exist now; a collection would copy them.


def _serve(upload: int, exchange: int, own: int) -> NoReturn:
    """Read one file in the child, then exit."""

    def read_kind(order: dict[str, Any]) -> None:
        kind = Kind(order["kind"])
        limit(os.fstat(0).st_size, kind, own)
        _answer(0, 1, kind)

    read_in_child(upload, exchange, WALL_SECONDS, read_kind)


def limit(size: int, kind: Kind, own: int) -> None:
    """Limit this process, irrevocably, to what reading a file of this size needs."""
    numbers = inflated_bytes(size) if kind is Kind.SKOPS else size
    memory, seconds = own + RESERVE_BYTES + COPIES * numbers, PROCESSOR_SECONDS + numbers // BYTES_A_SECOND
    # Numbers of two bytes are stored in four.
    written = 2 * numbers + NETWORK_DOCUMENT_BYTES
    limit_process(memory, seconds, written)


def read(upload: int, kind: Kind) -> Found:
    """The network in a file. Raises what ``sklearn_network`` and ``onnx_network`` raise."""
    file = io.FileIO(upload, closefd=False)
    if kind is Kind.SKOPS:
        return sklearn_network(SkopsFile(file))
    file.seek(0)
    return onnx_network(file.readall())


def _answer(upload: int, exchange: int, kind: Kind) -> None:
    """Read the upload, and write into the exchange what it holds or why it is refused."""
    try:
        document, arrays = sent(read(upload, kind))
        write_exchange(exchange, document, arrays)
    except TrainyardError as error:
        _refuse(exchange, error)
    except WriteError as error:
        os.ftruncate(exchange, 0)
        write_exchange(exchange, {"errno": error.args[0]})
    except (MemoryError, RecursionError):
        _refuse(exchange, UnreadableError("invalid_network_file", "the file cannot be read: it takes too much memory"))


def _refuse(exchange: int, error: TrainyardError) -> None:
    places = [{"pointer": problem.pointer, "detail": problem.detail} for problem in error.problems]
    refused = {"code": error.code, "detail": error.detail, "places": places, "total": error.total}
    write_exchange(exchange, {"refused": refused})
