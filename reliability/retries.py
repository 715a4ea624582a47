"""A retry makes one job: many clients send each key at once, lose connections and workers, and insist on an answer.

Each key belongs to one request, which all clients send at the same moment to the real service with two web workers.
Some close the connection in the middle of the body or before the answer, and a worker is killed now and then; each
client sends again until it has an answer. In the end there is one job, model or dataset a key, and all answers to a
key are the same.
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
from testing.harness import Server, eventually
from testing.samples import CSV, a_model, a_training

__all__ = ["run"]

CLIENTS = 32
#: How many keys each route gets in a full run, and how often a web worker is killed in the middle of them.
KEYS = {"/train": 200, "/models": 50, "/datasets": 50}
KILLS = 6
#: One request in so many is cut off by its client: half of these within the body, half before the answer.
CUT_ONE_IN = 10
#: A client that has no answer after so many seconds has been let down.
PATIENCE = 40.0


class Request(NamedTuple):
    """What all clients send under one key."""

    path: str
    key: str
    body: bytes
    content_type: str = "application/json"


class Reply(NamedTuple):
    """What must be the same for all of them; and whether it was a replay."""

    status: int
    location: str | None
    body: bytes
    replayed: bool


@dataclass
class Trial:
    """A running service, what is counted, and one round after the other that all clients begin together."""

    server: Server
    figure: Figure
    counts: Counter[str] = field(default_factory=Counter)
    begin: threading.Barrier = field(default_factory=lambda: threading.Barrier(CLIENTS, timeout=2 * PATIENCE))

    def client(self, number: int, requests: list[Request], kills: set[int]) -> list[Reply | None]:
        """One client's answers to all requests; the first client also kills."""
        chance, replies = random.Random(number), []
        with closing(Peer(self.server.client.base)) as peer:
            for index, request in enumerate(requests):
                self.begin.wait()
                if number == 0 and index in kills:
                    sleep(chance.uniform(0.0, 0.01))  # so that the kill meets different moments of a request
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
        """Send a request until it is answered; None where that is in vain."""
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
            self.counts["told to wait"] += 1
            sleep(chance.uniform(0.0, 0.02 * 2 ** min(waited, 3)))
            waited += 1
        return None


class Peer:
    """A client's connection, which it makes again whenever it is lost."""

    def __init__(self, base: str) -> None:
        place = urlsplit(base)
        self._connection = HTTPConnection(place.hostname or "", place.port, timeout=10)

    def send(self, request: Request) -> Reply:
        """The service's answer; raises OSError or HTTPException where none comes."""
        headers = {"Idempotency-Key": request.key, "Content-Type": request.content_type}
        self._connection.request("POST", request.path, request.body, headers)
        response = self._connection.getresponse()
        replayed = response.headers.get("Idempotent-Replayed") == "true"
        return Reply(response.status, response.headers.get("Location"), response.read(), replayed)

    def cut(self, request: Request, *, within_body: bool) -> None:
        """Send it, wholly or in part, and be gone."""
        self._connection.putrequest("POST", request.path)
        self._connection.putheader("Idempotency-Key", request.key)
        self._connection.putheader("Content-Type", request.content_type)
        self._connection.putheader("Content-Length", str(len(request.body)))
        self._connection.endheaders(request.body[: len(request.body) // 2] if within_body else request.body)
        self._connection.close()

    def close(self) -> None:
        self._connection.close()


def training(number: int) -> Request:
    body = json.dumps(a_training("trained", seed=number)).encode()
    return Request("/train", f"train-{number}", body)


def model(number: int) -> Request:
    return Request("/models", f'"model {number}"', json.dumps(a_model(f"model-{number}")).encode())


def dataset(number: int) -> Request:
    """Every other one as a form."""
    key, path = f"dataset-{number}", f"/datasets?name=dataset-{number}&label=colour"
    if number % 2:
        return Request(path, key, CSV.encode(), "text/csv")
    head = '--limit\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    body = f"{head}{CSV}\r\n--limit--\r\n".encode()
    return Request(path, key, body, "multipart/form-data; boundary=limit")


#: By route: how a request is made, and how what it made is called where it is listed.
ROUTES: dict[str, tuple[Callable[[int], Request], str, str]] = {
    "/train": (training, "/jobs", "id"),
    "/models": (model, "/models", "name"),
    "/datasets": (dataset, "/datasets", "id"),
}


def check_key(figure: Figure, request: Request, replies: list[Reply | None]) -> str | None:
    """All clients have the same answer, and at most one of them the first; where what was made is found."""
    first = next((reply for reply in replies if reply is not None), None)
    if first is None or None in replies:
        figure.broken.append(f"{request.path} {request.key}: {replies.count(None)} clients were never answered")
        return None
    if first.status not in (201, 202):
        figure.broken.append(f"{request.path} {request.key}: {first.status} {first.body[:200]!r}")
    told = {reply[:3] for reply in replies if reply is not None}
    if len(told) != 1:
        figure.broken.append(f"{request.path} {request.key}: {len(told)} different answers")
    originals = sum(not reply.replayed for reply in replies if reply is not None)
    if originals > 1:
        figure.broken.append(f"{request.path} {request.key}: {originals} answers that say they are the first")
    figure.count("replays", len(replies) - originals)
    return first.location


def check_reuse(trial: Trial, request: Request) -> None:
    """Another payload under a key that was used is refused."""
    body = request.body.replace(b"red", b"rot")
    with closing(Peer(trial.server.client.base)) as peer:
        reply = peer.send(request._replace(body=body))
    if reply.status != 422 or json.loads(reply.body)["code"] != "idempotency_key_reused":
        trial.figure.broken.append(f"{request.path} {request.key}, another payload: {reply.status} {reply.body!r}")
    trial.figure.count("keys refused to another payload")


def try_route(trial: Trial, route: str, keys: int, kills: set[int]) -> None:
    """All clients through all keys of a route, and what there is afterwards."""
    make, listed, name = ROUTES[route]
    client, figure = trial.server.client, trial.figure
    before = {entry[name] for entry in client.pages(listed, 100)}
    requests = [make(number) for number in range(keys)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        replies = list(pool.map(lambda number: trial.client(number, requests, kills), range(CLIENTS)))
    located = [
        check_key(figure, one, list(told)) for one, told in zip(requests, zip(*replies, strict=True), strict=True)
    ]
    for request in requests:
        check_reuse(trial, request)
    made = {entry[name] for entry in client.pages(listed, 100)} - before
    if made != {(place or "").rpartition("/")[2] for place in located} or len(made) != keys:
        figure.broken.append(f"{route}: {keys} keys made {len(made)} of {listed}")
    figure.count(f"{listed[1:]} of as many keys", len(made))


def run(scale: float) -> Figure:
    """Every key to every client; a share ``scale`` of the keys and kills, at least a few."""
    figure = Figure(goals={f"{ROUTES[route][1][1:]} of as many keys": goal for route, goal in KEYS.items()})
    figure.goals |= {"workers killed": KILLS}
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "data", TRAINER="external")
        trial = Trial(server, figure)
        try:
            server.start().define(a_model("trained"))
            for route, goal in KEYS.items():
                keys = max(4, round(goal * scale))
                kills = max(1, round(KILLS * scale * goal / sum(KEYS.values())))
                try_route(trial, route, keys, {keys * (number + 1) // (kills + 1) for number in range(kills)})
        finally:
            server.close()
    for what, number in trial.counts.items():
        figure.count(what, number)
    return figure
