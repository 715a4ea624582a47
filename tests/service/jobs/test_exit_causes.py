"""Causes of death, from a process's status and the counters of control groups, versions 1 and 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.jobs import exit_causes
from service.jobs.exit_causes import OomKills, cause_of


@pytest.mark.parametrize(
    ("status", "kills", "code", "detail"),
    [
        (-9, 0, "worker_lost", "killed by SIGKILL"),
        (-9, 1, "out_of_memory", "killed by the kernel, which ran out of memory"),
        (-11, 0, "crashed", "crashed: SIGSEGV"),
        (-11, 1, "crashed", "crashed: SIGSEGV"),
        (-6, 0, "crashed", "crashed: SIGABRT"),
        (-7, 0, "crashed", "crashed: SIGBUS"),
        (-15, 0, "worker_lost", "ended by SIGTERM"),
        (0, 0, "worker_lost", "exited with status 0"),
        (1, 1, "worker_lost", "exited with status 1"),
    ],
)
def test_a_cause_is_reported(status: int, kills: int, code: str, detail: str) -> None:
    assert cause_of(status, kills) == (code, detail)


class TestControlGroups:
    """The kernel's counters."""

    @pytest.fixture
    def root(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(exit_causes, "GROUPS", tmp_path / "groups")
        monkeypatch.setattr(exit_causes, "OWN_GROUPS", tmp_path / "own")
        (tmp_path / "groups").mkdir()
        return tmp_path

    @pytest.mark.parametrize(
        ("line", "place"),
        [
            ("0::/service/web", "service/web/memory.events"),
            ("4:cpu,memory:/service", "memory/service/memory.oom_control"),
            # A container that sees its own group as the root.
            ("0::/", "memory.events"),
            ("4:memory:/docker/0123", "memory/memory.oom_control"),
        ],
    )
    def test_both_versions(self, root: Path, line: str, place: str) -> None:
        (root / "own").write_text(f"9:name=systemd:/\n{line}\n")
        counter = root / "groups" / place
        counter.parent.mkdir(parents=True, exist_ok=True)
        counter.write_text("low 0\noom_kill 5\n")
        kills = OomKills()
        assert kills.since_last() == 0
        counter.write_text("low 0\noom_kill 7\n")
        assert kills.since_last() == 2
        assert kills.since_last() == 0

    def test_none_can_be_read(self, root: Path) -> None:
        assert OomKills().since_last() == 0
        (root / "own").write_text("0::/gone\n")
        assert OomKills().since_last() == 0
