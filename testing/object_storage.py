"""Servers of object storage for tests: two real ones, and one that ignores conditions."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import urlsplit

from benchmarks.servers import free_port

__all__ = ["Bucket", "Door", "careless", "moto", "seaweedfs", "variables"]

_KEY, _SECRET = "key", "secret"


def variables(port: int) -> dict[str, str]:
    """What tells a client of S3 where a server of this machine is, and who asks."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": _KEY,
        "AWS_SECRET_ACCESS_KEY": _SECRET,
        "AWS_REGION": "us-east-1",
    }


class Bucket:
    """A bucket of a server, and the variables with which a client reaches it."""

    def __init__(self, port: int, name: str = "trainyard") -> None:
        self.port, self.url, self.variables = port, f"s3://{name}", variables(port)


def _program(name: str) -> Path:
    return Path(sys.executable).with_name(name)


def _until_it_answers(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    until = monotonic() + 60.0
    while True:
        # Any answer will do: without a signature, it is a refusal.
        with suppress(OSError):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
            except urllib.error.HTTPError as answer:
                answer.close()
            return
        assert server.poll() is None, log.read_text()
        assert monotonic() < until, log.read_text()
        sleep(0.05)


@contextmanager
def _running(command: list[str | Path], port: int, folder: Path) -> Iterator[None]:
    log = folder / "log"
    with log.open("wb") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, cwd=folder, start_new_session=True)
    try:
        _until_it_answers(port, server, log)
        yield
    finally:
        server.kill()  # SeaweedFS would take ten seconds to end, and nothing of it is needed any more.
        server.wait()


@contextmanager
def seaweedfs(folder: Path) -> Iterator[Bucket]:
    """SeaweedFS with its data in a folder."""
    (folder / "data").mkdir(exist_ok=True)
    identity = {"name": "trainyard", "credentials": [{"accessKey": _KEY, "secretKey": _SECRET}]}
    actions = {"actions": ["Admin", "Read", "Write", "List"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [{**identity, **actions}]}))
    # Those that have ports of their own and are not wanted: 0.
    options = {"s3.port.iceberg": 0, "s3.port.lance": 0}
    for part in ("master", "volume", "filer", "s3"):
        options[f"{part}.port"], options[f"{part}.port.grpc"] = free_port(), free_port()
    port = options["s3.port"]
    command: list[str | Path] = [_program("weed"), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-dir=data"]
    command += ["-filer", "-s3", "-s3.config=s3.json", "-volume.max=5", "-master.volumeSizeLimitMB=256"]
    with _running([*command, *(f"-{name}={value}" for name, value in options.items())], port, folder):
        bucket = Bucket(port)
        _until_it_stores(bucket)
        yield bucket


def _until_it_stores(bucket: Bucket) -> None:
    """The gateway answers before there is room for an object."""
    import obstore
    from obstore.exceptions import BaseError
    from obstore.store import from_url

    given = {name.lower(): value for name, value in bucket.variables.items()}
    store = from_url(f"{bucket.url}/ready", config=given, client_options={"allow_http": True})  # type: ignore[arg-type]
    until = monotonic() + 60.0
    while True:
        try:
            obstore.put(store, "object", b"content")
            obstore.delete(store, "object")
        except BaseError:
            assert monotonic() < until
            sleep(0.05)
        else:
            return


@contextmanager
def moto(folder: Path) -> Iterator[Bucket]:
    """Moto's server, which keeps its objects in memory."""
    port = free_port()
    command: list[str | Path] = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, port, folder):
        bucket = Bucket(port)
        made = urllib.request.Request(f"http://127.0.0.1:{port}/{urlsplit(bucket.url).netloc}", method="PUT")
        urllib.request.urlopen(made, timeout=30).close()
        yield bucket


class Door:
    """A way to a server of this machine that can be closed: then it is as if the server did not run."""

    def __init__(self, port: int) -> None:
        self._target, self.port = port, free_port()
        self._listener: socket.socket | None = None
        self._sides: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.open()

    def open(self) -> None:
        """Let connections through."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._start(self._accept, self._listener)

    def close(self) -> None:
        """Refuse connections, and cut those that there are, if it is open."""
        if self._listener is None:
            return
        # It wakes the thread that waits in ``accept``, which would keep the port.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        for side in list(self._sides):
            _shut(side)
        for thread in self._threads:
            thread.join()
        self._listener, self._threads = None, []

    def _start(self, work: Callable[..., None], *arguments: socket.socket) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments)
        thread.start()
        self._threads.append(thread)
        return thread

    def _accept(self, listener: socket.socket) -> None:
        with listener, suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._sides |= {near, far}
                self._start(self._carry_both, near, far)

    def _carry_both(self, near: socket.socket, far: socket.socket) -> None:
        with near, far:
            back = threading.Thread(target=_carry, args=(far, near))
            back.start()
            _carry(near, far)
            back.join()
        self._sides -= {near, far}


def _carry(source: socket.socket, target: socket.socket) -> None:
    """Bytes from one to the other, until either is cut."""
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    _shut(source)
    _shut(target)


def _shut(side: socket.socket) -> None:
    with suppress(OSError):
        side.shutdown(socket.SHUT_RDWR)


class _Careless(BaseHTTPRequestHandler):
    """Stores whatever it is sent, whatever the conditions are."""

    objects: dict[str, bytes] = {}

    def do_PUT(self) -> None:
        self.objects[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200)

    def do_POST(self) -> None:
        """Delete objects."""
        keys = re.findall("<Key>(.*?)</Key>", self.rfile.read(int(self.headers["Content-Length"])).decode())
        for key in keys:
            del self.objects[f"{self.path.partition('?')[0]}/{key}"]
        deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        self._answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("ETag", '"tag"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Not to standard error."""


@contextmanager
def careless() -> Iterator[tuple[Bucket, dict[str, bytes]]]:
    """A server as s3rver and ``rclone serve s3`` are, and its objects."""
    objects: dict[str, bytes] = {}
    handler = type("Handler", (_Careless,), {"objects": objects})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Bucket(server.server_address[1]), objects
        finally:
            server.shutdown()
            thread.join()
