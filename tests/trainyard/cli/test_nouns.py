"""``trainyard data``, ``model`` and ``job``: each prints what the service answers."""

from __future__ import annotations

import json
import re
import sys

import h5py
import onnx
import pytest

from testing.harness import FINAL
from testing.samples import fresh
from tests.trainyard.cli.conftest import Made, Shell
from tests.trainyard.conftest import iris_like

#: A command for each request that changes nothing.
READS: list[tuple[str, str]] = [
    ("data list --limit 3", "/datasets?limit=3"),
    ("data show {dataset}", "/datasets/{dataset}"),
    ("data rows {dataset} --limit 2 --where kind=setosa", "/datasets/{dataset}/rows?limit=2&where=kind%3Asetosa"),
    ("data rows {dataset} --limit 2 --after 5", "/datasets/{dataset}/rows?limit=2&after=5"),
    ("data profile {dataset}", "/datasets/{dataset}/profile"),
    ("model list --limit 2", "/models?limit=2"),
    ("model list --prefix {model}", "/models?prefix={model}"),
    ("data list --prefix {dataset}", "/datasets?prefix={dataset}"),
    ("model show {model}", "/models/{model}"),
    ("model versions {model}", "/models/{model}/versions"),
    ("model versions {model} --limit 1 --after 2", "/models/{model}/versions?limit=1&after=2"),
    ("job list --model {model}", "/jobs?model={model}"),
    ("job list --state succeeded --limit 1", "/jobs?state=succeeded&limit=1"),
    ("job show {job}", "/jobs/{job}"),
    ("job wait {job}", "/jobs/{job}"),
    ("job watch {job}", "/jobs/{job}"),
    ("api GET /models/{model}", "/models/{model}"),
]


@pytest.mark.parametrize(("command", "path"), READS, ids=[command.partition(" {")[0] for command, _ in READS])
def test_json_is_what_the_service_answers(shell: Shell, made: Made, command: str, path: str) -> None:
    """And without --json the same is told in lines without control characters."""
    names = {"dataset": made.dataset, "model": made.model, "job": made.jobs[0]}
    words = command.format(**names).split()
    done = shell(*words, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == shell.client.get(path.format(**names)).json
    told = shell(*words)
    assert told.returncode == 0, told.stderr
    assert told.stdout
    assert not re.search("[\x00-\x08\x0b-\x1f]", told.stdout)


def test_a_list_is_as_long_as_it_is_asked_for(shell: Shell, made: Made) -> None:
    """From as many pages as that takes, with the times of the service and without a heading."""
    names = [fresh("listed") for _ in range(3)]
    for name in names:
        document = {"name": name, "inputs": [[float(number)] for number in range(3)], "labels": ["a", "b", "a"]}
        assert shell.client.post("/datasets", document).status == 201
    done = shell("data", "list", "--limit", "3")
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == names[::-1]
    assert lines[0][1] == "3"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", lines[0][6])
    rows = shell("data", "rows", made.dataset, "--limit", "90")
    assert [line.split("\t")[0] for line in rows.stdout.splitlines()] == [str(number) for number in range(1, 91)]


def test_a_dataset_from_its_file_to_its_end(shell: Shell) -> None:
    name = fresh("added")
    (shell.folder / "euro.csv").write_text(iris_like().replace(",", ";"))
    done = shell(
        "data", "add", "euro.csv", "--name", name, "--label", "kind", "--ignore", "tall", "--delimiter", "semicolon"
    )
    assert (done.returncode, done.stdout) == (0, f"{name}\n"), done.stderr
    assert "90 rows" in done.stderr
    document = shell.client.get(f"/datasets/{name}").json
    assert (document["label"], document["features"]) == ("kind", ["long", "wide", "deep"])
    again = shell("data", "add", "flowers.csv", "--name", name)
    assert again.returncode == 4
    assert f"the name '{name}' belongs to another dataset" in again.stderr
    wrong = shell("data", "add", "flowers.csv", "--name", fresh("added"), "--label", "knd")
    assert wrong.returncode == 4
    assert wrong.stderr.startswith("Error: --label: ")
    other = fresh("added")
    assert shell("data", "add", "-", "--name", other, "--json", stdin=iris_like()).returncode == 0
    done = shell("data", "rm", name, other)
    assert (done.returncode, done.stdout) == (0, "")
    assert shell.client.get(f"/datasets/{name}").status == shell.client.get(f"/datasets/{other}").status == 404
    assert shell("data", "rm", name).returncode == 4


def test_a_version_from_file_to_file(shell: Shell, made: Made) -> None:
    """It is exported, imported under another model and promoted."""
    name = fresh("moved")
    definition = shell.client.get(f"/models/{made.model}/versions/2").json["definition"]
    shell.client.define({**definition, "name": name})
    assert shell("model", "export", made.model, "-o", "made.h5").stdout == "made.h5\n"
    piped = shell.sh(f'"{sys.executable}" -m trainyard model export {made.model} --version 2 > piped.h5')
    assert piped.returncode == 0, piped.stderr
    assert (shell.folder / "made.h5").read_bytes() == (shell.folder / "piped.h5").read_bytes()
    with h5py.File(shell.folder / "made.h5") as file:
        assert len(file) > 0
    exported = shell("model", "export", made.model, "--version", "1", "-o", "made.ONNX", "--json")
    assert json.loads(exported.stdout)["version"] == 1
    assert shell("model", "export", made.model, "--version", "1", "--format", "onnx", "-o", "made.bin").returncode == 0
    assert (shell.folder / "made.ONNX").read_bytes() == (shell.folder / "made.bin").read_bytes()
    onnx.checker.check_model((shell.folder / "made.bin").read_bytes())
    for number in (1, 2):
        assert shell("model", "import", name, "made.h5").stdout == f"{name}@{number}\n"
    assert shell("model", "promote", name, "1").stdout == f"{name}@1\n"
    assert json.loads(shell("model", "promote", name, "2", "--alias", "canary", "--json").stdout)["alias"] == "canary"
    listed = [line.split("\t")[:2] for line in shell("model", "versions", name).stdout.splitlines()]
    assert listed == [["2", "canary"], ["1", "default"]]
    both = shell("model", "promote", name, "1=3", "2=1", "--alias", "both")
    assert both.stdout == f"{name}@1=3 {name}@2=1\n"
    shadowed = shell("model", "promote", name, "1", "--alias", "canary", "--shadow", "2", "--log", "--json")
    assert json.loads(shadowed.stdout)["shadow"] == {"version": 2, "share": 1.0, "log": True}
    listed = [line.split("\t")[:2] for line in shell("model", "versions", name).stdout.splitlines()]
    assert listed == [["2", "both 25%"], ["1", "both 75%, canary, default"]]
    assert "as in 3=0.9" in shell("model", "promote", name, "1=a").stderr
    assert shell("model", "rm", name).returncode == 0
    assert shell.client.get(f"/models/{name}").status == 404
    wrong = shell("model", "promote", made.model, "99")
    assert wrong.returncode == 4


def test_a_job_is_paused_resumed_and_stopped(shell: Shell, made: Made) -> None:
    name = fresh("long")
    job = shell.client.train(
        {"data": made.dataset, "model": {"name": name, "hidden": [8]}, "epochs": 1_000_000, "max_seconds": 600}
    )["id"]
    try:
        shell.client.until_state(job, "running", timeout=90.0)
        assert shell("job", "pause", job).stdout.strip() in ("running", "paused")
        shell.client.until_state(job, "paused", timeout=60.0)
        assert shell("job", "resume", job).stdout.strip() in ("queued", "running")
        shell.client.until_state(job, "running", timeout=90.0)
        assert shell("job", "rm", job).returncode == 4, "it has not ended"
        assert shell("job", "stop", job).stdout.strip() in ("running", "cancelled")
    finally:
        shell.client.post(f"/jobs/{job}/cancel")
    assert shell.client.wait(job)["state"] == "cancelled"
    for command in ("watch", "wait"):
        done = shell("job", command, job)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"{job} was cancelled" in done.stderr
    again = shell("job", "pause", job)
    assert again.returncode == 4
    assert "it cannot be paused (wrong_state" in again.stderr.replace("\n", " ")
    assert shell("job", "rm", job).returncode == 0
    assert shell.client.get(f"/jobs/{job}").status == 404


def test_an_ended_job_is_followed_at_once(shell: Shell, made: Made) -> None:
    job = shell.client.job(made.jobs[0])
    assert job["state"] in FINAL
    for command in ("watch", "wait"):
        done = shell("job", command, job["id"])
        assert done.returncode == 0
        page, curl = done.stdout.splitlines()
        assert page == f"{shell.url}/console/models/{made.model}"
        assert curl.startswith(f"curl {shell.url}/predict -d ")
