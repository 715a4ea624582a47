"""Settings: one table, wrong values refused with a sentence, the same for every process."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service.settings import SETTINGS, Setting, Settings, SettingsError, table
from testing.harness import ROOT, Server

NUMBERS = [setting for setting in SETTINGS if isinstance(setting.default, (int, float))]
LIMITED = [
    *((setting, setting.minimum - 1) for setting in NUMBERS),
    *((setting, 2 * setting.maximum + 1) for setting in NUMBERS),
]


def by_name(setting: object) -> str:
    return setting.name if isinstance(setting, Setting) else str(setting)


def sentence(environment: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as refusal:
        Settings.read(environment)
    return str(refusal.value)


def test_defaults_are_those_of_the_table() -> None:
    settings = Settings.read({})
    assert settings.data == Path("var").absolute()
    assert settings.database_url == f"sqlite:///{settings.data}/trainyard.db"
    for setting in SETTINGS[2:]:
        assert getattr(settings, setting.name) == setting.default


@pytest.mark.parametrize("setting", NUMBERS, ids=by_name)
@pytest.mark.parametrize("text", ["", "many", "1,5", "0x10", "nan", "inf", "1e400", "None"])
def test_what_is_no_number_is_refused(setting: Setting, text: str) -> None:
    message = sentence({setting.variable: text})
    assert setting.variable in message
    assert repr(text) in message
    assert "must be" in message


@pytest.mark.parametrize("setting", [one for one in NUMBERS if isinstance(one.default, int)], ids=by_name)
def test_a_fraction_is_no_whole_number(setting: Setting) -> None:
    assert "a whole number" in sentence({setting.variable: "1.5"})


@pytest.mark.parametrize(("setting", "value"), LIMITED, ids=by_name)
def test_a_number_beyond_its_limits_is_refused(setting: Setting, value: float) -> None:
    text = str(int(value)) if isinstance(setting.default, int) else str(value)
    message = sentence({setting.variable: text})
    assert setting.variable in message
    assert f"{setting.minimum:g} to {setting.maximum:g}" in message
    assert repr(text) in message


@pytest.mark.parametrize("setting", NUMBERS, ids=by_name)
def test_the_least_value_is_taken(setting: Setting) -> None:
    kind = type(setting.default)
    assert getattr(Settings.read({setting.variable: str(kind(setting.minimum))}), setting.name) == setting.minimum


@pytest.mark.parametrize("text", ["", "AUTO", "none", "true"])
def test_a_choice_is_one_of_its_choices(text: str) -> None:
    message = sentence({"TRAINYARD_TRAINER": text})
    assert "TRAINYARD_TRAINER must be one of auto, external" in message
    assert repr(text) in message


class TestKernels:
    @pytest.fixture
    def absent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As if llvmlite was not installed."""
        monkeypatch.setitem(sys.modules, "llvmlite", None)

    @pytest.mark.parametrize(("text", "kind"), [("auto", "llvm"), ("llvm", "llvm"), ("numpy", "numpy")])
    def test_with_the_compiler(self, text: str, kind: str) -> None:
        assert Settings.read({"TRAINYARD_KERNELS": text}).kernel_kind == kind

    @pytest.mark.usefixtures("absent")
    @pytest.mark.parametrize("text", ["auto", "numpy"])
    def test_without_the_compiler(self, text: str) -> None:
        assert Settings.read({"TRAINYARD_KERNELS": text}).kernel_kind == "numpy"

    @pytest.mark.usefixtures("absent")
    def test_what_cannot_run_is_refused(self) -> None:
        message = sentence({"TRAINYARD_KERNELS": "llvm"})
        assert message.startswith("TRAINYARD_KERNELS must be auto or numpy unless llvmlite 0.45 or newer is installed")
        assert message.endswith("Received: 'llvm'")


def test_an_unknown_variable_is_refused() -> None:
    assert "TRAINYARD_WORKER is not a setting" in sentence({"TRAINYARD_WORKER": "2", "PATH": "/bin"})


def test_what_the_client_reads_is_no_hindrance() -> None:
    """Whoever serves in the shell in which the command is used has these variables there."""
    Settings.read({"TRAINYARD_URL": "http://127.0.0.1:8000", "TRAINYARD_KEY": "ty_secret"})


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("TRAINYARD_DATA", ""),
        ("TRAINYARD_DATABASE_URL", "nonsense"),
        ("TRAINYARD_BIND", ""),
        ("TRAINYARD_BIND", "127.0.0.1:99999"),
        ("TRAINYARD_BIND", "127.0.0.1:http"),
    ],
)
def test_text_that_cannot_be_meant_is_refused(variable: str, text: str) -> None:
    message = sentence({variable: text})
    assert variable in message
    assert repr(text) in message


def test_a_child_gets_the_same_settings(tmp_path: Path) -> None:
    settings = Settings.read(
        {"TRAINYARD_DATA": str(tmp_path), "TRAINYARD_THREADS": "3", "TRAINYARD_LEASE_SECONDS": "2.5"}
    )
    assert Settings.read(settings.environment()) == settings


def test_the_table_has_every_setting_once() -> None:
    lines = table().splitlines()[2:]
    assert [re.match(r"\| `(\w+)` \|", line)[1] for line in lines] == [setting.variable for setting in SETTINGS]
    for line, setting in zip(lines, SETTINGS, strict=True):
        assert setting.help in line
        assert str(setting.default) in line


@pytest.mark.processes
def test_the_command_prints_the_table() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service", "settings"], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == table()


WRONG = {
    "WORKERS": "many",
    "THREADS": "1",
    "TRAINER": "yes",
    "PARALLEL_JOBS": "0",
    "LEASE_SECONDS": "-1",
    "MAX_BODY_BYTES": "12",
    "TYPO": "1",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_setting_stops_the_start_with_a_sentence(make_server: Callable[..., Server], name: str) -> None:
    server = make_server(**{name: WRONG[name]})
    done = server.run_to_end(Path(sys.executable).with_name("gunicorn"), "wsgi:app")
    assert done.returncode != 0
    assert f"TRAINYARD_{name}" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not server.data.exists()


@pytest.mark.processes
def test_a_directory_that_cannot_be_made_stops_the_start_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    server = Server(tmp_path / "file" / "data")
    done = server.run_to_end(Path(sys.executable).with_name("gunicorn"), "wsgi:app")
    assert done.returncode != 0
    assert "TRAINYARD_DATA" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_a_directory_is_made_for_its_owner_alone_and_must_be_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write anywhere but on a read-only filesystem, which the kernel's answer stands for."""
    settings = Settings.read({"TRAINYARD_DATA": f"{tmp_path}/far/data"})
    settings.prepare()
    assert stat.S_IMODE((tmp_path / "far/data").stat().st_mode) == 0o700
    (tmp_path / "far/data").chmod(0o755)
    settings.prepare()  # What its owner has set stays.
    assert stat.S_IMODE((tmp_path / "far/data").stat().st_mode) == 0o755
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (settings.data, os.W_OK | os.X_OK))
    with pytest.raises(SettingsError, match=r"TRAINYARD_DATA must be a directory that the service may write to"):
        settings.prepare()


@pytest.mark.parametrize("command", ["trainer", "migrate"])
def test_commands_stop_with_the_same_sentence(make_server: Callable[..., Server], command: str) -> None:
    server = make_server(THREADS="none")
    done = server.run_to_end(sys.executable, "-m", "service", command)
    assert done.returncode == 1
    assert done.stderr.strip() == "Error: TRAINYARD_THREADS must be a whole number. Received: 'none'"
