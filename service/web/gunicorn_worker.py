"""Gunicorn's threaded worker with a loop that never waits for a client."""

from __future__ import annotations

import selectors
import socket
from collections import deque
from concurrent.futures import Future
from functools import partial
from time import monotonic
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

__all__ = ["WebWorker"]

#: Seconds that a client may take to close its end, and bytes that it may still send, before the connection is cut.
LINGER_SECONDS = 2.0
LINGER_BYTES = 65_536


class WebWorker(ThreadWorker):  # type: ignore[misc]
    """Closes connections without delaying other clients.

    A connection is closed in two steps (RFC 9112, section 9.6): first our end, then, after the client has closed its
    end, the socket. So no reset destroys the last bytes of the response. Gunicorn waits for the client on the thread
    that accepts connections and polls idle ones. For up to two seconds it serves nobody else, and it resets idle
    connections that time out meanwhile, even if they hold a request.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._ending: deque[TConn] = deque()
        self._left: dict[TConn, int] = {}

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        """Handle a connection after its response, on the loop's thread. The future's result is whether to keep it."""
        if fs.cancelled() or fs.exception() is not None or fs.result():
            super().finish_request(conn, fs)
            return
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._drain, conn))
        except (OSError, ValueError):  # The client has already disconnected.
            self._end(conn)
            return
        conn.timeout = monotonic() + LINGER_SECONDS
        self._ending.append(conn)
        self._left[conn] = LINGER_BYTES

    def murder_keepalived(self, force: bool = False) -> None:
        """Close idle connections that have timed out, except those that received a request since the last poll."""
        if not force and self.keepalived_conns and self.keepalived_conns[0].timeout <= monotonic():
            self.wait_for_and_dispatch_events(0)
        super().murder_keepalived(force)

    def murder_pending(self) -> None:
        """Close new connections without a request, and those that the client does not close in time."""
        super().murder_pending()
        while self._ending and self._ending[0].timeout <= monotonic():
            self._cut(self._ending[0])

    def _drain(self, conn: TConn, sock: socket.socket) -> None:
        """Discard what a client still sends, until it closes its end."""
        try:
            received = len(sock.recv(4096))
        except BlockingIOError:
            return
        except OSError:
            received = 0
        self._left[conn] -= received
        if not received or self._left[conn] <= 0:
            self._cut(conn)

    def _cut(self, conn: TConn) -> None:
        self._ending.remove(conn)
        del self._left[conn]
        self.poller.unregister(conn.sock)
        self._end(conn)

    def _end(self, conn: TConn) -> None:
        self.nr_conns -= 1
        conn.close()
