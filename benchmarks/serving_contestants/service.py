"""The service as a contestant: its models, trained once, and servers of them without a trainer."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.running import running
from benchmarks.servers import ROOT, call, free_port, wait_for_free_lock
from models.formats.mapped_parameters import map_parameters

__all__ = ["BEFORE", "DIGITS", "SMALL", "TABLE", "WIDE", "before", "export", "gthread", "gunicorn", "serve", "train"]

#: The last commit whose web workers are gunicorn's threads.
BEFORE = "39d8ccb91e47b085d0e8d3c902af291ac3b06b0f"
CLASSES = ("setosa", "versicolor", "virginica")
#: The models' names: 30-64-64-3 of numbers and of a table's 30 columns, 784-128-10, and 784-2048-2048-10.
SMALL, TABLE, DIGITS, WIDE = "small", "table", "digits", "wide"


def gunicorn(*options: str) -> list[str]:
    """The command of the service as it is run."""
    return [sys.executable, "-m", "gunicorn", "--log-level", "error", *options, "wsgi:app"]


def gthread() -> list[str]:
    """The same with gunicorn's own threads."""
    return gunicorn("--worker-class", "gthread", "--threads", "16")


def train(data: Path, names: Collection[str], root: Path = ROOT) -> None:
    """Make a data directory with these models, by the service whose code is in ``root``."""
    with serve(data, gunicorn(), root, trainer="auto") as port:
        for name in names:
            job = call(port, "POST", "/train", _training(name))
            while (found := call(port, "GET", f"/jobs/{job['id']}?wait=60"))["state"] in ("queued", "running"):
                pass
            if found["state"] != "succeeded":
                raise RuntimeError(f"the job must succeed. Received: {found}")
    wait_for_free_lock(data / "trainer.lock")


@contextmanager
def serve(
    data: Path,
    command: Sequence[str],
    root: Path = ROOT,
    *,
    workers: int = 1,
    cores: Collection[int] = (),
    **settings: str,
) -> Iterator[int]:
    """Serve a data directory, on these ``cores`` or on any; yields the port."""
    port = free_port()
    values = {"data": data, "bind": f"127.0.0.1:{port}", "workers": workers, "trainer": "external", **settings}
    variables = {f"TRAINYARD_{name.upper()}": str(value) for name, value in values.items()}
    pinned = ["taskset", "--cpu-list", ",".join(map(str, cores))] if cores else []
    # Its lines of requests go nowhere: they would fill a disk.
    with running([*pinned, *command], port, "/health/live", root, variables, quiet=True):
        yield port


@contextmanager
def granian(data: Path) -> Iterator[int]:
    """Serve a data directory by granian, with as many threads as gunicorn has."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("granian")), "--interface", "wsgi", "wsgi:app", "--workers", "1"]
    command += ["--blocking-threads", "16", "--host", "127.0.0.1", "--port", str(port)]
    variables = {"TRAINYARD_DATA": str(data), "TRAINYARD_TRAINER": "external", "TRAINYARD_WORKERS": "1"}
    with running(command, port, "/health/live", ROOT, variables, quiet=True):
        yield port


def before(folder: Path) -> Path:
    """Write the code of the commit ``BEFORE`` to a folder; raises RuntimeError if the repository does not have it."""
    found = subprocess.run(["git", "archive", BEFORE], cwd=ROOT, capture_output=True, check=False)
    if found.returncode:
        raise RuntimeError(f"the commit {BEFORE[:12]} must be in the repository: {found.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def export(data: Path, name: str, weights: Path) -> None:
    """Write the parameters of a model, of which ``data`` has one version, as the contestants read them.

    Weights have the shape (inputs, units).
    """
    for path in sorted((data / "checkpoints").glob("*.h5")):
        found = map_parameters(path)
        if found.definition.name == name:
            parameters = found.parameters
    groups = list(dict.fromkeys(each.partition("/")[0] for each in parameters))
    arrays = {
        f"{kind}{place}": parameters[f"{group}/{kind}"]
        for place, group in enumerate(groups)
        for kind in ("weights", "bias")
    }
    np.savez(weights, **arrays)


def _training(name: str) -> dict[str, Any]:
    """A short training of a model."""
    inputs, hidden, classes = {
        SMALL: (30, [64, 64], CLASSES),
        TABLE: (30, [64, 64], CLASSES),
        DIGITS: (784, [128], range(10)),
        WIDE: (784, [2048, 2048], range(10)),
    }[name]
    labels = list(classes) * 4
    x = np.random.default_rng(0).standard_normal((len(labels), inputs)).round(3).tolist()
    data: dict[str, Any] = {"inputs": x, "labels": labels}
    if name == TABLE:
        rows = [{f"x{place}": value for place, value in enumerate(row)} for row in x]
        data = {"rows": [{**row, "label": label} for row, label in zip(rows, labels, strict=True)], "label": "label"}
    return {"model": {"name": name, "hidden": hidden}, "data": data, "epochs": 2}
