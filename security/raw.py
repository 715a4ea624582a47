"""Raw requests: good ones of every kind, with mutations of their heads, queries, bodies, forms and ranges."""

from __future__ import annotations

import json
import random
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlsplit

from reliability.figure import Figure
from reliability.mutations import mutated
from security.answers import Operations, fault_of, is_documented, received
from security.smuggling import SHAPES
from security.tables import bases
from testing.harness import Server
from testing.samples import CSV, DATA, ROWS, a_model, a_training

__all__ = ["Corpus", "Request", "attack", "judge"]

#: Requests that are under way at the same time.
_AT_ONCE = 4
#: Seconds after which a request that has no answer is said to be whole; its head may have promised more.
_PATIENCE = 0.2
#: Seconds for an answer.
_LIMIT = 60.0


class Request(NamedTuple):
    """Bytes to send, and the method and target if they are as an operation has them."""

    data: bytes
    method: str = ""
    target: str = ""


#: Pieces that mean something in JSON, in queries, in forms and in heads.
_JSON: tuple[bytes, ...] = (
    *(b"null", b"true", b"[]", b"{}", b"-0", b"1e999", b"1E-999", b"NaN", b"-Infinity", b"9" * 400, b"0.1", b"-1"),
    *(b'""', b'"\\u0000"', b'"\\ud800"', b'"\\ud83d\\ude00"', b'"' + b"a" * 3_000 + b'"', b"[" * 2_000, b'{"a":' * 600),
    *(b"2147483648", b"9223372036854775808", b'"default"', b'"latest"', b'"full"', b'"auto"', b"\xff", b"\xef\xbb\xbf"),
)
_WORDS: tuple[bytes, ...] = (
    *(b"%00", b"%ff", b"%F0%9F%98%80", b"%2e%2e%2f", b"%2F", b"../", b"+", b"%0d%0aX: a", b"&&", b"=", b"%", b"%zz"),
    *(b"9" * 30, b"-1", b"1_0", b"%D9%A1", b"1e5", b"1.5", b"true", b"null", b"NA", b":", b"a:b:c", b"a" * 600),
)
_OPTIONS = ("types", "missing", "delimiter", "decimal", "encoding", "header", "dates", "label")
_RANGES: tuple[bytes, ...] = (
    *(b"bytes=0-0", b"bytes=-1", b"bytes=5-", b"bytes=9-1", b"bytes=0-99999999999999999999", b"bytes=-0", b"bytes"),
    *(b"bytes=0-1,2-3", b"bytes=" + b"0-0," * 500, b"rows=0-1", b"bytes=a-b", b"bytes= 0 - 1 ", b"bytes=--1", b""),
)
_FIELDS: tuple[bytes, ...] = (
    *(b"Accept: ", b"Content-Type: ", b"Content-Encoding: ", b"If-None-Match: ", b"If-Range: ", b"If-Modified-Since: "),
    *(b"Idempotency-Key: ", b"X-Request-Id: ", b"Last-Event-ID: ", b"Connection: ", b"Expect: ", b"Upgrade: "),
    *(b"Content-Disposition: ", b"X-Forwarded-Proto: ", b"Script-Name: ", b"Transfer-Encoding: ", b"Trailer: "),
)
_VALUES: tuple[bytes, ...] = (
    *(b"gzip", b"br", b"*/*;q=0", b"text/csv;q=1.5", b"application/json; charset=utf-16", b'"a"', b"a,b", b"\xff\xfe"),
    *(b"attachment; filename*=UTF-8''%ff", b'form-data; name="', b"multipart/form-data", b"a" * 300, b"0", b"-1", b""),
    *(b"application/x-ndjson", b"application/x-parquet", b'W/"a"', b"Thu, 99 Foo 2020", b"100-continue", b"close"),
)


def _head(method: str, target: str, *fields: bytes, body: bytes | None = None) -> bytes:
    lines = [f"{method} {target} HTTP/1.1".encode(), b"Host: localhost", b"Connection: close", *fields]
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


class Corpus:
    """Good requests of a service, and mutations of them by their number. ``ids`` are what paths name."""

    def __init__(self, job: str, checkpoint: str) -> None:
        self._gets = [
            *(
                "/models",
                "/models/spiral",
                "/models/spiral/versions?limit=2",
                "/models/spiral/versions/1",
                "/datasets?limit=1",
            ),
            *("/models/spiral/aliases", "/models/spiral/aliases/best", "/models/spiral/checkpoints", "/datasets/seed"),
            *("/datasets/seed/profile", "/datasets/seed/rows?limit=3&after=2&where=colour:red", "/datasets/seed/file"),
            *(
                f"/jobs?state=succeeded&model=spiral&after={job}",
                f"/jobs/{job}?wait=0.01",
                f"/jobs/{job}/history?limit=2",
            ),
            *(
                f"/jobs/{job}/events?after=3",
                f"/jobs/{job}/checkpoints",
                f"/jobs/{job}/held_out",
                "/version",
                "/metrics",
            ),
            *(f"/checkpoints/{checkpoint}", f"/checkpoints/{checkpoint}/file", "/health/ready", "/docs/"),
        ]
        self._files = [f"/checkpoints/{checkpoint}/file", "/datasets/seed/file"]
        self._documents: list[tuple[str, object]] = [
            ("/models", a_model("raw")),
            ("/models", {"name": "wide", "inputs": 2, "classes": 2, "hidden": [3], "optimizer": {"type": "adam"}}),
            ("/models", {"name": "t", "features": [{"column": "a", "type": "number", "scale": "log"}], "classes": 2}),
            ("/train", a_training("spiral", dry_run=True, validation=0.25, checkpoint={"every_epochs": 2})),
            ("/train", {"data": "seed", "dry_run": True, "folds": {"count": 3}, "model": {"name": "n"}}),
            ("/sweeps", {"train": a_training("spiral"), "over": {"/seed": [1, 2]}, "search": "grid", "dry_run": True}),
            ("/predict", {"model": "spiral", "inputs": ROWS, "version": "best", "top_k": 2}),
            (
                "/predict",
                {"model": "table", "rows": [{"x": 1, "y": None}], "report": True, "explain": {"class": "red"}},
            ),
            ("/evaluate", {"model": "spiral", "data": DATA, "coverage": 0.9, "rows": {"label": "red"}}),
            ("/datasets", {"name": "raw", "rows": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], "label": "b"}),
            ("/datasets", {"name": "raw", "inputs": ROWS, "labels": [0, 1] * 6, "features": ["a", "b"]}),
        ]
        self._tables = [content for kind in bases().values() for content in kind]
        self._kinds: list[Callable[[random.Random], Request]] = [
            *(self._query, self._field, self._range, self._json, self._json, self._table, self._form, self._bytes),
        ]

    def request(self, number: int) -> Request:
        """The request with this number."""
        chance = random.Random(number)
        return chance.choice(self._kinds)(chance)

    def _query(self, chance: random.Random) -> Request:
        target = chance.choice(self._gets).encode()
        for _ in range(chance.choice((1, 1, 2, 3))):
            place = chance.randrange(1, len(target) + 1)
            target = target[:place] + chance.choice(_WORDS) + target[place + chance.choice((0, 0, 1, 5)) :]
        text = target.decode("latin-1")
        return Request(_head("GET", text), "GET", text)

    def _field(self, chance: random.Random) -> Request:
        target = chance.choice(self._gets)
        fields = [chance.choice(_FIELDS) + chance.choice(_VALUES) for _ in range(chance.choice((1, 1, 2, 4)))]
        return Request(_head("GET", target, *fields), "GET", target)

    def _range(self, chance: random.Random) -> Request:
        target, value = chance.choice(self._files), chance.choice(_RANGES)
        if chance.random() < 0.5:
            value = mutated([value or b"a"], chance.randrange(1_000))[:4_000]
        return Request(_head("GET", target, b"Range: " + value), "GET", target)

    def _json(self, chance: random.Random) -> Request:
        path, document = chance.choice(self._documents)
        body = json.dumps(document).encode()
        for _ in range(chance.choice((0, 1, 1, 2, 4))):
            body = _replaced(body, chance)
        return Request(_head("POST", path, b"Content-Type: application/json", body=body), "POST", path)

    def _table(self, chance: random.Random) -> Request:
        body = mutated(self._tables, chance.randrange(10**6))
        options = "&".join(
            f"{name}={chance.choice(_WORDS).decode()}"
            for name in chance.sample(
                ("types", "missing", "delimiter", "decimal", "encoding", "header", "dates", "label"), 2
            )
        )
        target = chance.choice(("/datasets?name=raw-table&", "/predict?model=table&")) + options
        kind = chance.choice((b"text/csv", b"application/octet-stream", b"application/x-ndjson"))
        return Request(_head("POST", target, b"Content-Type: " + kind, body=body), "POST", target)

    def _form(self, chance: random.Random) -> Request:
        body = (
            b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nraw-form\r\n'
            b'--b\r\nContent-Disposition: form-data; name="label"\r\n\r\ncolour\r\n'
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\nContent-Type: text/csv\r\n\r\n'
        )
        body = mutated([body + CSV.encode() + b"\r\n--b--\r\n"], chance.randrange(10**6))
        kind = chance.choice((b"b", b'"b"', b"b" * 80, b"", b"b; charset=utf-16", b"b\x80"))
        fields = b"Content-Type: multipart/form-data; boundary=" + kind
        return Request(_head("POST", "/datasets", fields, body=body), "POST", "/datasets")

    def _bytes(self, chance: random.Random) -> Request:
        """Anything, also in the request line."""
        whole = [shape.data for shape in SHAPES] + [self._json(chance).data, self._form(chance).data]
        return Request(mutated(whole, chance.randrange(10**6))[:100_000])


def _replaced(body: bytes, chance: random.Random) -> bytes:
    """JSON with one token replaced, taken out or put in."""
    starts = [place for place, sign in enumerate(body) if sign in b'"[{-0123456789tfn']
    if not starts or chance.random() < 0.1:
        return mutated([body], chance.randrange(1_000))
    place = chance.choice(starts)
    end = place + 1
    while end < len(body) and body[end] not in b",]}:":
        end += 1
    return body[:place] + chance.choice(_JSON) + body[end if chance.random() < 0.8 else place :]


def _exchange(port: int, data: bytes) -> bytes:
    """Send bytes, and read until the service closes the connection."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), _LIMIT) as sock:
        with suppress(ConnectionError):  # It may have refused before all was sent.
            sock.sendall(data)
        sock.settimeout(_PATIENCE)
        with suppress(ConnectionError):
            try:
                answer = sock.recv(65_536)
            except TimeoutError:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_WR)
            sock.settimeout(_LIMIT)
            while block := sock.recv(65_536):
                answer += block
    return answer


def judge(sent: Request, data: bytes, operations: Operations) -> str | None:
    """What is wrong with what came back for a request; None if nothing is."""
    try:
        answers = received(data)
    except ValueError as error:
        return str(error)
    for answer in answers:
        fault = fault_of(*answer)
        if fault is not None:
            return fault
    listed = operations.statuses(sent.method, sent.target) if sent.method else None
    if listed is not None and answers and not is_documented(answers[0].status, answers[0].body, listed):
        return f"the route must list {answers[0].status}. Received: {answers[0].body[:300]!r}"
    return None


def attack(server: Server, figure: Figure, count: int) -> None:
    """Send so many requests to a service that ``security.fuzz`` has made; each is judged."""
    client, lock = server.client, threading.Lock()
    job = client.get("/jobs?model=spiral").json["data"][0]
    corpus, operations = Corpus(job["id"], job["checkpoint"]), Operations(client.get("/openapi.json").json)
    port = urlsplit(client.base).port
    assert port is not None

    def send(number: int) -> None:
        sent = corpus.request(number)
        fault: str | None
        try:
            data = _exchange(port, sent.data)
            fault = judge(sent, data, operations)
        except OSError as error:
            data, fault = b"", f"{type(error).__name__}: {error}"
        with lock:
            figure.count("raw requests")
            figure.count(f"answered with {data[9:10].decode()}xx" if data else "closed without an answer")
            if fault is not None:
                figure.broken.append(f"raw request {number}: {fault}; sent: {sent.data[:300]!r}")

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(send, range(count)))
