"""The reader of tables: a process that forks a child for each uploaded file, as ``parser_process`` does.

The exchange first holds the order, ``{"options": …, "limit": …, "size": …, "written": …}``. The child replaces it by
the values, block by block, a JSON document and the document's length in eight bytes. The child may open the files that
it was given and no other.
"""

from __future__ import annotations

import encodings
import errno
import gc
import importlib
import io
import json
import logging
import os
import pkgutil
import resource
import signal
import tempfile
import warnings
from contextlib import suppress
from typing import Any, NoReturn

from models.data.limits import ANY_SIZE, TableSize
from models.errors import InvalidError, file_problem
from models.reading.blocks import ExchangeError
from models.reading.options import ReadOptions
from models.reading.reader import Files, read_table
from models.reading.scan import Engine
from service.uploads.parser_process import LENGTH, own_bytes, serve
from service.uploads.table_limits import TABLE_DOCUMENT_BYTES, limit_table, table_seconds

__all__ = ["answer_table", "main", "warm_up"]

_log = logging.getLogger("trainyard.table_reader")

#: Descriptors in a child: the upload, the exchange and, behind the log, two files for text that is written again.
_FILES = Files(upload=0, exchange=1, scratches=(3, 4))
#: A file that makes every module be imported that any file needs.
_WARM = 'größe;"a";t;u;v\n0,5;x;31.12.2024;yes;2024-01-01\n1,5;"y; ""z""";01.01.2024;no;\n'.encode("cp1252")


def main() -> None:
    """Read tables, one at a time, for the web worker at the other end of the socket on standard input."""
    warnings.simplefilter("ignore")  # To show a warning, Python opens the module's file.
    warm_up()
    own = own_bytes()
    serve(lambda descriptors: _serve(descriptors, own))


def warm_up() -> None:
    """Read a small file, so that children need not import modules, for which they would have to open files."""
    for module in pkgutil.iter_modules(encodings.__path__):
        with suppress(ImportError):
            importlib.import_module(f"encodings.{module.name}")
    with tempfile.TemporaryFile() as upload, tempfile.TemporaryFile() as exchange, tempfile.TemporaryFile() as first:
        upload.write(_WARM)
        upload.flush()
        with tempfile.TemporaryFile() as second:
            scratches = (first.fileno(), second.fileno())
            engine = Engine()
            answer_table(engine, Files(upload.fileno(), scratches, exchange.fileno()), ReadOptions(), 2**20)
            engine.close()
    gc.freeze()  # Children share the pages of objects that exist now; a collection would copy them.


def _serve(descriptors: list[int], own: int) -> NoReturn:
    """Read one file in the child, then exit."""
    status = 1
    try:
        # Above the places that they are moved to.
        high = [os.dup(each) for each in descriptors]
        while min(high) < 8:
            high = [os.dup(each) for each in high]
        for source, place in zip(high, (0, 1, 3, 4), strict=True):
            os.dup2(source, place)
        os.closerange(5, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        with io.FileIO(1, "r+", closefd=False) as file:
            file.seek(0)
            order = json.loads(file.readall())
            file.seek(0)
            file.truncate(0)
        engine = Engine()
        size = os.fstat(0).st_size
        signal.setitimer(signal.ITIMER_REAL, 2 * table_seconds(size))
        limit_table(size, order["written"], own)
        answer_table(engine, _FILES, ReadOptions.of(order["options"]), order["limit"], TableSize(*order["size"]))
        status = 0
    except BaseException as error:  # noqa: BLE001 - the status reports it, and a child must not return into the loop
        _log.error("a child failed: %s", type(error).__name__)
    os._exit(status)


def answer_table(engine: Engine, files: Files, options: ReadOptions, limit: int, size: TableSize = ANY_SIZE) -> None:
    """Read the upload, and write into the exchange what it holds or why it is refused."""
    try:
        _write(files.exchange, {"table": read_table(engine, files, options, limit, size)})
    except InvalidError as error:
        _refuse(files.exchange, error)
    except (ExchangeError, OSError) as error:
        _write(files.exchange, {"errno": error.errno or errno.EIO}, alone=True)
    except (MemoryError, RecursionError):
        _refuse(files.exchange, InvalidError("invalid_file", "the file cannot be read: it takes too much memory"))
    except Exception as error:  # noqa: BLE001 - DuckDB and codecs raise many exceptions for damaged files
        _log.info("a file could not be read: %s", type(error).__name__)
        detail = f"the file cannot be read: {str(error).partition(chr(10))[0]}"[:500]
        _refuse(files.exchange, InvalidError("invalid_file", detail))


def _refuse(exchange: int, error: InvalidError) -> None:
    places = [
        {"pointer": each.pointer, "detail": each.detail, "row": each.row, "column": each.column, "line": each.line}
        for each in error.problems
    ]
    refused = {"code": error.code, "detail": error.detail, "places": places, "total": error.total}
    _write(exchange, {"refused": refused}, alone=True)


def _write(exchange: int, document: dict[str, Any], *, alone: bool = False) -> None:
    """Append the document and its length to the exchange; ``alone``: in place of what it holds."""
    content = json.dumps(document).encode()
    if len(content) > TABLE_DOCUMENT_BYTES:
        _refuse(exchange, file_problem("must have fewer columns and levels. Received: more than can be described"))
        return
    if alone:
        os.lseek(exchange, 0, os.SEEK_SET)
        os.ftruncate(exchange, 0)
    left = memoryview(content + LENGTH.pack(len(content)))
    while left:
        left = left[os.write(exchange, left) :]
