"""The WSGI application of the tests of the front door. Files in the folder PLACE are what it waits for."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Any

from service.web.worker import connection, front_door
from service.web.worker.front import Front, QuickAnswer
from service.web.worker.later import Later
from tests.service.web.worker.servers import LARGE

PLACE = Path(os.environ["PLACE"])

# Deadlines are seconds in production; tests that see them pass have shorter ones.
for name, value in json.loads(os.environ.get("CONSTANTS", "{}")).items():
    for module in (connection, front_door):
        if hasattr(module, name):
            setattr(module, name, value)

StartResponse = Callable[..., Callable[[bytes], object]]


def wait_for(name: str) -> None:
    """Wait for a file in the folder."""
    until = monotonic() + 30.0
    while not (PLACE / name).exists():
        if monotonic() > until:
            raise TimeoutError(name)
        sleep(0.005)


class Recorder:
    """A body that writes a line to the file ``closed`` as it is closed."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        with (PLACE / "closed").open("a") as file:
            file.write("closed\n")


class Waits(Later):
    """An answer that comes once the file that is its subject is there, or the server stops."""

    def __init__(self, subject: str) -> None:
        self.subject, self.wake_at = subject, monotonic() + 30.0

    def look(self) -> bytes:
        self.seen = int((PLACE / self.subject).exists())
        self.ended = bool(self.seen or self.stopping)
        return f"{self.subject} {self.seen}".encode() if self.ended else b""


held: list[IO[bytes]] = []


class Application:
    """Responds as the first part of the path says; what follows is the name of a file, or a number."""

    def __init__(self) -> None:
        self.front = TestedFront()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        _, action, *rest = environ["PATH_INFO"].split("/")
        respond: Callable[[dict[str, Any], StartResponse, str], Iterable[bytes]] = getattr(self, action)
        return respond(environ, start_response, "/".join(rest))

    def echo(self, environ: dict[str, Any], start_response: StartResponse, _rest: str) -> Iterable[bytes]:
        digest, length = hashlib.sha256(), 0
        while piece := environ["wsgi.input"].read(65_536):
            digest.update(piece)
            length += len(piece)
        texts = {key: value for key, value in environ.items() if isinstance(value, str)}
        body = json.dumps({**texts, "length": length, "sha256": digest.hexdigest(), "pid": os.getpid()}).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    def wait(self, _environ: dict[str, Any], start_response: StartResponse, rest: str) -> Iterable[bytes]:
        wait_for(rest)
        start_response("200 OK", [])
        return [rest.encode()]

    def later(self, _environ: dict[str, Any], start_response: StartResponse, rest: str) -> Iterable[bytes]:
        start_response("200 OK", [])
        return Waits(rest)

    def stream(self, _environ: dict[str, Any], start_response: StartResponse, rest: str) -> Iterable[bytes]:
        start_response("200 OK", [])
        return self._two(rest)

    def _two(self, name: str) -> Iterator[bytes]:
        yield b"first"
        wait_for(name)
        yield b"second"

    def pieces(self, _environ: dict[str, Any], start_response: StartResponse, rest: str) -> Iterable[bytes]:
        start_response("200 OK", [])
        return (b"%d," % number for number in range(int(rest)))

    def large(self, environ: dict[str, Any], start_response: StartResponse, rest: str) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", str(len(LARGE)))])
        if rest == "whole":
            return Recorder([LARGE])
        if rest == "file":
            file = tempfile.TemporaryFile(dir=PLACE)  # noqa: SIM115 - the server closes it
            file.write(LARGE)
            file.seek(0)
            wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file, 8_192)
            return wrapped
        return Recorder(LARGE[at : at + 100_000] for at in range(0, len(LARGE), 100_000))

    def fails(self, _environ: dict[str, Any], start_response: StartResponse, rest: str) -> Iterable[bytes]:
        if rest == "exit":
            raise SystemExit(3)
        if rest == "before":
            raise KeyError(rest)
        start_response("200 OK", [("Content-Length", "10")] if rest in ("short", "short later", "long") else [])
        if rest == "short":
            return [b"12345"]
        if rest == "short later":
            return Recorder(iter([b"12345"]))
        if rest == "long":
            return Recorder([b"1234567890HTTP/1.1 200 OK\r\n\r\n"])
        return Recorder(self._fails(rest))

    def _fails(self, rest: str) -> Iterator[bytes]:
        if rest == "after":
            yield b"12345"
        raise KeyError(rest)

    def files(self, _environ: dict[str, Any], start_response: StartResponse, rest: str) -> Iterable[bytes]:
        """Open files until none can be opened, or close them."""
        start_response("200 OK", [])
        while rest == "all":
            try:
                held.append(Path(os.devnull).open("rb"))  # noqa: SIM115
            except OSError:
                wait_for("enough")
                break
        while held:
            held.pop().close()
        return [b"done"]


class TestedFront(Front):
    """Bodies may have 10 MB, below /small 1,000 bytes; /quick is answered on the loop."""

    quick_bytes = 1_000

    def is_quick(self, environ: dict[str, Any]) -> bool:
        return str(environ["PATH_INFO"]).startswith("/quick")

    def kind(self, environ: dict[str, Any]) -> str:
        return str(environ["PATH_INFO"]).split("/")[1]

    def at_once(self, environ: dict[str, Any], body: bytes) -> QuickAnswer | None:
        if environ["PATH_INFO"] == "/quick":
            return QuickAnswer("200 OK", [("Content-Type", "text/plain")], b"quick " + body)
        if environ["PATH_INFO"] == "/quick/fails":
            raise KeyError("at once")
        return None

    def body_limit(self, environ: dict[str, Any]) -> int:
        if environ["PATH_INFO"] == "/fails/limit":
            raise KeyError("limit")
        return 1_000 if environ["PATH_INFO"].startswith("/small") else 10_000_000

    def temporary(self) -> IO[bytes]:
        return tempfile.TemporaryFile(dir=PLACE)

    def newest(self, subjects: Collection[str]) -> Mapping[str, int]:
        return {subject: int((PLACE / subject).exists()) for subject in subjects}


application = Application()
