"""An application's response on its way to the client."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from email.utils import formatdate
from functools import lru_cache
from time import time
from typing import Any

from service.web.worker.body import ReceivedBody
from service.web.worker.head import Head
from service.web.worker.later import Later
from service.web.worker.records import NOTED

__all__ = ["Answer", "date_line", "frame"]

_STATUS = re.compile(r"[1-9][0-9]{2}(?: [ \t\x21-\x7e\x80-\xff]*)?")
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[ \t\x21-\x7e\x80-\xff]*")
#: Fields that are up to the server (RFC 9110, section 7.6.1, and PEP 3333).
_OWN = {
    *("connection", "date", "keep-alive", "proxy-authenticate", "proxy-authorization", "server", "te", "trailers"),
    *("transfer-encoding", "upgrade"),
}


@lru_cache(maxsize=1)
def _date_of(second: int) -> str:
    return f"Date: {formatdate(second, usegmt=True)}\r\n"


def date_line() -> str:
    """The field Date for the present second."""
    return _date_of(int(time()))


def frame(status: str, headers: list[tuple[str, str]], keep_alive: bool) -> str:
    """The head of a response, which ends without its empty line."""
    fields = "".join([f"{name}: {value}\r\n" for name, value in headers])
    connection = "keep-alive" if keep_alive else "close"
    return f"HTTP/1.1 {status}\r\n{fields}{date_line()}Connection: {connection}\r\n"


class Answer:
    """What an application answers to one request: its head, then its body in pieces, each sent as it comes.

    ``run`` and ``pull`` call the application, in a thread; ``take`` returns the bytes to send next.
    """

    def __init__(self, head: Head, body: ReceivedBody) -> None:
        self.head, self._body = head, body
        self.status = ""
        self.headers: list[tuple[str, str]] = []
        #: Whether the application has no further piece.
        self.ended = False
        #: The answer that waits for something, if it is such a one.
        self.later: Later | None = None
        #: Bytes of the body that were sent, or are about to be.
        self.sent = 0
        self.keep_alive = head.keep_alive
        self._length: int | None = None
        self._given = 0  # bytes that the application has given
        self._pieces: list[bytes] = []
        self._iterator: Iterator[bytes] | None = None
        self._close: Callable[[], object] | None = None
        self._framed = self._chunked = False

    @property
    def framed(self) -> bool:
        """Whether ``take`` has returned the head."""
        return self._framed

    def run(self, application: Callable[..., Any], environ: dict[str, Any]) -> None:
        """Call the application. Raises what it raises."""
        try:
            result = application(environ, self.start_response)
        finally:
            # The application's environment holds the body, which must not outlive the call.
            self.head.environ.update({key: environ[key] for key in NOTED if key in environ})
        self._close = getattr(result, "close", None)
        if isinstance(result, Later):
            self.later = result
        else:
            self._iterator = iter(result)
        if isinstance(result, (list, tuple)):
            for piece in result:
                self._write(piece)
            self.ended = True
            self._require_status()
        else:
            self.pull()

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[..., None]:
        """Take status and fields (PEP 3333). Raises ValueError if they are not valid."""
        if exc_info is not None and self._framed:
            raise exc_info[1].with_traceback(exc_info[2])
        if self.status and exc_info is None:
            raise AssertionError("the response has begun already")
        if not _STATUS.fullmatch(status):
            raise ValueError(f"invalid status: {status!r}")
        length: int | None = None
        kept = []
        for name, value in headers:
            if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
                raise ValueError(f"invalid field of a response: {name!r}")
            lower = name.lower()
            if lower == "content-length":
                if not (value.isascii() and value.isdigit()):
                    raise ValueError(f"invalid Content-Length of a response: {value!r}")
                length = int(value)
            elif lower not in _OWN:
                kept.append((name, value))
        # What was given before is the body of another response, which was not sent.
        self._pieces.clear()
        self.status, self.headers, self._length, self._given = status, kept, length, 0
        return self._write

    def _write(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._given += len(piece)

    def pull(self) -> None:
        """Take the next piece from the application. Raises what it raises.

        It is one piece, since none may wait for the next one (PEP 3333).
        """
        if self.later is not None:
            last = self.later.stopping
            self._write(self.later.look())
            self.ended = self.later.ended
            if last and not self.ended:
                raise AssertionError("an answer must end as the server stops")
        else:
            assert self._iterator is not None
            piece = next(self._iterator, None)
            while piece is not None and not piece:
                piece = next(self._iterator, None)
            if piece is None:
                self.ended = True
            else:
                self._write(piece)
                self.ended = self._length is not None and self._given >= self._length
        self._require_status()

    def _require_status(self) -> None:
        if not self.status:
            raise AssertionError("the application has not called start_response")

    def take(self, keep_alive: bool) -> bytes:
        """The bytes to send next: the head with the first piece. ``keep_alive`` is whether the server stays open.

        Raises EOFError if the body has ended early, and TypeError if it is not made of bytes.
        """
        body = b"".join(self._pieces)
        self._pieces.clear()
        if self._framed:
            return self._framed_piece(body)
        if not body and not self.ended:
            return b""  # The head comes with the first piece.
        code = int(self.status[:3])
        bodiless = self.head.method == "HEAD" or code in (204, 304) or code < 200
        headers = self.headers
        if bodiless:
            if self._length is not None and code != 204 and code >= 200:
                headers = [*headers, ("Content-Length", str(self._length))]
            self.ended, self._length = True, 0
        else:
            if self._length is None and self.ended:
                self._length = len(body)
            if self._length is not None:
                headers = [*headers, ("Content-Length", str(self._length))]
            elif self.head.old:
                self.keep_alive = False
            else:
                self._chunked = True
                headers = [*headers, ("Transfer-Encoding", "chunked")]
        self.keep_alive = self.keep_alive and keep_alive
        head = f"{frame(self.status, headers, self.keep_alive)}\r\n".encode("latin-1")
        data = head if bodiless else head + self._framed_piece(body)
        self._framed = True
        return data

    def _framed_piece(self, body: bytes) -> bytes:
        if self._chunked:
            self.sent += len(body)
            framed = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return framed + b"0\r\n\r\n" if self.ended else framed
        if self._length is not None:
            body = body[: self._length - self.sent]
        self.sent += len(body)
        if self.ended and self._length is not None and self.sent < self._length:
            raise EOFError(f"the application has answered {self.sent} of {self._length} bytes")
        return body

    @property
    def has_close(self) -> bool:
        """Whether ``close`` may take time."""
        return self._close is not None or self._body.in_file

    def close(self) -> None:
        """Call ``close`` of the application's iterable, once, and delete the body. Raises what the former raises."""
        close, self._close = self._close, None
        try:
            if close is not None:
                close()
        finally:
            self._body.close()
