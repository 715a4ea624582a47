"""The commands for keys, and a service that would listen beyond this machine without any."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.access.secret import SECRET_PATTERN, is_secret
from service.cli.main import cli
from testing.harness import ROOT, Client, Server

Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """``trainyard keys …`` on a new data directory."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli, ["keys", *arguments], env={"TRAINYARD_DATA": str(tmp_path / "data")})

    return run


def test_a_key_is_shown_once(command: Command) -> None:
    """On standard output alone, so that a script can take it; what it may do is on standard error."""
    empty = command("list")
    assert "no keys" in empty.stdout
    made = command("create", "alice")
    assert made.exit_code == 0, made.output
    secret = made.stdout.strip()
    assert is_secret(secret)
    assert made.stdout == f"{secret}\n"
    assert "predict, train" in made.stderr
    assert "cannot be shown again" in made.stderr
    for listed in (command("list"), command("list", "--json")):
        assert secret not in listed.output
        assert re.search(SECRET_PATTERN, listed.output) is None
        assert secret[-4:] in listed.output
    (key,) = json.loads(command("list", "--json").stdout)
    assert (key["owner"], key["scopes"], key["models"]) == ("alice", ["predict", "train"], None)
    assert key["expires_at"] is key["revoked_at"] is None


def test_a_key_is_made_for_few_things_and_a_time(command: Command) -> None:
    made = command("create", "bob", "--scopes", "predict", "--models", "iris, digits", "--expires", "90d")
    assert made.exit_code == 0, made.output
    (key,) = json.loads(command("list", "--json").stdout)
    assert (key["scopes"], key["models"]) == (["predict"], ["digits", "iris"])
    until = datetime.fromisoformat(key["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=89, hours=23) < until < timedelta(days=90, hours=1)
    assert "predict (digits, iris only)" in command("list").stdout


def test_a_key_is_revoked_by_its_id(command: Command) -> None:
    command("create", "alice")
    (key,) = json.loads(command("list", "--json").stdout)
    done = command("revoke", key["id"])
    assert (done.exit_code, done.stdout) == (0, f"Key {key['id']} of alice is revoked.\n")
    assert "revoked" in command("list").stdout
    unknown = command("revoke", "key_none")
    assert unknown.exit_code == 1
    assert "'key_none'" in unknown.stderr
    assert "trainyard keys list" in unknown.stderr


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["Alice"], "'Alice' is no name"),
        (["a,b"], "must be one name"),
        (["a", "--scopes", "write"], "predict, train, admin"),
        (["a", "--scopes", ""], "predict, train, admin"),
        (["a", "--models", "A b"], "is no name"),
        (["a", "--expires", "soon"], "as in 12h, 90d or 4w"),
        (["a", "--expires", "2020-01-01"], "must be in the future"),
    ],
)
def test_a_wrong_option_makes_no_key(command: Command, arguments: list[str], wanted: str) -> None:
    done = command("create", *arguments)
    assert done.exit_code == 2
    assert wanted in done.stderr
    assert json.loads(command("list", "--json").stdout) == []


@pytest.mark.processes
@pytest.mark.parametrize("start", [["-m", "gunicorn", "wsgi:app"], ["-m", "service", "serve"]])
def test_without_keys_no_service_listens_beyond_this_machine(tmp_path: Path, start: list[str]) -> None:
    """It says in one sentence what to do, and does not wait for it."""
    server = Server(tmp_path / "data", BIND="0.0.0.0:0")
    done = server.run_to_end(sys.executable, *start)
    assert done.returncode != 0
    assert "trainyard keys create NAME" in done.stderr
    assert "TRAINYARD_KEYS=off" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert "Listening" not in done.stderr + done.stdout


def test_with_a_key_it_does(make_server: Callable[..., Server]) -> None:
    server = make_server(BIND="0.0.0.0:0")
    made = subprocess.run(
        [sys.executable, "-m", "service", "keys", "create", "alice"],
        cwd=ROOT,
        env=server.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    server.start()
    client = Client(server.client.base.replace("0.0.0.0", "127.0.0.1"))
    assert client.get("/models").status == 401
    assert client.get("/models", headers={"Authorization": f"Bearer {made.stdout.strip()}"}).status == 200
    asked = subprocess.run(
        [sys.executable, "-m", "service", "healthcheck"],
        cwd=ROOT,
        env={**server.environment, "TRAINYARD_BIND": client.base.removeprefix("http://")},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert asked.returncode == 0, "a health check needs no key"
