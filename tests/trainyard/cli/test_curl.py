"""``--curl`` prints each request as a line, which does in a shell what the command does."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

from testing.samples import fresh
from tests.trainyard.cli.conftest import Made, Shell
from trainyard.addresses import Address
from trainyard.cli.curl import curl_line
from trainyard.requests import request_for

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
#: Where nothing answers: a command that sent its request there would fail.
NOWHERE = "http://127.0.0.1:1"
#: Every command that sends a request, and how many lines it is.
EVERY = [
    ("train flowers.csv --label kind --hidden 8", 2),
    ("train flowers --dry-run", 1),
    ("predict m wide=4", 1),
    ("predict m flowers.csv --version 2", 1),
    ("predict m -", 1),
    ("predict m wide=4 --version job_1", 1),
    ("train - --label kind --name m", 2),
    ("evaluate m - --label kind", 3),
    ("evaluate m flowers.csv", 3),
    ("evaluate m flowers", 1),
    ("evaluate m --held-out job_1", 1),
    ("compare m@1 m@2", 2),
    ("data list", 1),
    ("data show d", 1),
    ("data add flowers.csv --label kind", 1),
    ("data add - --name d", 1),
    ("data rows d --where kind=setosa", 1),
    ("data profile d", 1),
    ("data rm d e", 2),
    ("model list", 1),
    ("model show m", 1),
    ("model versions m", 1),
    ("model promote m 3", 1),
    ("model export m -o m.h5", 1),
    ("model export m -o m.onnx", 1),
    ("model export m --format onnx", 1),
    ("model import m flowers.csv", 1),
    ("model rm m --force", 1),
    ("job list --state running", 1),
    ("job show j", 1),
    ("job watch j", 1),
    ("job wait j", 1),
    ("job pause j", 1),
    ("job resume j", 1),
    ("job stop j", 1),
    ("job rm j", 1),
    ("api POST /predict -d {}", 1),
]


@pytest.mark.parametrize(("words", "count"), EVERY, ids=[words for words, _ in EVERY])
def test_no_command_sends_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, count: int
) -> None:
    from click.testing import CliRunner

    from trainyard.cli.main import cli

    monkeypatch.chdir(tmp_path)
    (tmp_path / "flowers.csv").write_text("wide,kind\n1,a\n")
    done = CliRunner().invoke(cli, [*words.split(), "--curl", "--url", NOWHERE], input="wide,kind\n1,a\n")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert len(lines) == count
    assert all(shlex.split(line)[0] == "curl" for line in lines)
    assert done.stderr == ""


def test_open_sends_no_request(shell: Shell) -> None:
    done = shell("open", "--curl")
    assert done.returncode == 2
    assert "open sends no request" in done.stderr


@pytest.mark.parametrize(
    ("url", "begin"),
    [
        ("http://127.0.0.1:8000", "curl http://127.0.0.1:8000/models/iris"),
        ("https://example.org/ty", "curl https://example.org/ty/models/iris"),
        ("http://[::1]:80", "curl 'http://[::1]:80/models/iris'"),
        ("unix:/run/ty sock", "curl --unix-socket '/run/ty sock' http://localhost/models/iris"),
    ],
)
def test_the_address_of_a_line(url: str, begin: str) -> None:
    assert curl_line(Address.parse(url), request_for("GET", "/models/iris")) == begin


def test_a_key_does_not_show(shell: Shell) -> None:
    """The line takes it from the variable that it came from, or should be in."""
    secret = "ty_secret"
    for words, variables in ((("--key", secret), {}), ((), {"TRAINYARD_KEY": secret})):
        done = shell(*words, "model", "list", "--curl", variables=variables)
        assert secret not in done.stdout + done.stderr
        assert done.stdout.endswith('/models?limit=20\' -H "Authorization: Bearer $TRAINYARD_KEY"\n')
    assert "TRAINYARD_KEY" in shell("--key", secret, "model", "list", "--curl").stderr


@needs_curl
def test_lines_work_in_a_shell(shell: Shell, made: Made) -> None:
    """What they print is what the command prints with --json."""
    for words in (
        ("data", "list", "--limit", "2"),
        ("data", "rows", made.dataset, "--where", "kind=setosa", "--limit", "3"),
        ("model", "show", made.model),
        ("job", "show", made.jobs[0]),
        ("predict", made.model, "wide=4.1", "deep=6"),
        ("evaluate", made.model, made.dataset, "--version", "1"),
    ):
        line = shell(*words, "--curl").stdout
        answer = shell.sh(f"{line.strip()} -sS")
        assert answer.returncode == 0, answer.stderr
        assert json.loads(answer.stdout) == json.loads(shell(*words, "--json").stdout), words


@needs_curl
def test_a_file_is_trained_on_by_two_lines(shell: Shell) -> None:
    """Whatever its name is."""
    name = fresh("it-s")
    (shell.folder / "it's a file.csv").write_text((shell.folder / "flowers.csv").read_text())
    options = ("--label", "kind", "--hidden", "8", "--epochs", "3", "--name", name)
    done = shell("train", "it's a file.csv", *options, "--curl")
    upload, train = done.stdout.splitlines()
    assert json.loads(shell.sh(f"{upload} -sS").stdout)["rows"] == 90
    job = json.loads(shell.sh(f"{train} -sS").stdout)
    assert shell.client.wait(job["id"])["state"] == "succeeded"
    shell.client.delete("/datasets/it-s-a-file")


@needs_curl
def test_files_go_through_pipes(shell: Shell, made: Made) -> None:
    wanted = shell("predict", made.model, "flowers.csv").stdout
    for words in (("flowers.csv",), ("-",)):
        line = shell("predict", made.model, *words, "--curl").stdout.strip()
        assert shell.sh(f"cat flowers.csv | {line} -sS").stdout == wanted
    line = shell("model", "export", made.model, "-o", "curled.h5", "--curl").stdout.strip()
    assert shell.sh(f"{line} -sS").returncode == 0
    assert shell("model", "export", made.model, "-o", "own.h5").returncode == 0
    assert (shell.folder / "curled.h5").read_bytes() == (shell.folder / "own.h5").read_bytes()
    line = shell("model", "export", made.model, "-o", "my curled.onnx", "--curl").stdout.strip()
    assert shell.sh(f"{line} -sS").returncode == 0
    assert shell("model", "export", made.model, "-o", "own.onnx").returncode == 0
    assert (shell.folder / "my curled.onnx").read_bytes() == (shell.folder / "own.onnx").read_bytes()
