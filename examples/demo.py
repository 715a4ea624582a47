"""The demo: starts the service, trains two classifiers through REST and shows the results.

The data sets are three arms of a spiral, with a picture of the decision regions, and the 1,797 handwritten digits of
``digits.csv``. The demo uses only the REST API, with the HTTP client of the standard library.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from math import cos, sin
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "demo-output"
COLORS = {"red": "#e4572e", "green": "#5fad56", "blue": "#3d7dca"}
TINTS = {"red": "#f6c4b7", "green": "#c9e2c5", "blue": "#bfd5ee"}
#: Seconds between two requests for a job's progress.
LOOK_SECONDS = 0.2
#: Minimum accuracies, which every seed that was tried has reached.
SPIRAL_ACCURACY, DIGITS_ACCURACY = 0.93, 0.97


class DemoError(Exception):
    """A step of the demo failed or an accuracy is too low."""


class Client:
    """A client of the service."""

    def __init__(self, address: str) -> None:
        self.address = address

    def call(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """Send a request and return the parsed response. Raises DemoError with the service's error."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": content_type} if data else {}
        request = urllib.request.Request(self.address + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=90) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            raise DemoError(f"{method} {path}: {error.read().decode()}") from None

    def follow(self, job: dict[str, Any]) -> dict[str, Any]:
        """Show a job's progress on one line until it has ended."""
        while job["state"] not in ("succeeded", "failed", "cancelled"):
            show(progress_line(job))
            job = self.call("GET", f"/jobs/{job['id']}?wait={LOOK_SECONDS}")
        show(progress_line(job) + "\n")
        if job["state"] != "succeeded":
            raise DemoError(f"job {job['id']} {job['state']}: {job['error']}")
        return job


def show(line: str) -> None:
    """Overwrite the current line if the output is a terminal; otherwise print a new line."""
    if sys.stdout.isatty():
        print("\r\033[K" + line, end="", flush=True)
    else:
        print(line.rstrip("\n"), flush=True)


def progress_line(job: dict[str, Any]) -> str:
    """Format a job's epoch or networks, loss, accuracy and remaining time."""
    progress, metrics = job["progress"], job["metrics"]
    done = round(24 * progress["fraction"])
    line = f"  [{'#' * done}{'.' * (24 - done)}] "
    if job["members"]:
        ended = sum(member["state"] == "ended" for member in job["members"])
        line += f"network {ended}/{len(job['members'])}"
    else:
        line += f"epoch {progress['epoch']:,}/{progress['epochs']:,}"
    if metrics.get("loss") is not None:
        line += f"  loss {metrics['loss']:.4f}  accuracy {metrics['accuracy']:.3f}"
    if metrics.get("validation_accuracy") is not None:
        line += f"  held out {metrics['validation_accuracy']:.3f}"
    if job["state"] == "running" and progress["eta_seconds"] is not None:
        line += f"  {progress['eta_seconds']:.0f} s left"
    return line if job["state"] == "running" else f"{line}  {job['state']}"


@contextmanager
def service(data: Path) -> Iterator[Client]:
    """Run the service on a free port with its data in ``data``; yields a client."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    bind = f"127.0.0.1:{port}"
    log = (data.parent / "service.log").open("w")
    environment = {**os.environ, "TRAINYARD_DATA": str(data), "TRAINYARD_BIND": bind, "TRAINYARD_WORKERS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "wsgi:app"], cwd=ROOT, env=environment, stdout=log, stderr=log
    )
    client = Client(f"http://{bind}")
    try:
        wait_until_ready(client, process, Path(log.name))
        print(f"The service answers on {client.address} (its API: {client.address}/docs)")
        yield client
    finally:
        process.terminate()
        process.wait(30)
        log.close()
        # The trainer ends shortly after its web service and then releases its lock.
        if data.is_dir():
            with (data / "trainer.lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)


def wait_until_ready(client: Client, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the service and its trainer are ready."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            if client.call("GET", "/health/ready")["trainer"] == "ok":
                return
        except (urllib.error.URLError, ConnectionError):
            pass  # The service does not listen yet.
        time.sleep(0.05)
    raise DemoError(f"the service did not start:\n{log.read_text()}")


def spiral_points(seed: int) -> tuple[list[list[float]], list[str]]:
    """Return three arms c of 100 points: radius 0…1, angle 4c…4(c+1) with noise of standard deviation 0.2."""
    source = random.Random(seed)
    points, labels = [], []
    for arm, color in enumerate(COLORS):
        for index in range(100):
            radius = index / 99
            angle = 4 * arm + 4 * index / 99 + source.gauss(0, 0.2)
            points.append([radius * sin(2.5 * angle), radius * cos(2.5 * angle)])
            labels.append(color)
    return points, labels


def train_spiral(client: Client, picture: Path) -> None:
    """Define a model, train it, predict and draw the decision regions."""
    points, labels = spiral_points(seed=0)
    print("\nSpiral: 300 points, 2 -> dense 64 -> relu -> dense 3 -> softmax, Adam, 10,001 full-batch epochs")
    definition = {
        "name": "spiral",
        "inputs": 2,
        "classes": list(COLORS),
        "layers": [
            {"type": "dense", "units": 64},
            {"type": "relu"},
            {"type": "dense", "units": 3},
            {"type": "softmax"},
        ],
        "optimizer": {"type": "adam", "learning_rate": 0.01},
    }
    client.call("POST", "/models", definition)
    request = {
        "model": "spiral",
        "data": {"inputs": points, "labels": labels},
        "epochs": 10_001,
        "batch_size": "full",
        "seed": 0,
    }
    job = client.follow(client.call("POST", "/train", request))
    answer = client.call("POST", "/predict", {"model": "spiral", "inputs": points})
    accuracy = sum(map(str.__eq__, answer["predictions"], labels)) / len(labels)
    draw(client, points, labels, picture)
    report(client, "training accuracy", accuracy, SPIRAL_ACCURACY, job)
    print(f"  picture of the decision regions: {picture}")


def train_digits(client: Client) -> None:
    """Upload a CSV file and name the label: the service chooses the networks. Then predict one row."""
    print("\nDigits: 1,797 images of 8x8 from examples/digits.csv; nothing but the label is named")
    content = (ROOT / "examples" / "digits.csv").read_bytes()
    dataset = client.call("POST", "/datasets?name=digits&label=digit", content, "text/csv")
    print(f"  dataset {dataset['id']}: {dataset['rows']} rows, classes {', '.join(dataset['classes'])}")
    job = client.follow(client.call("POST", "/train", {"data": "digits"}))
    found = job["held_out"]
    best = max(found["to_beat"].items(), key=lambda item: item[1]["accuracy"])
    print(f"  ours:    {measured(found)}, on rows that the networks did not train on")
    print(f"  to beat: {measured(best[1])} ({best[0]}); {measured(found['to_beat']['majority'])} (majority)")
    report(client, "accuracy", found["accuracy"], DIGITS_ACCURACY, job)
    row = content.decode().splitlines()[1].split(",")
    answer = client.call("POST", "/predict", {"model": "digits", "inputs": [float(x) for x in row[:-1]], "top_k": 2})
    guesses = ", ".join(f"{guess['class']} {guess['probability']:.3f}" for guess in answer["top"][0])
    print(f"  prediction for the first row, a {row[-1]}: {guesses}")


def measured(measures: dict[str, Any]) -> str:
    """Format accuracy and log loss."""
    return f"accuracy {measures['accuracy']:.3f}, log loss {measures['log_loss']:.3f}"


def report(client: Client, name: str, value: float, floor: float, job: dict[str, Any]) -> None:
    """Print a result and its checkpoint. Raises DemoError if ``value`` is below ``floor``."""
    checkpoint = client.call("GET", f"/checkpoints/{job['checkpoint']}")
    print(
        f"  {name} {value:.3f}; version {job['version']}, checkpoint {checkpoint['id']} ({checkpoint['bytes']:,} bytes)"
    )
    if value < floor:
        raise DemoError(f"{name} is {value:.3f}, below {floor}")


def draw(client: Client, points: list[list[float]], labels: list[str], path: Path, cells: int = 120) -> None:
    """Write the decision regions as SVG, from predictions on a grid."""
    at = [-1.1 + 2.2 * (index + 0.5) / cells for index in range(cells)]
    grid = [[x, -y] for y in at for x in at]
    answer = client.call("POST", "/predict", {"model": "spiral", "inputs": grid})
    size, cell = 480, 480 / cells
    shapes = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" width="{size}" height="{size}">']
    shapes.append('<title>Decision regions of the spiral classifier</title><g shape-rendering="crispEdges">')
    for row in range(cells):
        colors = answer["predictions"][row * cells : (row + 1) * cells]
        start = 0
        for column in range(1, cells + 1):
            if column == cells or colors[column] != colors[start]:
                place = f'x="{start * cell:g}" y="{row * cell:g}" width="{(column - start) * cell:g}" height="{cell:g}"'
                shapes.append(f'<rect {place} fill="{TINTS[colors[start]]}"/>')
                start = column
    shapes.append("</g>")
    for (x, y), label in zip(points, labels, strict=True):
        place = f'cx="{(x + 1.1) / 2.2 * size:.1f}" cy="{(1.1 - y) / 2.2 * size:.1f}"'
        shapes.append(f'<circle {place} r="4" fill="{COLORS[label]}" stroke="#fff"/>')
    path.write_text("\n".join([*shapes, "</svg>\n"]))


def main() -> int:
    """Run the demo; return 0, or 1 if it failed."""
    begin = time.monotonic()
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir()
    data = Path(tempfile.mkdtemp(prefix="trainyard-demo-")) / "data"
    try:
        with service(data) as client:
            train_spiral(client, OUTPUT / "spiral.svg")
            train_digits(client)
    except DemoError as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    files = sorted((data / "checkpoints").glob("*.h5"))
    print(f"\nThe {len(files)} HDF5 files, which any HDF5 tool can read, are in {data / 'checkpoints'}")
    print(f"Done in {time.monotonic() - begin:.1f} s. `make serve` keeps a service running.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
