"""Uploads: size-limited, then parsed in a disposable process."""

from __future__ import annotations

import json
import mmap
import os
import signal
import socket
import subprocess
import threading
from typing import IO, Any

from models.definition.definition import ModelDefinition
from models.errors import BusyError, InvalidError, Problem, UnreadableError
from models.formats.checkpoint_import import checkpoint_of
from models.training.checkpoint import Checkpoint
from service.processes import start
from service.settings import Settings
from service.uploads.parser_process import DOCUMENT_BYTES, LENGTH, STATUS, WALL_SECONDS

__all__ = ["UploadParser"]


#: The limit that a child exceeded, by the signal that ended it.
_ENDS: dict[int, str] = {
    signal.SIGXCPU: "it takes too much processor time",
    signal.SIGKILL: "it takes too much processor time or memory",
    signal.SIGALRM: f"it takes more than {WALL_SECONDS} seconds",
}


class UploadParser:
    """The parser process (``uploads.parser_process``): started if needed; reads one file at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def checkpoint(self, upload: IO[bytes], exchange: IO[bytes], definition: ModelDefinition) -> Checkpoint:
        """The checkpoint in ``upload`` as one of ``definition``; its arrays are views of ``exchange``, an empty file.

        Raises InvalidError or UnreadableError if the file is refused, OSError if ``exchange`` cannot be written, and
        BusyError if the parser process ended.
        """
        upload.flush()
        exchange.write(json.dumps({"definition": definition.canonical()}).encode())
        exchange.flush()
        status = self._ask(upload.fileno(), exchange.fileno())
        if status > 0:
            raise RuntimeError(f"the parser's child ended with status {status}; see the log")
        if status < 0:
            why = _ENDS.get(-status) or f"its parser was killed by {signal.Signals(-status).name}"
            raise UnreadableError("invalid_hdf5", f"the file cannot be read: {why}")
        content = memoryview(mmap.mmap(exchange.fileno(), 0, access=mmap.ACCESS_READ))
        (length,) = LENGTH.unpack(content[-LENGTH.size :])
        if not 0 < length <= DOCUMENT_BYTES:
            raise ValueError(f"the parser's document must have at most {DOCUMENT_BYTES} bytes. Received: {length}")
        end = len(content) - LENGTH.size - length
        document: dict[str, Any] = json.loads(bytes(content[end : -LENGTH.size]))
        if "errno" in document:
            raise OSError(document["errno"], os.strerror(document["errno"]))
        if "refused" in document:
            raise _refusal(**document["refused"])
        return checkpoint_of(definition, document, content[:end])

    def _ask(self, *descriptors: int) -> int:
        """Have a child read a file. Returns its exit status, or the negative number of the signal that ended it."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()
            assert self._control is not None
            try:
                socket.send_fds(self._control, [b"r"], descriptors)
                answer = self._control.recv(STATUS.size)
            except OSError:
                answer = b""
            if len(answer) != STATUS.size:
                self.close()
                raise BusyError("reader_lost", "the process that reads files has ended; send the file again")
            status: int = STATUS.unpack(answer)[0]
            return status

    def _start(self) -> None:
        self.close()
        self._control, theirs = socket.socketpair()
        self._control.settimeout(WALL_SECONDS + 10)
        with theirs:
            self._process = self._launch(theirs)

    def _launch(self, control: socket.socket) -> subprocess.Popen[bytes]:
        # Environment variables decide which drivers and plugins HDF5 loads; "::" means none.
        variables = {"HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1"}
        options = {"stdin": control, "stdout": subprocess.DEVNULL, "start_new_session": True}
        return start(self._settings, "parser", variables=variables, without="HDF5_", **options)

    def close(self) -> None:
        """Kill the parser and its child, if any."""
        if self._process is not None:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        if self._control is not None:
            self._control.close()
            self._control = None


def _refusal(code: str, detail: str, places: list[list[str]]) -> InvalidError | UnreadableError:
    if places:
        return InvalidError.of([Problem(pointer, problem) for pointer, problem in places])
    return UnreadableError(code, detail)
