"""A socket that never waits, with or without TLS, and what is still to be sent over it."""

from __future__ import annotations

import select
import socket
import ssl
import struct
from contextlib import suppress

__all__ = ["Wire"]

_RECEIVED_BYTES = 65_536
#: Place of bytes that nobody reads.
_DISCARDED = bytearray(1_048_576)
#: Bytes that one client is sent before others have their turn.
_SENT_BYTES = 1_048_576
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Wire:
    """One end of a connection. Methods raise OSError if the connection has failed."""

    def __init__(self, sock: socket.socket, epoll: select.epoll) -> None:
        self._sock, self._epoll = sock, epoll
        self.fd = sock.fileno()
        self._unsent, self._sent = b"", 0  # the present data, and how many bytes of it were sent
        self._mask = select.EPOLLIN
        self._listens = True
        epoll.register(self.fd, self._mask)

    @property
    def must_shake_hands(self) -> bool:
        """Whether the connection begins with the handshake of TLS."""
        return isinstance(self._sock, ssl.SSLSocket)

    def shake_hands(self) -> bool:
        """Go on with the handshake of TLS; whether it is complete."""
        assert isinstance(self._sock, ssl.SSLSocket)
        try:
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            self._watch(select.EPOLLIN)
            return False
        except ssl.SSLWantWriteError:
            self._watch(select.EPOLLOUT)
            return False
        self._watch(select.EPOLLIN)
        return True

    def listen(self, wanted: bool) -> None:
        """Report what the client sends, or leave it in the socket, so that the client has to wait."""
        if wanted != self._listens:
            self._listens = wanted
            self._watch_both()

    def receive(self) -> bytes | None:
        """The next bytes; empty if the client has closed its end, None if none have arrived."""
        try:
            return self._sock.recv(_RECEIVED_BYTES)
        except _NOT_NOW:
            return None

    def discard(self) -> int | None:
        """Take the next bytes for nothing. Returns how many; 0 if the client has closed its end, None if none came."""
        try:
            return self._sock.recv_into(_DISCARDED)
        except _NOT_NOW:
            return None

    @property
    def has_more(self) -> bool:
        """Whether bytes have arrived that epoll does not report, since TLS has taken them from the socket."""
        return isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0

    @property
    def has_unsent(self) -> bool:
        """Whether bytes are still to be sent; ``flush`` is called when the socket takes more."""
        return bool(self._unsent)

    def send(self, data: bytes) -> None:
        """Send now what the socket takes, and keep the rest."""
        waits = bool(self._unsent)
        self.keep(data)
        if not waits:
            self.send_kept()

    def keep(self, data: bytes) -> None:
        """Send these bytes behind those that are still to be sent, when ``send_kept`` is called."""
        self._unsent, self._sent = (self._unsent[self._sent :] + data if self._unsent else data), 0

    def send_kept(self) -> None:
        """Send now what the socket takes, and the rest when ``flush`` is called."""
        if self._unsent:
            self._push()
        self._watch_both()

    def flush(self) -> int:
        """Send on. Returns the number of bytes that the socket took."""
        sent = self._push() if self._unsent else 0
        self._watch_both()
        return sent

    def _push(self) -> int:
        """Send what the socket takes. No data is copied, also if a slow client takes a large answer bit by bit."""
        begin, data = self._sent, memoryview(self._unsent)
        end = min(len(data), begin + _SENT_BYTES)
        try:
            while self._sent < end:
                self._sent += self._sock.send(data[self._sent : end])
        except _NOT_NOW:
            pass
        sent = self._sent - begin
        if self._sent == len(data):
            self._unsent, self._sent = b"", 0
        return sent

    def shut(self) -> None:
        """Close our end."""
        if isinstance(self._sock, ssl.SSLSocket):
            with suppress(ssl.SSLError):
                self._sock.unwrap()  # sends that this is the end, which nobody else can pretend
        self._sock.shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        """Have ``close`` reset the connection, so that the client does not take what it has received for all."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close(self) -> None:
        """Close the connection."""
        self._epoll.unregister(self.fd)
        self._sock.close()

    def _watch_both(self) -> None:
        self._watch((select.EPOLLIN if self._listens else 0) | (select.EPOLLOUT if self._unsent else 0))

    def _watch(self, mask: int) -> None:
        if mask != self._mask:
            self._mask = mask
            self._epoll.modify(self.fd, mask)
