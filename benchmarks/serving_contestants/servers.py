"""The contestants as servers: each in the way that its documentation recommends, with one worker."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import orjson

from benchmarks.running import running
from benchmarks.servers import free_port
from benchmarks.serving_contestants.environments import FOLDER, environment
from benchmarks.serving_requests import Request, member, tensor, v2_body

__all__ = ["CONTESTANTS", "Start"]

#: Starts a server with the weights in a file, in an empty folder; yields its port and a request for rows.
Start = Callable[[Path, Path, Any], AbstractContextManager[tuple[int, Request]]]


@contextmanager
def mlserver(weights: Path, folder: Path, x: Any) -> Iterator[tuple[int, Request]]:
    """MLServer without a pool of processes, which is faster for a small model; JSON is its only format over HTTP."""
    port = free_port()
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_endpoint": None,
        "debug": False,
        "parallel_workers": 0,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    model = {"name": folder.name, "implementation": "mlserver_model.NetworkModel"}
    (folder / "model-settings.json").write_text(json.dumps(model))
    variables = {"PYTHONPATH": str(FOLDER), "CONTESTANT_WEIGHTS": str(weights)}
    command = [str(environment("mlserver") / "mlserver"), "start", "."]
    with running(command, port, f"/v2/models/{folder.name}/ready", folder, variables):
        yield port, Request(f"/v2/models/{folder.name}/infer", v2_body("inputs", x), tensor)


@contextmanager
def litserve(weights: Path, folder: Path, x: Any) -> Iterator[tuple[int, Request]]:
    """LitServe with its faster queue between the process that answers and the one that predicts."""
    port = free_port()
    command = [str(environment("litserve") / "python"), str(FOLDER / "litserve_server.py"), str(port)]
    with running(command, port, "/health", folder, {"CONTESTANT_WEIGHTS": str(weights)}):
        yield port, Request("/predict", orjson.dumps({"inputs": x.tolist()}), member("probabilities"))


@contextmanager
def bentoml(weights: Path, folder: Path, x: Any) -> Iterator[tuple[int, Request]]:
    """BentoML with one worker, and without metrics and lines for each request."""
    port = free_port()
    command = [str(environment("bentoml") / "bentoml"), "serve", "bentoml_service:NetworkService"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    variables = {"CONTESTANT_WEIGHTS": str(weights), "BENTOML_DO_NOT_TRACK": "1", "BENTOML_HOME": str(folder)}
    with running(command, port, "/readyz", FOLDER, variables):
        yield port, Request("/predict", orjson.dumps({"inputs": x.tolist()}), member("probabilities"))


@contextmanager
def mlflow(weights: Path, folder: Path, x: Any) -> Iterator[tuple[int, Request]]:
    """MLflow's scoring server of a saved model."""
    port, programs = free_port(), environment("mlflow")
    variables = {"CONTESTANT_WEIGHTS": str(weights), "PATH": f"{programs}:{os.environ['PATH']}"}
    model = folder / "model"
    saved = subprocess.run(
        [programs / "python", FOLDER / "mlflow_model.py", model],
        env={**os.environ, **variables}, cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if saved.returncode:
        raise RuntimeError(f"MLflow cannot save the model: {saved.stderr[-2000:]}")
    command = [str(programs / "mlflow"), "models", "serve", "--model-uri", str(model), "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with running(command, port, "/ping", folder, variables):
        body = orjson.dumps({"inputs": x.tolist()})
        yield port, Request("/invocations", body, member("predictions", "probabilities"))


CONTESTANTS: dict[str, Start] = {"MLServer": mlserver, "LitServe": litserve, "BentoML": bentoml, "MLflow": mlflow}
