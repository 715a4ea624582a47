"""No request is smuggled behind another: what may be read in two ways is refused, and its connection is closed."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from typing import NamedTuple

from reliability.figure import Figure
from security.smuggling import HIDDEN_ID, SHAPES, Shape
from security.watch import Watch, watched
from testing.samples import PROBLEM

__all__ = ["Reply", "exchange", "fault", "run"]

GOALS = {"shapes refused": 3 * len(SHAPES)}
#: Seconds for the answer to a whole request.
PATIENCE = 20.0
#: Ways to send: at once, byte by byte, and in two pieces.
_PIECES = {"at once": 0, "byte by byte": 1, "in pieces of 100 bytes": 100}
#: Longer ones are not sent byte by byte, which would take seconds.
_SHORT = 1_000
_STATUS = re.compile(rb"HTTP/1\.1 [0-9]{3} ")


class Reply(NamedTuple):
    """What came back until the service closed the connection; ``closed`` is whether it did."""

    data: bytes
    closed: bool


def exchange(port: int, data: bytes, piece: int = 0) -> Reply:
    """Send bytes, in pieces of a size if it is not 0, and read until the service closes the connection."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for place in range(0, len(data), piece or len(data)):
                sock.sendall(data[place : place + (piece or len(data))])
        except ConnectionError:
            pass  # The service refused before all was sent; the answer is here already.
        try:
            while block := sock.recv(65_536):
                received += block
        except TimeoutError:
            return Reply(received, closed=False)
        except ConnectionResetError:
            pass
    return Reply(received, closed=True)


def fault(shape: Shape, reply: Reply) -> str | None:
    """What is wrong with the answer to a shape; None if it is one refusal as a problem document, and then the end."""
    head, _, body = reply.data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    if len(_STATUS.findall(reply.data)) != 1 or HIDDEN_ID in reply.data:
        return f"must have one answer, and what is behind none. Received: {reply.data[:500]!r}"
    if lines[0].split(" ")[1] != str(shape.status):
        return f"must be refused with {shape.status}. Received: {lines[0]}, {body[:300]!r}"
    if fields.get("content-type") != "application/problem+json" or fields.get("content-length") != str(len(body)):
        return f"must be refused with a whole problem document. Received: {head!r}, {len(body)} bytes"
    document = json.loads(body)
    if document.keys() != PROBLEM or (document["status"], document["code"]) != (shape.status, shape.code):
        return f"must have the members of a problem and the code {shape.code}. Received: {document}"
    if document["request_id"] != fields.get("x-request-id"):
        return f"must have one request id. Received: {fields}, {document}"
    if fields.get("connection") != "close" or not reply.closed:
        return f"must be the last answer of its connection. Received: {fields}, closed: {reply.closed}"
    return None


def run(scale: float) -> Figure:
    """Send each shape in several ways to a service, and requests of real clients beside."""
    figure = Figure(goals=dict(GOALS))
    with watched(figure, scale) as watch, watch.attack(f"{len(SHAPES)} shapes of smuggled and broken requests"):
        ways = dict(list(_PIECES.items())[: max(1, round(len(_PIECES) * scale))])
        for way, piece in ways.items():
            for shape in SHAPES:
                sent = 100 if piece == 1 and len(shape.data) > _SHORT else piece
                found = fault(shape, exchange(watch.port, shape.data, sent))
                if found:
                    figure.broken.append(f"{shape.name}, {way}: {found}")
                else:
                    figure.count("shapes refused")
        _curl(watch)
    return figure


def _curl(watch: Watch) -> None:
    """curl reads a refusal of its body, and uses a connection again."""
    if shutil.which("curl") is None:
        print("    curl is not installed: it is not asked")
        return
    url = watch.client.base
    command = ["curl", "--silent", "--show-error", "--max-time", "20", "--write-out", "%{http_code} %{num_connects}\n"]
    quiet = ["--output", "/dev/null"]
    good = [*quiet, f"{url}/health/live", *quiet, f"{url}/version"]
    done = subprocess.run([*command, *good], capture_output=True, text=True, check=False)
    if done.stdout != "200 1\n200 0\n":
        watch.broke(f"curl must use one connection for two requests. Received: {done}")
    watch.figure.count("requests of curl", 2)
