"""No answer goes to another request: rows of many clients share passes, and each row carries its own check.

The networks give back what they are given: their weights are a multiple of the identity, so the probabilities of a row
are the softmax of that multiple of the row. Of two networks, the loop of a worker computes one itself, and a thread
the other. Clients send random rows, a few or many at a time, in every protocol, all at once. Some send a row at which
the network overflows, or one that is no row at all; they are refused, and those that share their pass are not.
"""

from __future__ import annotations

import io
import json
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import h5py
import numpy as np
import numpy.typing as npt

from models.formats.checkpoint_file import FORMAT, FORMAT_VERSION
from reliability.figure import Figure
from testing.harness import Client, Server

__all__ = ["run"]

GOALS = {"rows": 1_000_000, "requests": 25_000, "refused": 1_000, "requests that shared a pass": 5_000}
CLIENTS = 32
#: Numbers of a row, and classes.
WIDTH = 16
#: By model: the units of the layers before the last one.
HIDDEN: dict[str, tuple[int, ...]] = {"little": (), "large": (1_024, 1_024)}
#: The share of requests that go to the large one, and of those that have a fault.
LARGE, FAULTY = 0.05, 0.06
#: Rows of a request at most.
ROWS = 96
#: The multiple of the identity. A row of the largest numbers overflows.
FACTOR = 4.0
LARGEST = float(np.finfo(np.float32).max)

Rows = npt.NDArray[np.float32]


class Question(NamedTuple):
    """A request, and how the probabilities of its rows are read from the answer."""

    path: str
    fields: dict[str, str]
    body: bytes
    read: Callable[[bytes, dict[str, str]], npt.NDArray[np.floating]]


def _json(model: str, rows: Rows) -> Question:
    body = json.dumps({"model": model, "inputs": rows.tolist()}).encode()
    return Question("/predict", {}, body, lambda answer, _: np.array(json.loads(answer)["probabilities"]))


def _npy(model: str, rows: Rows) -> Question:
    out = io.BytesIO()
    np.save(out, rows)
    fields = {"Content-Type": "application/x-npy"}
    return Question(f"/predict?model={model}", fields, out.getvalue(), lambda answer, _: np.load(io.BytesIO(answer)))


def _v2(model: str, rows: Rows) -> Question:
    tensor = {"name": "inputs", "shape": rows.shape, "datatype": "FP32", "data": rows.ravel().tolist()}
    body = json.dumps({"inputs": [tensor], "outputs": [{"name": "probabilities"}]}).encode()

    def read(answer: bytes, _: dict[str, str]) -> npt.NDArray[np.floating]:
        (output,) = json.loads(answer)["outputs"]
        return np.array(output["data"]).reshape(output["shape"])

    return Question(f"/v2/models/{model}/infer", {}, body, read)


def _v2_binary(model: str, rows: Rows) -> Question:
    raw = rows.astype("<f4").tobytes()
    tensor = {"name": "inputs", "shape": rows.shape, "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}
    output = {"name": "probabilities", "parameters": {"binary_data": True}}
    head = json.dumps({"inputs": [tensor], "outputs": [output]}).encode()
    fields = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}

    def read(answer: bytes, fields: dict[str, str]) -> npt.NDArray[np.floating]:
        length = int(fields["inference-header-content-length"])
        (output,) = json.loads(answer[:length])["outputs"]
        return np.frombuffer(answer[length:], "<f4").reshape(output["shape"])

    return Question(f"/v2/models/{model}/infer", fields, head + raw, read)


def _v1(model: str, rows: Rows) -> Question:
    body = json.dumps({"instances": rows.tolist(), "signature_name": "probabilities"}).encode()
    return Question(
        f"/v1/models/{model}:predict", {}, body, lambda answer, _: np.array(json.loads(answer)["predictions"])
    )


PROTOCOLS: tuple[Callable[[str, Rows], Question], ...] = (_json, _npy, _npy, _v2, _v2_binary, _v2_binary, _v1)


def run(scale: float) -> Figure:
    """Send so large a part of a million rows, and compare each answer with what its own rows must get."""
    figure = Figure(goals=dict(GOALS))
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "data")
        try:
            client = server.start_ready()
            for model, hidden in HIDDEN.items():
                _publish(client, model, hidden)
            requests = int(GOALS["requests"] * scale) + CLIENTS
            lock = threading.Lock()
            with ThreadPoolExecutor(CLIENTS) as pool:
                jobs = [
                    pool.submit(_ask, client.base, seed, requests // CLIENTS + 1, figure, lock)
                    for seed in range(CLIENTS)
                ]
                for job in jobs:
                    job.result()
            figure.count("requests that shared a pass", _shared(client))
        finally:
            server.close()
    return figure


def _publish(client: Client, name: str, hidden: tuple[int, ...]) -> None:
    """Make a model whose network gives back a multiple of what it is given."""
    sizes = (WIDTH, *hidden, WIDTH)
    layers = [{"type": "dense", "units": units} for units in sizes[1:]]
    classes = [f"c{number}" for number in range(WIDTH)]
    client.define({"name": name, "inputs": WIDTH, "classes": classes, "layers": [*layers, {"type": "softmax"}]})
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        file.attrs["format"], file.attrs["format_version"] = FORMAT, FORMAT_VERSION
        for place, (before, after) in enumerate(pairwise(sizes)):
            weights = np.eye(before, after, dtype=np.float32) * (FACTOR if place == 0 else 1.0)
            file[f"parameters/{place}_dense/weights"] = weights.astype(np.float32)
            file[f"parameters/{place}_dense/bias"] = np.zeros(after, np.float32)
    imported = client.post(
        f"/models/{name}/checkpoints", image.getvalue(), headers={"Content-Type": "application/x-hdf5"}
    )
    assert imported.status == 201, imported


def _ask(base: str, seed: int, count: int, figure: Figure, lock: threading.Lock) -> None:
    """Be one client: send ``count`` requests on one connection, and check each answer."""
    chance = np.random.default_rng(seed)
    address = urlsplit(base)
    assert address.hostname is not None
    with closing(HTTPConnection(address.hostname, address.port, timeout=60)) as connection:
        for number in range(count):
            rows = (chance.normal(size=(int(chance.integers(1, ROWS + 1)), WIDTH)) * 2).astype(np.float32)
            model = "large" if chance.random() < LARGE else "little"
            faulty = chance.random() < FAULTY
            if faulty and chance.random() < 0.5:
                rows[chance.integers(len(rows))] = LARGEST
            elif faulty:
                rows = rows[:, 1:]
            question = PROTOCOLS[chance.integers(len(PROTOCOLS))](model, rows)
            connection.request("POST", question.path, question.body, question.fields)
            response = connection.getresponse()
            answer, fields = response.read(), {name.lower(): value for name, value in response.getheaders()}
            fault = _fault(question, rows, response.status, fields, answer, faulty=faulty)
            with lock:
                figure.count("requests")
                figure.count("refused" if faulty else "rows", 1 if faulty else len(rows))
                if fault:
                    figure.broken.append(f"client {seed}, request {number}, {question.path}, {rows.shape}: {fault}")


def _fault(
    question: Question, rows: Rows, status: int, fields: dict[str, str], answer: bytes, *, faulty: bool
) -> str | None:
    """What is wrong with an answer; None if it is right."""
    if faulty:
        return None if status in (400, 422) else f"status {status} for what must be refused"
    if status != 200:
        return f"status {status}: {answer[:300]!r}"
    logits = FACTOR * rows.astype(np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected, found = powers / powers.sum(axis=1, keepdims=True), question.read(answer, fields)
    if found.shape != expected.shape:
        return f"the answer is for {found.shape}"
    difference = float(np.abs(found - expected).max())
    return None if difference < 1e-5 else f"the answer is for other rows: it differs by {difference}"


def _shared(client: Client) -> int:
    """How many requests had no pass of their own."""
    lines = [line for line in client.get("/metrics").body.decode().splitlines() if line.startswith("trainyard_predict")]
    answered = sum(float(line.rpartition(" ")[2]) for line in lines if 'outcome="answered"' in line)
    passes = sum(float(line.rpartition(" ")[2]) for line in lines if "passes_total{" in line)
    return int(answered - passes)
