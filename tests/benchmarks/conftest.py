"""A small HTTP server for the clients of benchmarks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Handler(BaseHTTPRequestHandler):
    """Calls ``answer`` with the number of the request, from 1 on, and its body; the result is the status.

    The status 0 closes the connection without an answer.
    """

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # An answer is sent at once, so no part of it waits for an acknowledgement.
    answer: Callable[[int, bytes], int]
    expected = ("/predict", "application/json")
    count = 0

    def do_POST(self) -> None:
        cls = type(self)
        cls.count += 1
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = cls.answer(cls.count, body)
        if (self.path, self.headers["Content-Type"]) != self.expected:
            status = 400
        self.close_connection = status in (0, 503)
        if status:
            self.send_response(status)
            self.send_header("Content-Length", "2")
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"{}")

    def log_message(self, *_arguments: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def serve() -> Iterator[Callable[..., int]]:
    """Starts servers that answer as a function says; returns the port of each.

    To other paths and types than those ``expected``, they answer with status 400.
    """
    started = []

    def start(answer: Callable[[int, bytes], int], expected: tuple[str, str] = Handler.expected) -> int:
        handler = type("_Handler", (Handler,), {"answer": staticmethod(answer), "expected": expected})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        started.append((server, thread))
        return server.server_address[1]

    yield start
    for server, thread in started:
        server.shutdown()
        thread.join()
        server.server_close()
