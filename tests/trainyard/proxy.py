"""A proxy before a service that does to each connection what a test says."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

#: What is done with a connection: the client's side, and a way to connect to the service.
Treatment = Callable[["socket.socket", Callable[[], "socket.socket"]], None]


class Proxy:
    """A proxy at ``url``: the next connections are treated as ``plan`` says, further ones are passed on.

    ``heads`` are the heads of the requests that have arrived, one for each connection.
    """

    def __init__(self, service: str) -> None:
        parts = urlsplit(service)
        self._target = (str(parts.hostname), int(parts.port or 80))
        self.plan: list[Treatment] = []
        self.heads: list[str] = []
        self._lock = threading.Lock()
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with proxy._lock:
                    treatment = proxy.plan.pop(0) if proxy.plan else passed
                head = self.request.recv(65536, socket.MSG_PEEK)
                proxy.heads.append(head.partition(b"\r\n\r\n")[0].decode("latin-1"))
                with contextlib.suppress(OSError):  # Either side may go away.
                    treatment(self.request, lambda: socket.create_connection(proxy._target))

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _copied(source: socket.socket, target: socket.socket, limit: int | None = None) -> None:
    """Copy what comes, at most ``limit`` bytes of it, and end the other side too."""
    left = limit
    with contextlib.suppress(OSError):
        while left is None or left > 0:
            data = source.recv(65536 if left is None else min(left, 65536))
            if not data:
                break
            target.sendall(data)
            left = None if left is None else left - len(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def passed(client: socket.socket, connect: Callable[[], socket.socket], limit: int | None = None) -> None:
    """Pass everything on, or at most ``limit`` bytes of what the service answers."""
    with connect() as service:
        upward = threading.Thread(target=_copied, args=(client, service), daemon=True)
        upward.start()
        _copied(service, client, limit)
        with contextlib.suppress(OSError):
            service.shutdown(socket.SHUT_RDWR)
        upward.join(10)


def cut(after: int) -> Treatment:
    """Break the connection when the service has answered so many bytes."""
    return lambda client, connect: passed(client, connect, after)


def closed(client: socket.socket, connect: Callable[[], socket.socket]) -> None:
    """Close the connection without an answer; the service gets nothing."""


def lost(client: socket.socket, connect: Callable[[], socket.socket]) -> None:
    """Let the service do what is asked, and lose its answer."""
    with connect() as service:
        service.sendall(client.recv(65536))
        service.recv(65536)


def answered(response: bytes) -> Treatment:
    """Answer with this in place of the service."""

    def treatment(client: socket.socket, connect: Callable[[], socket.socket]) -> None:
        client.recv(65536)
        client.sendall(response)

    return treatment


def response(status: str, body: str = "", **headers: str) -> bytes:
    """The bytes of a response that is the last one on its connection."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body.encode())}", "Connection: close", *lines]
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode()


@contextlib.contextmanager
def before(service: str, *plan: Treatment) -> Iterator[Proxy]:
    """A proxy before a service for the time of a with-block."""
    with Proxy(service) as proxy:
        proxy.plan += plan
        yield proxy
