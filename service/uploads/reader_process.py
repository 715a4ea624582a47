"""A process that reads untrusted files, seen from the web worker: started if needed; reads one file at a time."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import threading

from models.errors import BusyError
from service.processes import start
from service.settings import Settings

__all__ = ["STATUS", "ReaderProcess"]

#: Binary format of a child's exit status.
STATUS = struct.Struct("<i")
#: Seconds that a process may take from its last answer to its end.
_ENDING_SECONDS = 10.0


class ReaderProcess:
    """The process of a hidden command of ``python -m service``; ``patience`` is how long its children may take."""

    def __init__(self, settings: Settings, command: str, patience: float) -> None:
        self._settings, self._command, self._patience = settings, command, patience
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def ask(self, *descriptors: int) -> int:
        """Have a child read a file. Returns its exit status, or the negative number of the signal that ended it.

        Raises BusyError if the process itself ended.
        """
        with self._lock:
            answer = self._answer(descriptors)
            if answer is None and self._ended_idle():
                answer = self._answer(descriptors)
            if answer is None:
                self.close()
                raise BusyError("reader_lost", "the process that reads files has ended; send the file again")
            return answer

    def _answer(self, descriptors: tuple[int, ...]) -> int | None:
        """The status of a child that read a file; None if the process did not answer."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        assert self._control is not None
        try:
            socket.send_fds(self._control, [b"r"], descriptors)
            answer = self._control.recv(STATUS.size)
        except OSError:
            return None
        return STATUS.unpack(answer)[0] if len(answer) == STATUS.size else None

    def _ended_idle(self) -> bool:
        """Whether the process ended as one ends to which nothing was sent for a while, so that it took no file."""
        assert self._process is not None
        try:
            return self._process.wait(_ENDING_SECONDS) == 0
        except subprocess.TimeoutExpired:
            return False

    def _start(self) -> None:
        self.close()
        self._control, theirs = socket.socketpair()
        self._control.settimeout(self._patience + 10)
        with theirs:
            self._process = self._launch(theirs)

    def _launch(self, control: socket.socket) -> subprocess.Popen[bytes]:
        # Environment variables decide which drivers and plugins HDF5 loads; "::" means none.
        variables = {"HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1"}
        options = {"stdin": control, "stdout": subprocess.DEVNULL, "start_new_session": True}
        return start(self._settings, self._command, variables=variables, without="HDF5_", **options)

    def close(self) -> None:
        """Kill the process and its child, if any."""
        if self._process is not None:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        if self._control is not None:
            self._control.close()
            self._control = None
