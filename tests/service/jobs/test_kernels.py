"""Jobs with compiled kernels: killed and resumed, moved to a service without the compiler, and what says so."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from testing.harness import Client, Server, eventually
from testing.jobs import arrays, timeless
from testing.samples import CLASSES, DATA, a_model, a_training

pytestmark = pytest.mark.processes

EPOCHS = 4_000
#: Frequent reports, so that tests see a job in progress.
SETTINGS = {"LEASE_SECONDS": 1, "REPORT_SECONDS": 0.05, "RETRY_SECONDS": 0.05}
MakeServer = Callable[..., Server]


def long_training(model: str, epochs: int = EPOCHS, **members: Any) -> dict[str, Any]:
    """About a second of work, with checkpoints on the way."""
    policy = {"every_epochs": 200, "keep": 2}
    return a_training(model, epochs=epochs, batch_size=2, validation={"fraction": 0.25}, checkpoint=policy, **members)


def path_of(server: Server, job: dict[str, Any]) -> Path:
    return server.data / "checkpoints" / f"{job['checkpoint']}.h5"


def kernels_of(path: Path) -> str:
    with h5py.File(path) as file:
        return str(file.attrs["kernels"])


def codes(client: Client, job_id: str) -> list[str]:
    """The codes of a job's log events."""
    events = client.pages(f"/jobs/{job_id}/events", 100)
    return [event["data"]["code"] for event in events if event["type"] == "log"]


def without_the_compiler(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Have processes that start from now on find no llvmlite."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text('import sys\n\nsys.modules["llvmlite"] = None\n')
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_a_killed_job_ends_with_the_bits_of_an_undisturbed_one(make_server: MakeServer) -> None:
    server = make_server(KERNELS="llvm", **SETTINGS)
    client = server.start_ready()
    client.define(a_model("long"))
    whole = client.run(long_training("long"))
    job_id = client.train(long_training("long"))["id"]
    client.until_epoch(job_id, 600)
    os.kill(server.busy_runner().pid, signal.SIGKILL)
    job = client.wait(job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 2)
    assert (job["kernels"], whole["kernels"]) == ("llvm", "llvm")
    assert kernels_of(path_of(server, job)) == kernels_of(path_of(server, whole)) == "llvm"
    one, other = (arrays(path_of(server, each), "parameters", "optimizer") for each in (whole, job))
    assert one == other
    assert timeless(client.history(whole["id"])) == timeless(client.history(job_id))
    assert codes(client, job_id) == ["worker_lost"]
    assert server.files("kernels") != []


def paused(client: Client, name: str, **members: Any) -> str:
    """A job that has trained, and waits to be resumed."""
    client.define(a_model(name))
    job_id = str(client.train(long_training(name, epochs=10**6, **members))["id"])
    client.until_epoch(job_id, 300)
    assert client.post(f"/jobs/{job_id}/pause").status == 202
    client.until_state(job_id, "paused")
    return job_id


def resumed(client: Client, job_id: str) -> dict[str, Any]:
    """The job when it trains again."""
    epoch = client.job(job_id)["progress"]["epoch"]
    assert client.post(f"/jobs/{job_id}/resume").status == 202
    client.until_epoch(job_id, epoch + 10)
    return client.job(job_id)


@pytest.mark.parametrize(("first", "second"), [("llvm", "numpy"), ("numpy", "llvm")])
def test_a_job_keeps_the_kernels_of_its_checkpoint(make_server: MakeServer, first: str, second: str) -> None:
    server = make_server(KERNELS=first, **SETTINGS)
    job_id = paused(server.start_ready(), "kept")
    assert server.terminate() == 0
    server.wait_until_gone()
    server.settings["KERNELS"] = second
    client = server.start_ready()
    assert resumed(client, job_id)["kernels"] == first
    assert codes(client, job_id) == []
    assert client.post(f"/jobs/{job_id}/cancel").status == 202
    assert client.run(long_training("kept", epochs=2))["kernels"] == second


def test_without_the_compiler_a_job_continues_and_says_so(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = make_server(KERNELS="auto", **SETTINGS)
    job_id = paused(server.start_ready(), "moved")
    assert server.client.job(job_id)["kernels"] == "llvm"
    assert server.terminate() == 0
    server.wait_until_gone()
    without_the_compiler(monkeypatch, tmp_path / "site")
    client = server.start_ready()
    job = resumed(client, job_id)
    assert job["kernels"] == "numpy"
    assert codes(client, job_id) == ["kernels_missing"]
    (event,) = [one for one in client.pages(f"/jobs/{job_id}/events", 100) if one["type"] == "log"]
    assert event["data"]["level"] == "warning"
    assert "its bits may differ" in event["data"]["message"]
    server.until_logged("the job continues with NumPy")
    eventually(lambda: kernels_of(path_of(server, client.job(job_id))) == "numpy", what="a checkpoint of NumPy")
    assert client.post(f"/jobs/{job_id}/cancel").status == 202


def test_a_compiler_that_fails_is_reported_and_jobs_run_without(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The package is installed, but cannot be imported."""
    folder = tmp_path / "site" / "llvmlite"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text('raise ImportError("no such library")\n')
    monkeypatch.setenv("PYTHONPATH", str(folder.parent))
    server = make_server(KERNELS="auto", **SETTINGS)
    client = server.start_ready()
    client.define(a_model("plain"))
    job = client.run(long_training("plain", epochs=2))
    assert (job["state"], job["kernels"]) == ("succeeded", "numpy")
    server.until_logged("no such library")
    server.until_logged("kernels cannot be compiled, so jobs run without")


def test_without_the_compiler_the_setting_stops_the_start(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_the_compiler(monkeypatch, tmp_path / "site")
    done = make_server(KERNELS="llvm").run_to_end(sys.executable, "-m", "service", "serve")
    assert done.returncode != 0
    assert "TRAINYARD_KERNELS must be auto or numpy" in done.stderr
    assert "Traceback" not in done.stderr


def has_compiler(pid: int) -> bool:
    return "llvmlite" in Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.parametrize(("kernels", "loaded"), [("numpy", False), ("auto", True)])
def test_only_runners_load_the_compiler_and_only_if_jobs_need_it(
    make_server: MakeServer, kernels: str, loaded: bool
) -> None:
    server = make_server(KERNELS=kernels, **SETTINGS)
    client = server.start_ready()
    client.define(a_model("long"))
    job_id = client.train(long_training("long", epochs=10**6))["id"]
    client.until_epoch(job_id, 10)
    assert has_compiler(server.busy_runner().pid) == loaded
    assert (server.data / "kernels").exists() == loaded
    runners = {one.pid for one in server.processes("service runner")}
    assert not [one for one in server.processes() if one.pid not in runners and has_compiler(one.pid)]
    assert client.post(f"/jobs/{job_id}/cancel").status == 202


def test_members_have_the_kernels_of_their_job(make_server: MakeServer) -> None:
    server = make_server(KERNELS="llvm", **SETTINGS)
    client = server.start_ready()
    model = {"name": "many", "inputs": 2, "classes": CLASSES, "hidden": [4]}
    job = client.run({"model": model, "data": DATA, "epochs": 30, "folds": 2})
    assert (job["state"], job["kernels"]) == ("succeeded", "llvm")
    assert kernels_of(path_of(server, job)) == "llvm"
