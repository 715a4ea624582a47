"""Missing Debian packages: who may not install them skips tests, everybody else fails."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.reliability import programs

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.delenv("CI", raising=False)


def test_without_the_right_to_install_it_skips() -> None:
    with pytest.raises(pytest.skip.Exception, match="needs Debian's packages: strace xfsprogs, and only root"):
        programs.require("strace", "xfs_io", "mkfs.xfs")


def test_root_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(pytest.fail.Exception, match="needs Debian's packages: e2fsprogs; run"):
        programs.require("mkfs.ext4")


def test_ci_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="strace"):
        programs.require("strace")


def test_what_is_installed_is_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: f"/usr/bin/{program}")
    programs.require(*programs.PACKAGES)


@pytest.fixture
def packages(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs .ci/packages as another user than root, on a machine with nothing installed."""
    for parent in (tmp_path, *tmp_path.parents):
        # Only the test's own folders: /tmp itself has to stay writable for everyone.
        if parent.stat().st_uid == os.getuid() and Path("/tmp") in parent.parents:
            parent.chmod(parent.stat().st_mode | 0o055)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "id"):
        (tools / name).symlink_to(next(path for path in (Path("/usr/bin", name), Path("/bin", name)) if path.exists()))
    (tools / "apt-get").write_text("#!/bin/bash\necho apt-get was called\nexit 1\n")
    (tools / "apt-get").chmod(0o755)
    script = shutil.copy(ROOT / ".ci/packages", tmp_path / "packages")
    options: dict[str, Any] = {}
    if os.getuid() == 0:
        options = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid}

    def run(*programs: str) -> subprocess.CompletedProcess[str]:
        command = [tools / "bash", script, *programs]
        return subprocess.run(command, env={"PATH": str(tools)}, capture_output=True, text=True, check=False, **options)

    return run


@pytest.mark.processes
def test_only_root_calls_apt_get(packages: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """Another user reads what is missing for tests of reliability, and the script succeeds."""
    done = packages()
    assert (done.returncode, done.stdout) == (0, "")
    assert "Not root, so nothing is installed" in done.stderr
    assert "strace e2fsprogs xfsprogs gcc libc6-dev redis-server chromium wrk\n" in done.stderr


@pytest.mark.processes
def test_it_looks_for_the_programs_that_are_named(packages: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    assert packages("wrk").stderr.endswith(": wrk\n")
    assert packages("wrk", "mkfs.ext4").stderr.endswith(": wrk e2fsprogs\n")
    assert packages("id").returncode == 2
    assert packages("id").stderr.endswith("Received: id\n")


@pytest.mark.processes
def test_what_is_there_is_not_installed(
    packages: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "bin" / "wrk").write_text("#!/bin/bash\n")
    (tmp_path / "bin" / "wrk").chmod(0o755)
    done = packages("wrk")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
