"""With and without a service, with keys, and the commands that start it and open it."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from testing.harness import Client, Server, eventually, processes_of
from testing.samples import fresh
from tests.trainyard.cli.conftest import Made, Shell, environment
from tests.trainyard.proxy import before, closed, cut, passed


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_without_a_service(shell: Shell) -> None:
    """Exit status 3, and how to start one, unless it is another machine."""
    url = f"http://127.0.0.1:{a_free_port()}"
    for words in (("job", "list"), ("train", "flowers.csv", "--label", "kind"), ("open",), ("api", "GET", "/")):
        done = shell("--url", url, *words)
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr == f"Error: no service at {url}; start one: trainyard serve\n"
    done = shell("--url", "unix:/nowhere/sock", "job", "list")
    assert done.returncode == 3
    assert done.stderr == "Error: no service at unix:/nowhere/sock; start one: trainyard serve\n"
    done = shell("--url", f"http://localhost.invalid:{a_free_port()}", "job", "list")
    assert done.returncode == 3
    assert "trainyard serve" not in done.stderr
    done = shell("--url", "ftp://example.org", "job", "list")
    assert done.returncode == 2
    assert "must be http://HOST:PORT" in done.stderr


def test_the_address_may_stand_before_and_behind(shell: Shell) -> None:
    """And wins over the variable."""
    variables = {"TRAINYARD_URL": "http://127.0.0.1:1"}
    assert shell("job", "list", variables=variables).returncode == 3
    assert shell("--url", shell.url, "job", "list", variables=variables).returncode == 0
    assert shell("job", "list", "--url", shell.url, variables=variables).returncode == 0


def test_any_request_can_be_sent(shell: Shell) -> None:
    """What the service says is printed, also if it refuses."""
    done = shell("api", "get", "/version")
    assert json.loads(done.stdout) == shell.client.get("/version").json
    assert done.stdout.endswith("}\n")
    done = shell("api", "GET", "models/none")
    assert (done.returncode, done.stderr) == (4, "")
    assert json.loads(done.stdout)["code"] == "not_found"
    body = json.dumps({"name": "by-api", "inputs": [[1.0], [2.0]], "labels": ["a", "b"]})
    header = "Content-Type: application/json"
    assert shell("api", "POST", "/datasets", "-d", "@-", "-H", header, stdin=body).returncode == 0
    (shell.folder / "body.json").write_text(body.replace("by-api", "by-file"))
    assert json.loads(shell("api", "POST", "/datasets", "-d", "@body.json").stdout)["name"] == "by-file"
    for words, told in ((["-d", "@none"], "there is no file none"), (["-H", "x"], "must be 'NAME: VALUE'")):
        done = shell("api", "POST", "/datasets", *words)
        assert done.returncode == 2
        assert told in done.stderr


def test_the_address_of_the_console_without_a_display(shell: Shell) -> None:
    assert shell("open").stdout == f"{shell.url}/console/\n"
    assert shell("open", "iris").stdout == f"{shell.url}/console/models/iris\n"


def test_a_browser_opens_the_console(shell: Shell) -> None:
    """BROWSER names it, as for every program."""
    browser = shell.folder / "browser"
    browser.write_text('#!/bin/sh\necho "$1" > opened\n')
    browser.chmod(0o755)
    done = shell("open", "iris", variables={"DISPLAY": ":9", "BROWSER": str(browser)})
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    opened = shell.folder / "opened"
    eventually(lambda: opened.exists() and opened.read_text() == f"{shell.url}/console/models/iris\n")


def test_keys(make_server: Callable[..., Server], shell: Shell) -> None:
    """A key comes from the variable or the option; without it the service refuses."""
    server = make_server("keyed")
    made = server.run_to_end(sys.executable, "-m", "trainyard", "keys", "create", "alice")
    secret = made.stdout.strip()
    server.start_ready()
    keyed = Shell(shell.folder, server.client.base)
    done = keyed("model", "list")
    assert (done.returncode, done.stdout) == (4, "")
    assert "unauthorized" in done.stderr or "key" in done.stderr
    assert keyed("--key", secret, "model", "list").returncode == 0
    variables = {"TRAINYARD_KEY": secret}
    train = ("train", "flowers.csv", "--label", "kind", "--hidden", "8", "--epochs", "5")
    done = keyed(*train, variables=variables)
    assert done.returncode == 0, done.stderr
    curl = done.stdout.splitlines()[1]
    assert secret not in done.stdout
    answer = keyed.run("sh", "-c", f"{curl} -sS", variables=variables)
    assert json.loads(answer.stdout)["model"] == "flowers"
    assert keyed("predict", "flowers", "flowers.csv", variables=variables).returncode == 0


@contextlib.contextmanager
def served(shell: Shell, *words: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """``trainyard serve`` in the folder, with the data directory that is named there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "trainyard", "serve", *words],
        cwd=shell.folder,
        env=environment(shell.url, **variables),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        eventually(lambda: not processes_of(shell.folder / "here"), 40.0, "the end of all processes")


@pytest.mark.processes
def test_a_service_is_started_where_it_is_wanted(shell: Shell) -> None:
    """With its data in a folder, and its console in a browser as soon as it answers."""
    browser = shell.folder / "browser"
    browser.write_text('#!/bin/sh\necho "$1" > opened\n')
    browser.chmod(0o755)
    port, data = a_free_port(), shell.folder / "here"
    words = ("--bind", f"127.0.0.1:{port}", "--data", str(data), "--open")
    with served(shell, *words, DISPLAY=":9", BROWSER=str(browser)):
        opened = shell.folder / "opened"
        eventually(lambda: opened.exists() and opened.read_text(), 60.0, "the browser")
        assert opened.read_text() == f"http://127.0.0.1:{port}/console/\n"
        assert Client(f"http://127.0.0.1:{port}").get("/health/live").status == 200
        assert (data / "trainyard.db").exists()
        taken = shell("serve", "--bind", f"127.0.0.1:{port}", "--data", str(data))
        assert taken.returncode == 1
        assert f"another process listens on 127.0.0.1:{port}" in taken.stderr


def test_a_stream_that_breaks_is_gone_on_with(shell: Shell, made: Made) -> None:
    """Behind the last event that came, also if the service does not answer for a moment."""
    words = ("train", made.dataset, "--name", fresh("broken"), "--hidden", "8", "--epochs", "300", "--json")
    with before(shell.url, passed, cut(3000), closed, closed, cut(3000)) as proxy:
        done = shell(*words, variables={"TRAINYARD_URL": proxy.url})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["progress"]["epoch"] == 300
    resumed = [head for head in proxy.heads if "Last-Event-ID: " in head]
    assert len(resumed) >= 2
    assert all("/events" in head.splitlines()[0] for head in resumed)


def test_a_console_that_no_browser_can_open(shell: Shell) -> None:
    for bind in ("unix:sock", "127.0.0.1:0"):
        done = shell("serve", "--bind", bind, "--data", str(shell.folder / "here"), "--open")
        assert done.returncode == 2
        assert "--open needs an address that a browser can open" in done.stderr


def test_a_shell_completes_names(shell: Shell) -> None:
    """Commands without the service, datasets with it; none if it does not answer."""
    document = {"name": "for-tab", "inputs": [[1.0], [2.0]], "labels": ["a", "b"]}
    assert shell.client.post("/datasets", document).status == 201

    def completed(line: str, url: str = shell.url) -> list[str]:
        place = str(len(line.split(" ")) - 1)
        words = {"COMP_WORDS": line, "COMP_CWORD": place, "_TRAINYARD_COMPLETE": "bash_complete", "TRAINYARD_URL": url}
        program = "from trainyard.cli.main import cli; cli(prog_name='trainyard')"
        done = shell.run(sys.executable, "-c", program, variables=words)
        return [each.partition(",")[2] for each in done.stdout.split()]

    assert completed("trainyard tra") == ["train", "trainer"]
    assert "--held-out" in completed("trainyard train --h")
    assert "for-tab" in completed("trainyard data show for-")
    assert completed("trainyard data show for-", "http://127.0.0.1:1") == []
    assert "_TRAINYARD_COMPLETE=bash_complete" in shell("completion", "bash").stdout
