"""A retry makes one job: many clients send the same key at once and retry after lost connections and killed workers.

Each key belongs to one request, which all clients send at the same moment to the real service with two web workers.
Some clients close the connection within the body or before the response, and sometimes a worker is killed. Each client
repeats its request until it has a response. At the end there must be one job, model or dataset per key, and all
responses for a key must be the same.
"""

from __future__ import annotations

import json
import os
import random
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple
from urllib.parse import urlsplit

from reliability.figure import Figure
from reliability.samples import TABLE, table_rows
from testing.harness import Server, eventually
from testing.samples import CSV, a_model, a_training

__all__ = ["run"]

CLIENTS = 32
#: The number of keys per route in a full run, and the number of kills of web workers.
KEYS = {"/train": 200, "/models": 50, "/datasets": 50}
KILLS = 6
#: One request in so many is cut off by its client: half of these within the body, half before the response.
CUT_ONE_IN = 10
#: Seconds after which a client without a response counts as a failure.
PATIENCE = 40.0


class Request(NamedTuple):
    """The request that all clients send with the same key."""

    path: str
    key: str
    body: bytes
    content_type: str = "application/json"


class Reply(NamedTuple):
    """A response. Everything except ``replayed`` must be the same for all clients."""

    status: int
    location: str | None
    body: bytes
    replayed: bool


@dataclass
class Trial:
    """A running service, the counts, and a barrier at which all clients start each round together."""

    server: Server
    figure: Figure
    counts: Counter[str] = field(default_factory=Counter)
    begin: threading.Barrier = field(default_factory=lambda: threading.Barrier(CLIENTS, timeout=2 * PATIENCE))

    def client(self, number: int, requests: list[Request], kills: set[int]) -> list[Reply | None]:
        """Run one client and return its responses to all requests; the first client also kills workers."""
        chance, replies = random.Random(number), []
        with closing(Peer(self.server.client.base)) as peer:
            for index, request in enumerate(requests):
                self.begin.wait()
                if number == 0 and index in kills:
                    sleep(chance.uniform(0.0, 0.01))  # so that kills hit different moments of a request
                    self.kill_a_worker(chance)
                replies.append(self.insist(peer, request, chance))
        return replies

    def kill_a_worker(self, chance: random.Random) -> None:
        workers = eventually(lambda: len(found := self.workers()) == 2 and found, what="two workers")
        os.kill(chance.choice(workers), signal.SIGKILL)
        self.counts["workers killed"] += 1

    def workers(self) -> list[int]:
        assert self.server.process is not None
        return [one.pid for one in self.server.processes("gunicorn") if one.parent == self.server.process.pid]

    def insist(self, peer: Peer, request: Request, chance: random.Random) -> Reply | None:
        """Repeat a request until it is answered; return None if ``PATIENCE`` runs out."""
        until, waited = monotonic() + PATIENCE, 0
        while monotonic() < until:
            try:
                if chance.randrange(CUT_ONE_IN) == 0:
                    self.counts["cut connections"] += 1
                    peer.cut(request, within_body=chance.random() < 0.5)
                    continue
                self.counts["requests"] += 1
                reply = peer.send(request)
            except (OSError, HTTPException):
                self.counts["lost answers"] += 1
                peer.close()
                sleep(chance.uniform(0.0, 0.05))
                continue
            if reply.status != 409 or json.loads(reply.body)["code"] != "idempotency_key_in_use":
                return reply
            self.counts["asked to wait"] += 1
            sleep(chance.uniform(0.0, 0.02 * 2 ** min(waited, 3)))
            waited += 1
        return None


class Peer:
    """A client's connection, which is opened again after it is lost."""

    def __init__(self, base: str) -> None:
        place = urlsplit(base)
        self._connection = HTTPConnection(place.hostname or "", place.port, timeout=10)

    def send(self, request: Request) -> Reply:
        """Send a request and return the response. Raises OSError or HTTPException if there is none."""
        headers = {"Idempotency-Key": request.key, "Content-Type": request.content_type}
        self._connection.request("POST", request.path, request.body, headers)
        response = self._connection.getresponse()
        replayed = response.headers.get("Idempotent-Replayed") == "true"
        return Reply(response.status, response.headers.get("Location"), response.read(), replayed)

    def cut(self, request: Request, *, within_body: bool) -> None:
        """Send the request, completely or in part, and close the connection."""
        self._connection.putrequest("POST", request.path)
        self._connection.putheader("Idempotency-Key", request.key)
        self._connection.putheader("Content-Type", request.content_type)
        self._connection.putheader("Content-Length", str(len(request.body)))
        self._connection.endheaders(request.body[: len(request.body) // 2] if within_body else request.body)
        self._connection.close()

    def close(self) -> None:
        self._connection.close()


def training(number: int) -> Request:
    """Return a request for a job; every other one is of a table."""
    document = a_training("trained", seed=number)
    if number % 2:
        document |= {"model": TABLE_MODEL, "data": {"rows": table_rows(number), "label": TABLE.label}}
    return Request("/train", f"train-{number}", json.dumps(document).encode())


def model(number: int) -> Request:
    return Request("/models", f'"model {number}"', json.dumps(a_model(f"model-{number}")).encode())


def dataset(number: int) -> Request:
    """Return a request for a dataset; every other one is a form."""
    key, path = f"dataset-{number}", f"/datasets?name=dataset-{number}&label=colour"
    if number % 2:
        return Request(path, key, CSV.encode(), "text/csv")
    head = '--limit\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    body = f"{head}{CSV}\r\n--limit--\r\n".encode()
    return Request(path, key, body, "multipart/form-data; boundary=limit")


#: The model of the tables. ``check_reuse`` changes the "red" in each request.
TABLE_MODEL = "red-or-not"

#: By route: the function that creates a request, the route that lists its results, and their key field.
ROUTES: dict[str, tuple[Callable[[int], Request], str, str]] = {
    "/train": (training, "/jobs", "id"),
    "/models": (model, "/models", "name"),
    "/datasets": (dataset, "/datasets", "id"),
}


def check_key(figure: Figure, request: Request, replies: list[Reply | None]) -> str | None:
    """Verify that all clients have the same response and at most one has the original; return its ``Location``."""
    first = next((reply for reply in replies if reply is not None), None)
    if first is None or None in replies:
        figure.broken.append(f"{request.path} {request.key}: {replies.count(None)} clients were never answered")
        return None
    if first.status not in (201, 202):
        figure.broken.append(f"{request.path} {request.key}: {first.status} {first.body[:200]!r}")
    reported = {reply[:3] for reply in replies if reply is not None}
    if len(reported) != 1:
        figure.broken.append(f"{request.path} {request.key}: {len(reported)} different answers")
    originals = sum(not reply.replayed for reply in replies if reply is not None)
    if originals > 1:
        figure.broken.append(f"{request.path} {request.key}: {originals} responses are not marked as replayed")
    figure.count("replays", len(replies) - originals)
    return first.location


def check_reuse(trial: Trial, request: Request) -> None:
    """Verify that a used key is refused with another payload."""
    body = request.body.replace(b"red", b"rot")
    with closing(Peer(trial.server.client.base)) as peer:
        reply = peer.send(request._replace(body=body))
    if reply.status != 422 or json.loads(reply.body)["code"] != "idempotency_key_reused":
        trial.figure.broken.append(f"{request.path} {request.key}, another payload: {reply.status} {reply.body!r}")
    trial.figure.count("keys refused to another payload")


def try_route(trial: Trial, route: str, keys: int, kills: set[int]) -> None:
    """Send all keys of a route from all clients, and verify what exists afterwards."""
    make, listed, name = ROUTES[route]
    client, figure = trial.server.client, trial.figure
    before = {entry[name] for entry in client.pages(listed, 100)}
    requests = [make(number) for number in range(keys)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        replies = list(pool.map(lambda number: trial.client(number, requests, kills), range(CLIENTS)))
    located = [
        check_key(figure, one, list(reported))
        for one, reported in zip(requests, zip(*replies, strict=True), strict=True)
    ]
    for request in requests:
        check_reuse(trial, request)
    made = {entry[name] for entry in client.pages(listed, 100)} - before
    if made != {(place or "").rpartition("/")[2] for place in located} or len(made) != keys:
        figure.broken.append(f"{route}: {keys} keys made {len(made)} of {listed}")
    figure.count(f"{listed[1:]} of as many keys", len(made))


def run(scale: float) -> Figure:
    """Send every key from every client; ``scale`` multiplies the number of keys and kills."""
    figure = Figure(goals={f"{ROUTES[route][1][1:]} of as many keys": goal for route, goal in KEYS.items()})
    figure.goals |= {"workers killed": KILLS}
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "data", TRAINER="external")
        trial = Trial(server, figure)
        try:
            client = server.start()
            client.define(a_model("trained"))
            client.define(TABLE.named(TABLE_MODEL))
            for route, goal in KEYS.items():
                keys = max(4, round(goal * scale))
                kills = max(1, round(KILLS * scale * goal / sum(KEYS.values())))
                try_route(trial, route, keys, {keys * (number + 1) // (kills + 1) for number in range(kills)})
        finally:
            server.close()
    for what, number in trial.counts.items():
        figure.count(what, number)
    return figure
