"""The worker: one loop that holds all connections of a process."""

from __future__ import annotations

import logging
import os
import resource
import select
import socket
import ssl
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from time import monotonic, thread_time
from types import SimpleNamespace
from typing import Any

from gunicorn.sock import ssl_context
from gunicorn.workers.base import Worker

from service.web.worker.batches import Batches
from service.web.worker.connection import Connection, State
from service.web.worker.entrance import Entrance
from service.web.worker.environ import Peer, Server
from service.web.worker.front import Front
from service.web.worker.later import Later
from service.web.worker.pool import Place, Pool
from service.web.worker.records import Drain
from service.web.worker.shares import Shares
from service.web.worker.watch import Watch

__all__ = ["FrontDoor"]

_log = logging.getLogger("trainyard.web")

#: Seconds between two looks at the deadlines of all connections.
SWEEP_SECONDS = 0.5
#: Seconds of one round of the loop, after which it answers no further prediction, but refuses it. They are the thread's
#: own processor time: clients are not refused because another process was running.
LATE_SECONDS = 0.05
#: Seconds after which a client is answered whose body is refused before it is read. Many clients try again at once,
#: and those that do would take the processor from the requests that were accepted.
REFUSED_SECONDS = 0.05
#: Bytes of bodies that all connections together may hold in memory before large ones go to files sooner.
HELD_BYTES = 32 * 2**20
#: Files that a worker may open beside its connections.
OTHER_FILES = 256
#: Share of the idle connections that are closed if there are as many connections as there may be.
EVICTED = 0.01
#: States in which a connection has no request that is whole.
_EVICTABLE = {State.HANDSHAKE, State.HEAD, State.BODY, State.LINGER}
#: Connections that are read together, then handled, then answered. A system call costs the processor much of what it
#: has learned of a program: a prediction right behind one takes twice as long as one behind another prediction.
GROUP = 32
#: Seconds for which a loop that has just answered looks for the next request again and again, if no thread needs the
#: processor. To sleep and be woken takes longer, and many clients send on at once.
SPIN_SECONDS = 0.00005
#: Seconds for which a worker that ends keeps idle connections: a client may be sending a request.
LAST_SECONDS = 2.0


class FrontDoor(Worker):  # type: ignore[misc]
    """A gunicorn worker. One thread, the loop, accepts, reads whole requests, and sends answers, each under a deadline.

    What is quick is answered on the loop (``Front.at_once``), everything else by the application in a pool of
    ``threads``. A thread has a request only while it computes: clients that send or read slowly, and answers that
    wait (``Later``), hold none.
    """

    alive: bool
    #: By the age of a worker, which counts them. Gunicorn loads this class before it forks.
    shares = Shares(128)

    def init_process(self) -> None:
        self.epoll = select.epoll()
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._done: deque[tuple[Connection | None, Callable[[object], None], object]] = deque()
        #: What is to be done for connections, and when, on the monotonic clock; in the order of these times.
        self._put_off: deque[tuple[float, Connection, Callable[[object], None]]] = deque()
        self._woken: deque[Later] = deque()
        self._waiting: dict[Later, Connection] = {}
        self._connections: dict[int, Connection] = {}
        self._undelivered: list[Connection] = []
        self._has_answered = False  # whether an answer was sent since the loop last looked for what comes behind it
        self.held = 0
        self._round, self._round_used = monotonic(), thread_time()
        self.server = Server(self.cfg)
        self.rules = self.server.rules()
        self.idle_seconds: float = self.cfg.keepalive
        self._most = self._most_connections()
        self._tls: ssl.SSLContext | None = ssl_context(self.cfg) if self.cfg.is_ssl else None
        self.pool = Pool(self.cfg.threads)
        self._logs = bool(self.log.access_log_enabled)
        super().init_process()

    def _most_connections(self) -> int:
        """Raise the number of files that the process may open; return how many connections that allows."""
        wanted = self.cfg.worker_connections + OTHER_FILES
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if soft != resource.RLIM_INFINITY and soft < allowed:
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        return max(16, int(allowed) - OTHER_FILES)

    # What connections use.

    @property
    def application(self) -> Callable[..., Any]:
        """The WSGI application."""
        application: Callable[..., Any] = self.wsgi
        return application

    @property
    def has_room(self) -> bool:
        """Whether bodies may stay in memory."""
        return self.held < HELD_BYTES

    def late(self) -> bool:
        """Whether this round of the loop takes so long that clients would wait for those behind them."""
        # The clock is asked first: it takes a tenth of the time that the thread's own takes.
        return monotonic() - self._round > LATE_SECONDS and thread_time() - self._round_used > LATE_SECONDS

    def expect(self, kind: str) -> Place | None:
        """A place for a request of this kind that is arriving; None if no thread will have time for it."""
        return self.pool.expect(kind)

    def give_up(self, place: Place) -> None:
        """The request has arrived, or has ended."""
        self.pool.give_up(place)

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

        def task() -> None:
            self._done.append((connection, done, run()))
            os.eventfd_write(self._event, 1)

        self.pool.submit(kind, task, must=must, later=later)

    def put_off(self, connection: Connection, done: Callable[[object], None]) -> None:
        """Call ``done`` on the loop a moment later: a client that is refused may come back at once."""
        self._put_off.append((monotonic() + REFUSED_SECONDS, connection, done))

    def wait(self, connection: Connection, later: Later) -> None:
        """Have a connection look again when what its answer waits for has changed."""
        if not self.alive:
            connection.look()
            return
        self._waiting[later] = connection
        self._watch.add(later)

    def wait_no_more(self, later: Later) -> None:
        """An answer has ended."""
        if self._waiting.pop(later, None) is not None:
            self._watch.remove(later)

    def deliver(self, connection: Connection) -> None:
        """Have a connection send its answer soon, together with those of others."""
        self._undelivered.append(connection)

    def closed(self, connection: Connection) -> None:
        """A connection is closed."""
        del self._connections[connection.fd]
        self._entrance.count()

    def count_request(self) -> None:
        """Count an answered request. A worker that has answered ``max_requests`` ends, and is replaced."""
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False

    @property
    def logs(self) -> bool:
        """Whether gunicorn's access log is on."""
        return self._logs

    def log_access(
        self, environ: dict[str, Any], status: str, headers: list[tuple[str, str]], sent: int, took: timedelta
    ) -> None:
        """Write a line of gunicorn's access log."""
        fields = [(key[5:].replace("_", "-"), value) for key, value in environ.items() if key.startswith("HTTP_")]
        response = SimpleNamespace(status=status, headers=headers, sent=sent)
        self.log.access(response, SimpleNamespace(headers=fields), environ, took)

    # The loop.

    def run(self) -> None:
        """Serve until asked to end, then answer what is under way, for at most ``graceful_timeout``."""
        self.front: Front = getattr(self.wsgi, "front", None) or Front()
        self.batches = Batches(self.front, self.away, max(1, len(os.sched_getaffinity(0)) // self.cfg.workers))
        self._watch = Watch(self.front.newest, self._wake)
        drain = Drain(self.front.drain)
        self._entrance = Entrance(self.sockets, self.epoll, self.shares, self.age, self._connections)
        self.epoll.register(self._event, select.EPOLLIN)
        self.epoll.register(self.PIPE[0], select.EPOLLIN)
        swept = 0.0
        while self.alive:
            self._turn()
            now = monotonic()
            if now - swept > SWEEP_SECONDS:
                swept = now
                self._sweep(now)
                self._entrance.resume()
                self._entrance.count()
                self.notify()
                if self.ppid != os.getppid():
                    self.log.info("Parent changed, shutting down: %s", self)
                    break
        self._end()
        drain.stop()

    def _end(self) -> None:
        self.alive = False
        self._entrance.close()
        now = monotonic()
        until, swept = now + self.cfg.graceful_timeout, 0.0
        self.idle_seconds = min(self.idle_seconds, LAST_SECONDS)
        for connection in self._connections.values():
            connection.deadline = min(connection.deadline, self._last_moment(connection, now))
        self._watch.wake_all()
        while self._connections and now < until:
            self._turn()
            now = monotonic()
            if now - swept > SWEEP_SECONDS:
                swept = now
                self._sweep(now)
                self.notify()
        for connection in list(self._connections.values()):
            connection.drop()
        # Applications end what they have opened for answers.
        until = max(until, now + LAST_SECONDS)
        self.pool.close()
        while not self.pool.join(SWEEP_SECONDS) and monotonic() < until:
            self._take_results()
            self.notify()

    def _last_moment(self, connection: Connection, now: float) -> float:
        return now + LAST_SECONDS if connection.is_idle else float("inf")

    def _turn(self) -> None:
        """Wait for something to happen, and handle it."""
        patience = self._entrance.patience
        events = self._next_events() or self.epoll.poll(self._sleep_seconds(patience))
        self._round, self._round_used = monotonic(), thread_time()
        listeners = []
        for start in range(0, len(events), GROUP):
            clients = []
            for fd, mask in events[start : start + GROUP]:
                connection = self._connections.get(fd)
                if connection is not None:
                    clients.append((connection, mask))
                elif fd in self._entrance:
                    # Later, since a new connection may get the number of one that is closed in this round.
                    listeners.append(fd)
                elif fd == self._event:
                    os.eventfd_read(self._event)
                elif fd == self.PIPE[0]:
                    os.read(fd, 4096)
            for connection, mask in clients:
                connection.fetch(mask)
            for connection, mask in clients:
                connection.ready(mask)
            self.batches.compute()
            self._deliver()
        if listeners or patience is not None:
            self._accept(listeners, self._round)
        self._take_results()
        self.batches.compute()
        self._deliver()

    def _sleep_seconds(self, patience: float | None) -> float:
        """For how long at most nothing needs to be done if nothing happens."""
        seconds = SWEEP_SECONDS if patience is None else patience
        return min(seconds, max(0.0, self._put_off[0][0] - monotonic())) if self._put_off else seconds

    def _next_events(self) -> list[tuple[int, int]]:
        """What happens right after an answer."""
        if not self._has_answered or self.pool.is_busy:
            return []
        self._has_answered = False
        events: list[tuple[int, int]] = []
        until = monotonic() + SPIN_SECONDS
        while not events and monotonic() < until:
            events = self.epoll.poll(0)
        return events

    def _deliver(self) -> None:
        while self._undelivered:
            self._has_answered = True
            waiting, self._undelivered = self._undelivered, []
            for connection in waiting:
                connection.deliver()

    def _take_results(self) -> None:
        """Go on with what threads have done by now. What they do meanwhile has its turn after what clients send."""
        for _ in range(len(self._done)):
            owner, done, result = self._done.popleft()
            if owner is None:
                done(result)
            else:
                owner.back(done, result)
        while self._put_off and self._put_off[0][0] <= self._round:
            _, connection, done = self._put_off.popleft()
            connection.back(done, None)
        for _ in range(len(self._woken)):
            waiting = self._waiting.pop(self._woken.popleft(), None)
            if waiting is not None and waiting.state is State.LATER:
                waiting.look()

    def _wake(self, later: Later) -> None:
        """Runs in the watch's thread."""
        self._woken.append(later)
        os.eventfd_write(self._event, 1)

    def _accept(self, ready: list[int], began: float) -> None:
        accepted: list[Connection] = []
        try:
            for sock, client in self._entrance.accept(ready, began):
                connection = self._begin(sock, client)
                if connection is not None:
                    accepted.append(connection)
        except OSError as error:
            _log.error("a connection cannot be accepted: %s", error)
            if not self._evict():  # Else epoll would report the listener again and again.
                self._entrance.pause()
        # Not before all are accepted: the time that requests take is none that clients have waited for others.
        if self._tls is None:
            for connection in accepted:
                connection.ready(select.EPOLLIN)  # Most clients have sent their request by now.

    def _begin(self, sock: socket.socket, client: Any) -> Connection | None:
        """Take in a new connection; None if it has failed already, or if there is no room."""
        try:
            sock.setblocking(False)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(client, sock.getsockname())
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        except OSError:  # The client has disconnected already.
            sock.close()
            return None
        if len(self._connections) >= self._most and not self._evict():
            sock.close()
            return None
        connection = Connection(self, sock, peer)
        self._connections[connection.fd] = connection
        self._entrance.count()
        return connection

    def _evict(self) -> bool:
        """Close idle connections and slow ones, those first that have been so for longest. False if there is none."""
        idle = [one for one in self._connections.values() if one.state in _EVICTABLE]
        idle.sort(key=lambda one: one.deadline)
        for connection in idle[: max(1, int(EVICTED * len(idle)))]:
            connection.drop()
        return bool(idle)

    def _sweep(self, now: float) -> None:
        late = [connection for connection in self._connections.values() if connection.deadline <= now]
        for connection in late:
            connection.expired(now)
        self._deliver()
