"""A client's connection: what it sends and is sent, step by step, each under a deadline. It never waits."""

from __future__ import annotations

import errno
import logging
import math
import select
import socket
from collections.abc import Callable
from datetime import timedelta
from enum import Enum, auto
from functools import partial
from time import monotonic
from typing import Any, NamedTuple, Protocol, TypeVar

from service.web.worker.answer import Answer, frame
from service.web.worker.batches import Batches
from service.web.worker.body import ReceivedBody
from service.web.worker.chunks import ChunkReader
from service.web.worker.environ import Peer, Server
from service.web.worker.front import Batchable, Front, QuickAnswer
from service.web.worker.head import HEAD_BYTES, Head, RequestError, Rules, read_head
from service.web.worker.later import Later
from service.web.worker.pool import BusyPoolError, Place
from service.web.worker.records import Record
from service.web.worker.refusals import common_headers, refusal, request_id_of
from service.web.worker.wire import Wire

__all__ = ["Connection", "Door", "State"]

_log = logging.getLogger("trainyard.web")

#: Seconds for the whole head of a request, and for the handshake of TLS.
HEAD_SECONDS = 10.0
#: Bytes a second that a body must have, on average over so many seconds.
BODY_RATE, BODY_SECONDS = 1_000, 10.0
#: Bytes a second of an answer that a client must take, on average over so many seconds.
ANSWER_RATE, ANSWER_SECONDS = 1_000, 30.0
#: A connection is closed in two steps (RFC 9112, section 9.6): first our end, then, once the client has closed its end,
#: the socket; else a reset might overtake the answer. The client has so many seconds for that, and may still send so
#: many bytes; more of them if it is still sending a body that was refused.
LINGER_SECONDS, LINGER_BYTES = 2.0, 65_536
REFUSED_SECONDS, REFUSED_BYTES = 30.0, 64 * 2**20
#: Bytes of a body from which on a request is of another kind than one of the same route with less.
LITTLE_BYTES = 8_192
#: Bytes of a body that is refused before it is read if there is no time for its request. Smaller ones are there at
#: once; of larger ones a client might not read the answer before ``REFUSED_SECONDS`` are over.
LEAST_REFUSED_BYTES, MOST_REFUSED_BYTES = 65_536, 8 * 2**20
#: Size of a head up to which it is remembered until the next one of the same client.
REPEATED_BYTES = 1_024
#: Bytes of a body that need no room on the disk, as they stay in memory even if there is little.
HELD_BYTES = 262_144
#: Bytes of a body that stay in memory, if there is room, and if there is none.
MOST_HELD_BYTES, LEAST_HELD_BYTES = 4 * 2**20, 16_384

Argument = TypeVar("Argument")

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_FULL = {errno.ENOSPC, errno.EDQUOT}
#: The status of a request whose client has left before there was an answer, as nginx calls it.
_LEFT = "499 Client Closed Request"
#: Codes of what somebody has to change before another try.
_SLOW = {"storage_full", "storage_low"}


class State(Enum):
    """What a connection is at."""

    HANDSHAKE = auto()
    HEAD = auto()
    BODY = auto()
    #: A thread has the request, or a piece of its body.
    AWAY = auto()
    #: The answer waits for something; ``service.web.worker.later``.
    LATER = auto()
    ANSWER = auto()
    LINGER = auto()
    CLOSED = auto()


class _Failure(NamedTuple):
    """An error in a thread."""

    error: BaseException


class Door(Protocol):
    """What a connection uses of the loop that it is in."""

    alive: bool
    rules: Rules
    server: Server
    front: Front
    epoll: select.epoll
    idle_seconds: float
    #: Bytes of bodies that all connections hold in memory.
    held: int
    batches: Batches

    @property
    def application(self) -> Callable[..., Any]:
        """The WSGI application."""

    @property
    def has_room(self) -> bool:
        """Whether bodies may stay in memory."""

    @property
    def logs(self) -> bool:
        """Whether gunicorn's access log is on."""

    def late(self) -> bool:
        """Whether this round of the loop takes too long to answer further requests in it."""

    def expect(self, kind: str) -> Place | None:
        """A place for a request of this kind that is arriving; None if no thread will have time for it."""

    def give_up(self, place: Place) -> None:
        """The request has arrived, or has ended."""

    def away(
        self,
        connection: Connection | None,
        kind: str,
        run: Callable[[], object],
        done: Callable[[object], None],
        *,
        must: bool = False,
        later: bool = False,
    ) -> None:
        """Have a thread run a task, and then, on the loop, call ``done`` with its result. Raises BusyPoolError."""

    def put_off(self, connection: Connection, done: Callable[[object], None]) -> None:
        """Call ``done`` on the loop a moment later: a client that is refused may come back at once."""

    def wait(self, connection: Connection, later: Later) -> None:
        """Have a connection look again when what its answer waits for has changed."""

    def wait_no_more(self, later: Later) -> None:
        """An answer has ended."""

    def deliver(self, connection: Connection) -> None:
        """Have a connection send its answer soon, together with those of others."""

    def closed(self, connection: Connection) -> None:
        """A connection is closed."""

    def count_request(self) -> None:
        """A request was answered."""

    def log_access(
        self, environ: dict[str, Any], status: str, headers: list[tuple[str, str]], sent: int, took: timedelta
    ) -> None:
        """Write a request to gunicorn's access log."""


class Connection:
    """One client. All methods run on the loop's thread."""

    def __init__(self, door: Door, sock: socket.socket, peer: Peer) -> None:
        self.door, self.peer = door, peer
        self._wire = Wire(sock, door.epoll)
        self.fd = self._wire.fd
        self.state = State.HANDSHAKE if self._wire.must_shake_hands else State.HEAD
        #: When ``expired`` is called, on the monotonic clock.
        self.deadline = monotonic() + HEAD_SECONDS
        self.answer: Answer | None = None
        self._recorded = False  # whether the present request is
        self._fetched: bytes | None = None
        self._last_data = b""
        self._last_head: Head | None = None
        self._is_last = False  # whether the present head is the one that is remembered
        self._buffer = b""
        self._searched = 0  # bytes at the buffer's begin that hold no end of a head
        self._head: Head | None = None
        self._body: ReceivedBody | None = None
        self._chunks: ChunkReader | None = None
        self._limit = 0  # of the body
        self._held = 0  # bytes of the body that count for ``door.held``
        self._moved = 0  # bytes of a body or an answer in the present window, or bytes left to discard
        self._began = 0.0
        self._place: Place | None = None  # of the request while it arrives
        self._whole = b""  # the body of a request that waits for a batch
        self._half_closed = False  # whether the client has closed its end
        self._last = False  # whether the answer is the last one
        self._unread = False  # whether a body is not read to its end

    @property
    def is_idle(self) -> bool:
        """Whether the client has sent nothing of a request, except an empty line, which may precede one."""
        return self.state is State.HEAD and self._buffer in (b"", b"\r\n")

    # The loop calls these. Each closes the connection if that has failed.

    def ready(self, mask: int) -> None:
        """The socket can be read or written, or has failed."""
        self._attempt(self._ready, mask)

    def fetch(self, mask: int) -> None:
        """Take from the socket what has arrived, which ``ready`` then handles."""
        if mask == select.EPOLLIN and self.state is State.HEAD:
            self._attempt(self._fetch, mask)

    def deliver(self) -> None:
        """Send the answer that was left with the loop."""
        if self.state is not State.CLOSED:
            self._attempt(self._deliver, None)

    def back(self, done: Callable[[object], None], result: object) -> None:
        """A thread has done its part."""
        if self.state is State.CLOSED:
            self._forget_body()
            self._close_answer()
        else:
            self._attempt(done, result)

    def expired(self, now: float) -> None:
        """The deadline has passed."""
        self._attempt(self._expire, now)

    def _attempt(self, step: Callable[[Argument], None], argument: Argument) -> None:
        try:
            step(argument)
        except OSError:
            self.drop()
        except Exception:  # noqa: BLE001 - whatever it is, it must not end the loop, and with it all other connections
            _log.exception("a connection failed")
            self.drop()

    def _ready(self, mask: int) -> None:
        if self.state is State.CLOSED:  # It failed as its bytes were fetched.
            return
        if mask & ~(select.EPOLLIN | select.EPOLLOUT):  # Both ends are closed, or the connection was reset.
            self.drop()
            return
        if self.state is State.HANDSHAKE:
            if not self._wire.shake_hands():
                return
            self.state = State.HEAD
        elif mask & select.EPOLLOUT:
            self._flush()
        if mask & select.EPOLLIN and self.state is not State.CLOSED:
            self._receive()

    def look(self) -> None:
        """Get the next pieces of the answer from the application."""
        answer = self.answer
        assert answer is not None
        self.state, self.deadline = State.AWAY, math.inf
        if answer.later is not None and not self.door.alive:
            answer.later.stopping = True
        later = answer.later is not None
        kind = f"more of {self._kind(answer.head, 0)}"
        self.door.away(self, kind, lambda: _attempt(answer.pull), self._answered, must=True, later=later)

    def drop(self) -> None:
        """Close the connection at once."""
        if self.state is State.CLOSED:
            return
        if self.answer is not None and self.answer.framed and self._head is not None and self._head.old:
            self._wire.abort()  # Else the end of the connection would be the end of the body.
        self._count(cut=True)
        away = self.state is State.AWAY
        self.state, self.deadline = State.CLOSED, math.inf
        self._buffer = b""
        self._hold(0)
        self._wire.close()
        self.door.closed(self)
        if not away:  # Else the thread still uses them.
            self._forget_body()
            self._close_answer()

    # What the client sends.

    def _fetch(self, _mask: int) -> None:
        self._fetched = self._wire.receive()

    def _receive(self) -> None:
        if self.state is State.LINGER:
            self._discard()
            return
        while True:
            data, self._fetched = self._fetched, None
            if data is None:
                data = self._wire.receive()
                if data is None:
                    return
            if not data:
                self._received_end()
                return
            self._received(data)
            if self.state is State.CLOSED or not self._wire.has_more:
                return

    def _discard(self) -> None:
        while (count := self._wire.discard()) is not None:
            self._moved -= count
            if count == 0 or self._moved < 0:
                self.drop()
                return
            if not self._wire.has_more:
                return

    def _received(self, data: bytes) -> None:
        state = self.state
        if state is State.HEAD:
            self._buffer = self._buffer + data if self._buffer else data
            self._read_heads()
        elif state is State.BODY:
            self._moved += len(data)
            self._take_body(data)
        else:
            # What comes behind the request under way waits in the socket, except what has been read already.
            self._buffer += data
            self._wire.listen(False)

    def _received_end(self) -> None:
        self._half_closed = True
        if self.state is State.BODY:
            assert self._head is not None
            assert self._body is not None
            length = self._head.length
            wanted = "a last chunk" if length is None else f"{length} bytes, as Content-Length says"
            detail = f"the body must have {wanted}. Received: {self._body.size} bytes"
            self._refuse(RequestError(400, "invalid_body", detail))
        elif self.state is State.HEAD:
            self.drop()
        else:  # The client may have closed only its own end, and still read.
            self._wire.listen(False)

    def _read_heads(self) -> None:
        """Go on with what has arrived: heads, and what follows them."""
        try:
            while self.state is State.HEAD and self._buffer:
                head = self._next_head()
                if head is None:
                    break
                self._begin(head)
        except RequestError as error:
            self._refuse(error)
        if self._half_closed and self.state is State.HEAD:  # The rest of a request will not come.
            self.drop()

    def _next_head(self) -> Head | None:
        """The next head, if it has arrived. Raises RequestError."""
        if self._buffer.startswith(b"\r\n"):
            # One empty line before a request is ignored (RFC 9112, section 2.2).
            if len(self._buffer) == 2:
                return None
            self._buffer = self._buffer[2:]
            if self._buffer.startswith(b"\r"):
                raise RequestError(400, "bad_request", "a request must begin with its request line")
        end = self._buffer.find(b"\r\n\r\n", max(0, self._searched - 3))
        if end < 0:
            self._require_head()
            self._searched = len(self._buffer)
            if not self._began:
                self._began = monotonic()
                self.deadline = self._began + HEAD_SECONDS
            return None
        if end > HEAD_BYTES:
            raise _long_head()
        data = self._buffer[:end]
        self._buffer, self._searched = self._buffer[end + 4 :], 0
        if data == self._last_data:  # Most clients send the same head with each request.
            assert self._last_head is not None
            self._is_last = True
            return self._last_head.again()
        head = read_head(data, self.peer.address, self.door.rules)
        self._is_last = end <= REPEATED_BYTES
        if self._is_last:
            self._last_data, self._last_head = data, head.again()
        return head

    def _require_head(self) -> None:
        """Raise RequestError if what has arrived of a head is too long already, or can be no head."""
        limit, data = self.door.rules.limit_request_line, self._buffer
        line = data.find(b"\r\n")
        length = len(data) if line < 0 else line
        if length > limit + 1 > 1:
            raise RequestError(414, "uri_too_long", f"the request line must have at most {limit} bytes. Received: more")
        if len(data) > HEAD_BYTES:
            raise _long_head()
        # Only in what is new: else a client that sends byte by byte would have all of it searched with each.
        new = self._searched
        if data.count(b"\n", new) != data.count(b"\r\n", max(0, new - 1)):
            raise RequestError(400, "bad_request", "the lines of a head must end with \\r\\n")

    def _begin(self, head: Head) -> None:
        """A head has arrived. Raises RequestError if its body is too large."""
        self._head, self._began = head, monotonic()
        length, address = head.length, self.peer.address
        here = length is not None and length <= len(self._buffer)
        try:
            admitted = self.door.front.admit(head.environ, address)
        except RequestError as error:
            if here:
                self._buffer = self._buffer[length:]
            self._refuse(error, whole=here)
            return
        if self._is_last and self._last_head is not None:
            for key in self.door.front.lasting:
                if key in head.environ:
                    self._last_head.environ[key] = head.environ[key]
        if admitted or here:  # If need be, the application admits a request that is here.
            self._arrive(head)
            return
        self.state, self.deadline = State.AWAY, math.inf
        self._wire.listen(False)
        environ, front = head.environ, self.door.front
        admit = partial(front.admit, environ, address, wait=True)
        self.door.away(self, "admit", lambda: _attempt(admit), self._admitted, must=True)

    def _admitted(self, result: object) -> None:
        """A thread has found out whether the request may be answered."""
        assert self._head is not None
        if isinstance(result, _Failure):
            if not isinstance(result.error, RequestError):
                raise result.error
            self._refuse(result.error)
            return
        self.state = State.HEAD
        try:
            self._arrive(self._head)
        except RequestError as error:
            self._refuse(error)
            return
        if self.state is State.BODY:
            if self._half_closed:
                self._received_end()
            else:
                self._wire.listen(True)

    def _arrive(self, head: Head) -> None:
        """Take in the body of a request that may be answered. Raises RequestError if it is too large."""
        length = head.length
        if length == 0:
            self._handle(b"")
            return
        if length is not None and length <= len(self._buffer) and length <= HELD_BYTES:
            body, self._buffer = self._buffer[:length], self._buffer[length:]
            self._handle(body)
            return
        self._limit = self.door.front.body_limit(head.environ)
        if length is not None and length > self._limit:
            raise self._too_large()
        if length is None or length > HELD_BYTES:
            # Of a body in chunks, each part is counted as it comes.
            self.door.front.require_room(head.environ, length or 0)
        if length is not None and LEAST_REFUSED_BYTES < length <= MOST_REFUSED_BYTES:
            self._place = self.door.expect(self._kind(head, length))
            if self._place is None:
                # To read what is refused would take the time of those that are not.
                self.state, self.deadline = State.AWAY, math.inf
                self._wire.listen(False)
                self.door.put_off(self, lambda _: self._refuse(_busy()))
                return
        self.state = State.BODY
        self._body = ReceivedBody(self.door.front.temporary)
        self._chunks = ChunkReader(self.door.rules) if length is None else None
        self._moved, self.deadline = 0, self._began + BODY_SECONDS
        data, self._buffer = self._buffer, b""
        if data:
            self._take_body(data)
        elif head.expects_continue:
            self._wire.send(_CONTINUE)

    def _too_large(self) -> RequestError:
        return RequestError(413, "too_large", f"the body must have at most {self._limit} bytes. Received: more")

    def _take_body(self, data: bytes) -> None:
        """Bytes of the body have arrived."""
        assert self._head is not None
        assert self._body is not None
        body = self._body
        try:
            ended = self._add(data, body)
            writes = not ended and body.held > (MOST_HELD_BYTES if self.door.has_room else LEAST_HELD_BYTES)
            if writes:
                left = 0 if self._head.length is None else self._head.length - body.size
                self.door.front.require_room(self._head.environ, body.held + left)
        except RequestError as error:
            self._refuse(error)
            return
        self._hold(body.held)
        if writes:
            self.state, self.deadline = State.AWAY, math.inf
            self.door.away(self, "write", lambda: _attempt(body.write), self._written, must=True)
        elif not ended:
            return
        elif body.in_file or body.held > HELD_BYTES:
            self._call(self._head, body)
        else:
            whole = body.whole().read()
            self._forget_body()
            self._handle(whole)

    def _add(self, data: bytes, body: ReceivedBody) -> bool:
        """Add to the body what belongs to it; whether it has ended. Raises RequestError."""
        assert self._head is not None
        length = self._head.length
        if length is not None:
            left = length - body.size
            body.add(data[:left])
            self._buffer = data[left:]
            return body.size == length
        assert self._chunks is not None
        body.add(self._chunks.feed(data))
        if body.size > self._limit:
            raise self._too_large()
        if self._chunks.ended:
            self._buffer = self._chunks.rest
        return self._chunks.ended

    def _written(self, result: object) -> None:
        """A part of the body is in its file."""
        if isinstance(result, _Failure):
            self._refuse(_storage_error(result.error))
            return
        self._hold(0)
        self.state = State.BODY
        self._moved, self.deadline = 0, monotonic() + BODY_SECONDS
        data, self._buffer = self._buffer, b""
        if data:
            self._take_body(data)
        if self.state is State.BODY:
            if self._half_closed:
                self._received_end()
            else:
                self._wire.listen(True)

    def _give_up_place(self) -> None:
        if self._place is not None:
            self.door.give_up(self._place)
            self._place = None

    def _hold(self, size: int) -> None:
        """Count the bytes of the body that are in memory."""
        self.door.held += size - self._held
        self._held = size

    def _forget_body(self) -> None:
        self._give_up_place()
        self._hold(0)
        body, self._body, self._chunks = self._body, None, None
        if body is not None:
            self._delete(body)

    def _delete(self, body: ReceivedBody) -> None:
        if body.in_file:  # A large file takes time to be deleted.
            self.door.away(None, "close", lambda: _attempt(body.close), _report, must=True)
        else:
            body.close()

    # Requests.

    def _handle(self, body: bytes) -> None:
        """A request has arrived whole, with a body in memory."""
        head, door = self._head, self.door
        assert head is not None
        if len(body) <= door.front.quick_bytes and door.front.is_quick(head.environ):
            if body and door.late():  # What has no body, such as a health check, is answered even then.
                self._refuse(_busy(), whole=True)
                return
            quick = self._at_once(head, body)
            if isinstance(quick, Batchable):
                self._join_batch(quick, body)
                return
            if quick is not None:
                self._send_quick(head, quick)
                return
        self._call_with(head, body)

    def _send_quick(self, head: Head, quick: QuickAnswer) -> None:
        keep_alive = head.keep_alive and self.door.alive
        headers = [*quick.headers, ("Content-Length", str(len(quick.body)))]
        self._send_whole(head.environ, quick.status, headers, quick.body, keep_alive, quick.fields)

    def _join_batch(self, request: Batchable, body: bytes) -> None:
        """Wait until the request is answered together with others. Its body is kept for the application."""
        no_room = len(body) > LEAST_HELD_BYTES and not self.door.has_room
        if no_room or not self.door.batches.add(self, request):
            self._refuse(_busy(), whole=True)
            return
        self.state, self.deadline, self._whole = State.AWAY, math.inf, body
        self._hold(len(body))

    def batched(self, quick: QuickAnswer | None) -> None:
        """The batch is computed: send the answer, or have the application make one if there is none."""
        if self.state is State.AWAY:
            self._attempt(self._batched, quick)

    def _batched(self, quick: QuickAnswer | None) -> None:
        assert self._head is not None
        body, self._whole = self._whole, b""
        self._hold(0)
        if quick is None:
            self._call_with(self._head, body)
        else:
            self._send_quick(self._head, quick)

    def _call_with(self, head: Head, body: bytes) -> None:
        received = ReceivedBody(self.door.front.temporary)
        received.add(body)
        self._call(head, received)

    def _at_once(self, head: Head, body: bytes) -> QuickAnswer | Batchable | None:
        try:
            return self.door.front.at_once(head.environ, body)
        except Exception:  # noqa: BLE001 - the application answers instead, which has handlers for everything
            _log.exception("a request could not be answered on the loop")
            return None

    def _call(self, head: Head, body: ReceivedBody) -> None:
        """Have a thread call the application."""
        door, peer, environ, size = self.door, self.peer, head.environ, body.size
        self._give_up_place()
        # A larger one has taken its room bit by bit, and would be in a file if there had been none.
        if LEAST_HELD_BYTES < body.held <= HELD_BYTES and not body.in_file and not door.has_room:
            self._body = body
            self._refuse(_busy(), whole=True)
            return
        self._hold(body.held)
        request_id_of(environ)  # The application and what may have to answer for it use the same one.
        self.state, self.deadline = State.AWAY, math.inf
        answer = self.answer = Answer(head, body)

        def call() -> None:
            answer.run(door.application, door.server.complete(environ, peer, size, body.whole()))

        try:
            door.away(self, self._kind(head, size), lambda: _attempt(call), self._answered)
        except BusyPoolError:
            self.answer = None
            self._body = body
            self._refuse(_busy(), whole=True)
            return
        # The answer owns the body from here on; it counts until that has ended.
        self._body = self._chunks = None

    def _kind(self, head: Head, size: int) -> str:
        """The kind of a request: its route, and the size of its body in steps of eight times."""
        return f"{self.door.front.kind(head.environ)} {((size // LITTLE_BYTES).bit_length() + 2) // 3}"

    # Answers.

    def _answered(self, result: object) -> None:
        """A thread has called the application, for the whole response or its next pieces."""
        answer = self.answer
        assert answer is not None
        if isinstance(result, _Failure):
            self._failed(result.error)
            return
        try:
            data = answer.take(self.door.alive)
        except Exception as error:  # noqa: BLE001 - what the application returned makes no response
            self._failed(error)
            return
        self.state = State.ANSWER
        self._moved, self.deadline = 0, monotonic() + ANSWER_SECONDS
        if data:
            self._wire.send(data)
        if not self._wire.has_unsent:
            self._sent()

    def _failed(self, error: BaseException) -> None:
        """The application has raised what its own handlers do not handle, or has not kept its word."""
        assert self._head is not None
        assert self.answer is not None
        full = isinstance(error, OSError) and error.errno in _FULL
        request = request_id_of(self._head.environ)
        if not full or self.answer.framed:
            _log.error("request failed", exc_info=error, extra={"request_id": request})
        if self.answer.framed:  # Only a cut connection shows the client that the body is not complete.
            self.state = State.ANSWER
            self.drop()
            return
        self._close_answer()
        if full:
            self._refuse(_storage_error(error), whole=True)
            return
        detail = f"internal error; see the service's log for request {request}"
        self._refuse(RequestError(500, "internal_error", detail), whole=True)

    def _deliver(self, _nothing: None) -> None:
        self._wire.send_kept()
        if self.state is State.ANSWER and not self._wire.has_unsent:
            self._sent()

    def _flush(self) -> None:
        self._moved += self._wire.flush()
        if self.state is State.ANSWER and not self._wire.has_unsent:
            self._sent()

    def _sent(self) -> None:
        """All that there is of the answer was sent: get more, or end."""
        answer = self.answer
        if answer is None:
            self._end_request()
        elif answer.ended:
            self._last = not answer.keep_alive
            self._count()
            self._close_answer()
            self._end_request()
        elif answer.later is not None:
            self.state, self.deadline = State.LATER, math.inf
            self.door.wait(self, answer.later)
        else:
            self.look()

    def _close_answer(self) -> None:
        """Let the application end what it has opened for the answer, in a thread, since that may take time."""
        answer, self.answer = self.answer, None
        self._hold(0)
        if answer is not None:
            if answer.later is not None:
                self.door.wait_no_more(answer.later)
            if answer.has_close:
                self.door.away(None, "close", lambda: _attempt(answer.close), _report, must=True)

    def _refuse(self, error: RequestError, *, whole: bool = False) -> None:
        """Answer with a problem document. Unless the request has arrived ``whole``, the connection ends with it."""
        head = self._head
        environ: dict[str, Any] = {} if head is None else head.environ
        found = refusal(environ, error.status, error.code, error.detail)
        headers = [
            ("Content-Type", found.content_type),
            ("X-Request-Id", request_id_of(environ)),
            ("Content-Length", str(len(found.body))),
        ]
        if error.status == 503:
            headers.append(("Retry-After", "60" if error.code in _SLOW else "1"))
        headers += [*error.headers, *common_headers(environ)]
        self._forget_body()
        self._unread = head is not None and not whole
        keep_alive = whole and head is not None and head.keep_alive and self.door.alive
        self._send_whole(environ, found.status_line, headers, found.body, keep_alive)

    def _send_whole(
        self,
        environ: dict[str, Any],
        status: str,
        headers: list[tuple[str, str]],
        body: bytes,
        keep_alive: bool,
        fields: str = "",
    ) -> None:
        """Send an answer that does not come from a thread; ``fields`` are the text of further headers."""
        self.answer, self._last = None, not keep_alive
        data = f"{frame(status, headers, keep_alive)}{fields}\r\n".encode("latin-1")
        if self._head is not None and self._head.method == "HEAD":
            body = b""
        # Now rather than when it was sent: a system call makes what comes behind it slower (``front_door.GROUP``).
        self._record(environ, status, headers, len(body))
        self._wire.keep(data + body)
        self.state = State.ANSWER
        self._moved, self.deadline = 0, monotonic() + ANSWER_SECONDS
        self.door.deliver(self)

    # Ends.

    def _record(
        self, environ: dict[str, Any], status: str, headers: list[tuple[str, str]], sent: int, *, cut: bool = False
    ) -> None:
        """Record how the request was answered, or what could not be read as one; ``cut`` if the answer has no end."""
        took = monotonic() - self._began if self._began else 0.0
        self.door.front.record(Record.of(environ, int(status[:3]), took, sent, cut))
        if self.door.logs and status is not _LEFT:
            self._log(environ, status, headers, sent, took)
        self._recorded = True

    def _count(self, *, cut: bool = False) -> None:
        """Count the request, if there is one, which has ended; ``cut`` if its answer has not come to its end."""
        head, answer = self._head, self.answer
        if head is not None:
            if not self._recorded:
                if answer is not None and answer.framed:
                    self._record(head.environ, answer.status, answer.headers, answer.sent, cut=cut)
                else:
                    self._record(head.environ, _LEFT, [], 0, cut=True)
            self._head = None
            self.door.count_request()
        self._recorded = False

    def _end_request(self) -> None:
        """The answer was sent: wait for another request, or close our end."""
        self._count()
        self._began = 0.0
        if self._last:
            if self._unread:
                self._linger(REFUSED_SECONDS, REFUSED_BYTES)
            else:
                self._linger(LINGER_SECONDS, LINGER_BYTES)
            return
        self.state = State.HEAD
        self.deadline = monotonic() + self.door.idle_seconds
        self._wire.listen(not self._half_closed)
        self._read_heads()

    def _linger(self, seconds: float, allowed: int) -> None:
        """Close our end, and discard what the client still sends until it closes its own."""
        self.state = State.LINGER
        self._moved, self.deadline, self._buffer = allowed - len(self._buffer), monotonic() + seconds, b""
        self._wire.shut()
        if self._half_closed:
            self.drop()
        else:
            self._wire.listen(True)

    def _expire(self, now: float) -> None:
        if self.state is State.HEAD:
            if not self.is_idle:
                detail = f"the head of a request must arrive within {HEAD_SECONDS:g} seconds"
                self._refuse(RequestError(408, "request_timeout", detail))
                return
            self._receive()  # A request may have come at the last moment.
            if self.deadline <= now:
                self._linger(LINGER_SECONDS, LINGER_BYTES)
        elif self.state is State.BODY:
            if self._moved >= BODY_RATE * BODY_SECONDS:
                self._moved, self.deadline = 0, now + BODY_SECONDS
                return
            detail = f"a body must arrive at {BODY_RATE} bytes a second or more"
            self._refuse(RequestError(408, "request_timeout", detail))
        elif self.state is State.ANSWER and self._moved >= ANSWER_RATE * ANSWER_SECONDS:
            self._moved, self.deadline = 0, now + ANSWER_SECONDS
        else:
            self.drop()

    def _log(
        self, environ: dict[str, Any], status: str, headers: list[tuple[str, str]], sent: int, took: float
    ) -> None:
        unknown = {"REQUEST_METHOD": "-", "RAW_URI": "-", "SERVER_PROTOCOL": "-"}
        environ = unknown | environ | self.peer.environment
        self.door.log_access(environ, status, headers, sent, timedelta(seconds=took))


def _attempt(call: Callable[[], object]) -> object:
    """What a call returns, or how it failed, SystemExit included: a thread of the pool must not end."""
    try:
        return call()
    except BaseException as error:  # noqa: BLE001
        return _Failure(error)


def _report(result: object) -> None:
    if isinstance(result, _Failure):
        _log.error("the end of an answer failed", exc_info=result.error)


def _storage_error(error: BaseException) -> RequestError:
    if isinstance(error, OSError) and error.errno in _FULL:
        return RequestError(503, "storage_full", "no disk space is left for files; free some space and try again")
    _log.error("a body cannot be stored", exc_info=error)
    return RequestError(500, "storage_error", "a body cannot be written to a file")


def _busy() -> RequestError:
    return RequestError(503, "busy", "more requests wait than can be answered soon; try again in a second")


def _long_head() -> RequestError:
    return RequestError(431, "headers_too_large", f"the head of a request must have at most {HEAD_BYTES} bytes")
