"""Servers: gunicorn with the front door and the tests' application, and clients that send and read raw bytes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from testing.harness import ROOT, eventually

SECONDS = 20.0
#: The body of large answers: 51 MB.
LARGE = bytes(range(256)) * 200_000


class Response(NamedTuple):
    """A response: status, fields by lower-case name, and the body's bytes."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """A client's end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._file = sock.makefile("rb")

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self.sock.close()

    def send(self, data: bytes | str) -> None:
        self.sock.sendall(data.encode("latin-1") if isinstance(data, str) else data)

    def head(self) -> Response:
        """The next head."""
        line = self._file.readline()
        if not line:
            raise EOFError("the connection was closed")
        found = re.fullmatch(rb"HTTP/1\.1 ([0-9]{3}) [^\r\n]*\r\n", line)
        assert found, line
        headers: dict[str, str] = {}
        while (line := self._file.readline()) != b"\r\n":
            name, colon, value = line.decode("latin-1").partition(":")
            assert colon, line
            assert name.lower() not in headers, line
            headers[name.lower()] = value.strip()
        return Response(int(found[1]), headers, b"")

    def response(self, method: str = "GET") -> Response:
        """The next response, whole."""
        head = self.head()
        if method == "HEAD" or head.status in (100, 204, 304):
            body = b""
        elif "content-length" in head.headers:
            body = self.read(int(head.headers["content-length"]))
        elif head.headers.get("transfer-encoding") == "chunked":
            body = b"".join(iter(self.chunk, b""))
        else:
            body = self._file.read()
        return head._replace(body=body)

    def read(self, size: int) -> bytes:
        body = self._file.read(size)
        if len(body) < size:
            raise EOFError(f"the connection was closed after {len(body)} of {size} bytes")
        return body

    def chunk(self) -> bytes:
        line = self._file.readline()
        if not line:
            raise EOFError("the connection was closed within a body")
        piece = self.read(int(line, 16))
        assert self._file.readline() == b"\r\n"
        return piece

    def rest(self) -> bytes:
        """What comes until the server closes its end."""
        return self._file.read()

    def ask(self, method: str, path: str, body: bytes | None = None, *fields: str) -> Response:
        """Send a request, and read its response."""
        length = [] if body is None else [f"Content-Length: {len(body)}"]
        head = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: a", *length, *fields, "", ""])
        self.send(head.encode("latin-1") + (body or b""))
        return self.response(method)


class Gunicorn:
    """One running server, with a folder for what its application waits for."""

    def __init__(self, place: Path, *options: str, limit: int = 0, **constants: float) -> None:
        self.place = place
        place.mkdir()
        self._log = place / "log"
        self._options, self._limit = options, limit
        self._environment = {
            **os.environ,
            "PLACE": str(place),
            "CONSTANTS": json.dumps(constants),
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "error",
        }
        self.address: tuple[str, int] | str = ""
        self.started = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        bind = [] if "--bind" in self._options else ["--bind", "127.0.0.1:0"]
        command = [Path(sys.executable).with_name("gunicorn"), "tests.service.web.worker.application:application"]
        worker = ["--worker-class", "service.web.worker.front_door.FrontDoor", "--no-control-socket"]
        limited = ["prlimit", f"--nofile={self._limit}:{self._limit}"] if self._limit else []
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*limited, *command, *worker, *bind, *self._options],
                cwd=self.place,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

        def address() -> re.Match[str] | None:
            assert self._process is not None
            assert self._process.poll() is None, self.log
            return re.search(r"Listening at: (?:https?://([0-9.]+):([0-9]+)|unix:(\S+))", self.log)

        found = eventually(address, what="an address in the log")
        assert found is not None
        self.address = found[3] or (found[1], int(found[2]))
        self.started = monotonic()

    def stop(self) -> None:
        """End it, and leave no process behind."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(SECONDS)
            finally:
                if self._process.poll() is None:
                    os.killpg(self._process.pid, signal.SIGKILL)
                    self._process.wait(SECONDS)

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def pid(self) -> int:
        """The process that starts the workers."""
        assert self._process is not None
        return self._process.pid

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def workers(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def worker(self) -> int:
        """The only worker, once it answers."""
        with self.connect() as wire:
            pid: int = wire.ask("GET", "/echo").json["pid"]
        return pid

    def files(self) -> int:
        """How many files the worker has open."""
        return len(list(Path(f"/proc/{self.workers()[0]}/fd").iterdir()))

    def let(self, name: str) -> None:
        """Let those go on who wait for a file."""
        (self.place / name).touch()

    def times_closed(self) -> int:
        closed = self.place / "closed"
        return closed.read_text().count("closed") if closed.exists() else 0

    def connect(self, *, receive: int = 0, tls: ssl.SSLContext | None = None, timeout: float = SECONDS) -> Wire:
        """A new connection; ``receive`` is the size of the client's buffer."""
        unix = isinstance(self.address, str)
        sock = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        try:
            if receive:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
            sock.settimeout(timeout)
            sock.connect(self.address)
            return Wire(tls.wrap_socket(sock, server_hostname="localhost") if tls else sock)
        except BaseException:
            sock.close()
            raise


@contextlib.contextmanager
def gunicorn(place: Path, *options: str, limit: int = 0, **constants: float) -> Iterator[Gunicorn]:
    """A server that runs for the time of a with-block."""
    server = Gunicorn(place, *options, limit=limit, **constants)
    try:
        server.start()
        yield server
    finally:
        server.stop()
