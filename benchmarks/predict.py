"""Throughput of single-row /predict, compared to a Flask route that reads the same body and returns a constant."""

from __future__ import annotations

import json
import os
import selectors
import socket
import statistics
import time
from typing import Any

from benchmarks.servers import call, gunicorn

CONNECTIONS, REQUESTS, ROUNDS = 8, 3000, 7


def main() -> dict[str, Any]:
    """Measure both alternately; return the throughputs and the ratio of their medians."""
    row = [0.25] * 64
    with gunicorn("wsgi:app") as (port, _):
        _train(port, row)
        body = json.dumps({"model": "bench", "inputs": [row]}).encode()
        length = len(_answer(port, body))
        os.environ["CONSTANT_LENGTH"] = str(length)
        with gunicorn("benchmarks.constant:app") as (other, _):
            ours, theirs = [], []
            for _ in range(ROUNDS):
                theirs.append(throughput(other, body))
                ours.append(throughput(port, body))
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(f"/predict, one row of 64 numbers: {statistics.median(ours):,.0f} requests/s")
    print(f"constant response of {length} bytes: {statistics.median(theirs):,.0f} requests/s")
    print(f"ratio: {ratio:.2f} (goal 0.7)")
    return {"predict_per_second": ours, "constant_per_second": theirs, "ratio": ratio}


def _train(port: int, row: list[float]) -> None:
    labels = [str(digit) for digit in range(10)]
    request = {
        "model": {"name": "bench", "hidden": [64, 64]},
        "data": {"inputs": [[value + digit for value in row] for digit in range(10)], "labels": labels},
        "epochs": 2,
    }
    job = call(port, "POST", "/train", request)
    assert call(port, "GET", f"/jobs/{job['id']}?wait=30")["state"] == "succeeded"


def _request(body: bytes) -> bytes:
    head = ["POST /predict HTTP/1.1", "Host: bench", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body


def _answer(port: int, body: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(_request(body))
        received = b""
        while not _complete(received):
            received += connection.recv(65536)
    return received.partition(b"\r\n\r\n")[2]


def _complete(received: bytes) -> bool:
    head, separator, body = received.partition(b"\r\n\r\n")
    if not separator:
        return False
    assert head.startswith(b"HTTP/1.1 200"), received
    length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    return len(body) >= int(length.split(b":")[1])


def throughput(port: int, body: bytes) -> float:
    """Return the requests per second over several kept connections, each with one request at a time."""
    message = _request(body)
    chooser = selectors.DefaultSelector()
    received: dict[socket.socket, bytes] = {}
    for _ in range(CONNECTIONS):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        chooser.register(connection, selectors.EVENT_READ)
        received[connection] = b""
    begin, done = time.perf_counter(), 0
    for connection in received:
        connection.sendall(message)
    while done < REQUESTS:
        for key, _ in chooser.select():
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            received[connection] += connection.recv(65536)
            if _complete(received[connection]):
                received[connection] = b""
                done += 1
                connection.sendall(message)
    seconds = time.perf_counter() - begin
    for connection in received:
        connection.close()
    return done / seconds


if __name__ == "__main__":
    main()
