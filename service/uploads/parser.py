"""Uploads: size-limited, then parsed in a disposable process."""

from __future__ import annotations

import errno
import importlib.util
import json
import logging
import math
import mmap
import os
import signal
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NoReturn

from models.data.limits import ANY_SIZE, TableSize
from models.definition.definition import ModelDefinition
from models.errors import InvalidError, MissingExtraError, NoRoomError, Problem, UnreadableError, file_problem
from models.formats.checkpoint_import import checkpoint_of
from models.imports.kinds import Kind
from models.imports.network import ForeignNetwork, network_of
from models.reading.options import ReadOptions
from models.reading.read_table import ReadTable
from models.training.checkpoint import Checkpoint
from models.training.ensemble_checkpoint import EnsembleCheckpoint
from service.settings import Settings
from service.store.disk import Disk
from service.uploads.exchange_check import require_values
from service.uploads.network_process import NETWORK_DOCUMENT_BYTES
from service.uploads.parser_process import DOCUMENT_BYTES, LENGTH, WALL_SECONDS
from service.uploads.reader_process import ReaderProcess
from service.uploads.received_table import ReceivedTable
from service.uploads.table_limits import (
    LEAST_BYTES,
    TABLE_DOCUMENT_BYTES,
    WRITTEN_FILES,
    table_seconds,
    written_bytes,
)

__all__ = ["UploadParser"]

_log = logging.getLogger("trainyard.uploads")

#: The limit that a child exceeded, by the signal that ended it.
_ENDS: dict[int, str] = {
    signal.SIGXCPU: "it takes too much processor time",
    signal.SIGKILL: "it takes too much processor time or memory",
    signal.SIGALRM: f"it takes more than {WALL_SECONDS} seconds",
}

_TABLE_ENDS: dict[int, str] = {
    signal.SIGXCPU: "it takes too much processor time",
    signal.SIGKILL: "it takes too much processor time or memory",
    signal.SIGALRM: "it takes too long",
    signal.SIGABRT: "it takes too much memory",
    signal.SIGSEGV: "it is damaged",
    signal.SIGBUS: "it is damaged",
}


class UploadParser:
    """The processes that read files: for checkpoints, for networks of other programs, and for tables.

    Each reads one file at a time.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self._disk = settings, Disk(settings.data, settings.min_free_bytes)
        self._checkpoints = ReaderProcess(settings, "parser", WALL_SECONDS)
        self._networks = ReaderProcess(settings, "network-reader", WALL_SECONDS)
        self._tables = ReaderProcess(settings, "table-reader", table_seconds(settings.max_dataset_bytes))

    def checkpoint(
        self, upload: IO[bytes], exchange: IO[bytes], definition: ModelDefinition
    ) -> Checkpoint | EnsembleCheckpoint:
        """The checkpoint in ``upload`` as one of ``definition``; its arrays are views of ``exchange``, an empty file.

        Raises InvalidError or UnreadableError if the file is refused, NoRoomError if ``exchange`` would take what is
        kept of the disk, OSError if it cannot be written, and BusyError if the parser process ended.
        """
        order = {"definition": definition.canonical()}
        with self._answered(self._checkpoints, order, upload, exchange, "invalid_hdf5"):
            document, content = _content_of(exchange, DOCUMENT_BYTES)
            return checkpoint_of(definition, document, content)

    def network(self, upload: IO[bytes], exchange: IO[bytes], kind: Kind) -> ForeignNetwork:
        """The network in ``upload``, an ONNX or a skops file; its arrays are views of ``exchange``, an empty file.

        Raises MissingExtraError if the package that parses ONNX files is not installed, else as ``checkpoint`` does.
        """
        if kind is Kind.ONNX and importlib.util.find_spec("onnx") is None:
            raise MissingExtraError("onnx", "to read an ONNX file")
        with self._answered(self._networks, {"kind": kind}, upload, exchange, "invalid_network_file"):
            return network_of(*_content_of(exchange, NETWORK_DOCUMENT_BYTES))

    @contextmanager
    def _answered(
        self, process: ReaderProcess, order: dict[str, Any], upload: IO[bytes], exchange: IO[bytes], code: str
    ) -> Iterator[None]:
        """A block that reads the answer to an order. A file without a good one is refused with this code."""
        upload.flush()
        self._disk.require_room(os.fstat(upload.fileno()).st_size)
        exchange.write(json.dumps(order).encode())
        exchange.flush()
        status = process.ask(upload.fileno(), exchange.fileno())
        if status > 0:
            raise RuntimeError(f"the parser's child ended with status {status}; see the log")
        if status < 0:
            why = _ENDS.get(-status) or f"its parser was killed by {signal.Signals(-status).name}"
            raise UnreadableError(code, f"the file cannot be read: {why}")
        try:
            yield
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, struct.error) as error:
            _log.error("a child answered what cannot be: %s", type(error).__name__)
            raise UnreadableError(code, "the file cannot be read: its parser gave no good answer") from error

    def table(
        self,
        upload: IO[bytes],
        exchange: IO[bytes],
        scratches: tuple[IO[bytes], IO[bytes]],
        options: ReadOptions,
        size: TableSize = ANY_SIZE,
    ) -> ReceivedTable:
        """The table in ``upload``; its values lie in ``exchange``. That and the ``scratches`` are empty files.

        ``size`` is the most rows and columns that it may have.
        Raises InvalidError if the file is refused, NoRoomError if it would take what is kept of the disk, OSError if a
        file cannot be written, and BusyError if the process that reads tables ended.
        """
        upload.flush()
        self._disk.require_room(WRITTEN_FILES * LEAST_BYTES)
        limit = self._settings.max_dataset_bytes
        written = written_bytes(limit, self._disk.spare)
        order = {"options": options.document(), "limit": limit, "size": size, "written": written}
        exchange.write(json.dumps(order).encode())
        exchange.flush()
        status = self._tables.ask(upload.fileno(), exchange.fileno(), *(each.fileno() for each in scratches))
        if status > 0:
            raise RuntimeError(f"the child that reads tables ended with status {status}; see the log")
        if status < 0:
            why = _TABLE_ENDS.get(-status) or f"its reader was killed by {signal.Signals(-status).name}"
            raise InvalidError("invalid_file", f"the file cannot be read: {why}")
        try:
            document, end = _document_in(exchange.fileno(), TABLE_DOCUMENT_BYTES)
            if document.get("errno") == errno.EFBIG:
                raise self._too_much(written)
            _raise_refusal(document)
            received = ReceivedTable(ReadTable.of(document["table"], end), exchange)
            require_values(received)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, EOFError, struct.error) as error:
            _log.error("a child answered what cannot be: %s", type(error).__name__)
            raise InvalidError("invalid_file", "the file cannot be read: its reader gave no good answer") from error
        return received

    def _too_much(self, written: int) -> InvalidError | NoRoomError:
        """The refusal of a table of which a file would have more than ``written`` bytes."""
        if written == written_bytes(self._settings.max_dataset_bytes, None):
            return file_problem("must have fewer values. Received: more than may be stored")
        return self._disk.refusal(f"to read this takes more than {written:,} bytes in each of {WRITTEN_FILES} files")

    def close(self) -> None:
        """Kill the processes and their children, if any."""
        self._checkpoints.close()
        self._networks.close()
        self._tables.close()


def _content_of(exchange: IO[bytes], most: int) -> tuple[dict[str, Any], memoryview]:
    """The document in an exchange, of at most so many bytes, and the bytes of the arrays. Raises what it holds."""
    document, end = _document_in(exchange.fileno(), most)
    _raise_refusal(document)
    content = memoryview(mmap.mmap(exchange.fileno(), 0, access=mmap.ACCESS_READ))
    return document, content[:end]


def _document_in(exchange: int, most: int) -> tuple[dict[str, Any], int]:
    """The JSON document at the end of an exchange, and where it begins. Raises ValueError if it is too long."""
    size = os.fstat(exchange).st_size
    (length,) = LENGTH.unpack(os.pread(exchange, LENGTH.size, max(size - LENGTH.size, 0)))
    if not 0 < length <= min(most, size - LENGTH.size):
        raise ValueError(f"the parser's document must have at most {most} bytes. Received: {length}")
    end = size - LENGTH.size - length
    content = b""
    while len(content) < length:
        content += os.pread(exchange, length - len(content), end + len(content))
    document: dict[str, Any] = json.loads(content, parse_constant=_no_number, parse_float=_number)
    return document, end


def _number(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _raise_refusal(document: dict[str, Any]) -> None:
    """Raise the error that a document holds, if any."""
    if "errno" in document:
        raise OSError(document["errno"], os.strerror(document["errno"]))
    if "refused" in document:
        raise _refusal(**document["refused"])


def _refusal(code: str, detail: str, places: list[dict[str, Any]], total: int) -> InvalidError | UnreadableError:
    if code in ("invalid_hdf5", "invalid_network_file"):
        return UnreadableError(code, detail)
    return InvalidError(code, detail, [Problem(**place) for place in places], total)
