"""The logs of shadows: whole lines in order, bounded, and gone with what they belong to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from models.errors import NoRoomError
from service.store import shadow_log
from service.store.files import FileStore
from service.store.locks import Lock
from service.store.shadow_log import ShadowLog

MOST = 2**20


def line(second: int, text: str = "") -> bytes:
    return json.dumps({"at": f"2026-01-01T00:00:{second:02d}.000Z", "text": text}).encode() + b"\n"


def seconds(log: ShadowLog, model: int = 1, alias: str = "a") -> list[int]:
    return [int(json.loads(each)["at"][17:19]) for each in log.lines(model, alias)]


@pytest.fixture
def files(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path)


@pytest.fixture
def log(files: FileStore) -> ShadowLog:
    return files.shadows


def another(files: FileStore) -> ShadowLog:
    """The log of another process."""
    return FileStore(files.data).shadows


def sizes(files: FileStore) -> int:
    return sum(path.stat().st_size for path in (files.data / "shadows").rglob("*.ndjson"))


def test_lines_of_all_processes_are_in_order(files: FileStore, log: ShadowLog) -> None:
    other = another(files)
    for second in range(0, 30, 3):
        assert log.append(1, "a", line(second) + line(second + 1), MOST)
        assert other.append(1, "a", line(second + 2), MOST)
        assert log.append(1, "b", line(second), MOST)
    assert seconds(log) == seconds(other) == list(range(30))
    assert log.size(1, "a") == 30 * len(line(0))
    assert len(list((files.data / "shadows" / "1" / "a").iterdir())) == 2


def test_there_is_none_before_the_first_line(log: ShadowLog) -> None:
    assert (list(log.lines(1, "a")), log.size(1, "a")) == ([], 0)
    log.clear(1, "a")
    log.clear(1)
    log.sweep(lambda *_: False)


@pytest.mark.parametrize("most", [4_000, 20_000])
def test_the_oldest_files_give_way(files: FileStore, log: ShadowLog, most: int) -> None:
    """At no time is there more than what all logs may take; what is left are the newest lines, without a gap."""
    for second in range(60):
        assert log.append(1, "a", line(second, "x" * 100) * 3, most)
        assert sizes(files) <= most
    kept = seconds(log)
    assert kept == [second for second in range(kept[0], 60) for _ in range(3)]
    assert sizes(files) > most * 0.8


def test_the_largest_log_gives_way_to_others(files: FileStore, log: ShadowLog) -> None:
    for second in range(50):
        log.append(1, "a", line(second, "x" * 100), 8_000)
    before = log.size(1, "a")
    for second in range(5):
        log.append(2, "b", line(second, "x" * 100), 8_000)
    assert seconds(log, 2, "b") == list(range(5))
    assert log.size(1, "a") < before
    assert sizes(files) <= 8_000


def test_more_than_all_logs_may_take_is_not_written(files: FileStore, log: ShadowLog) -> None:
    assert log.append(1, "a", line(1), MOST)
    assert not log.append(1, "a", line(2, "x" * 2_000), 2_000)
    assert not log.append(1, "a", line(2), 0)
    assert seconds(log) == [1]


def test_what_is_kept_of_the_disk_is_kept(tmp_path: Path) -> None:
    files = FileStore(tmp_path, kept=2**60)
    with pytest.raises(NoRoomError):
        files.shadows.append(1, "a", line(1), MOST)
    assert seconds(files.shadows) == []


def test_a_part_of_a_line_is_no_line(files: FileStore, log: ShadowLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process or a full disk has left; the next lines go to another file."""
    log.append(1, "a", line(1), MOST)
    real = Path.open

    class Full:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> None:
            self.file.write(data[: len(data) // 2])
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(
            Path, "open", lambda path, mode="r": Full(real(path, mode)) if mode == "ab" else real(path, mode)
        )
        with pytest.raises(OSError, match="No space"):
            log.append(1, "a", line(2), MOST)
    assert log.append(1, "a", line(3), MOST)
    assert seconds(log) == [1, 3]


def test_what_is_deleted_while_it_is_read_is_read_to_its_end(log: ShadowLog) -> None:
    for second in range(10):
        log.append(1, "a", line(second), MOST)
    reading: Iterator[bytes] = log.lines(1, "a")
    first = next(reading)
    log.clear(1, "a")
    log.append(1, "a", line(59), MOST)
    assert [first, *reading] == [line(second) for second in range(10)]
    assert seconds(log) == [59]


def test_logs_are_deleted_with_their_alias_or_model(files: FileStore, log: ShadowLog) -> None:
    for model, alias in ((1, "a"), (1, "b"), (2, "a"), (3, "a")):
        log.append(model, alias, line(1), MOST)
    log.clear(1, "a")
    assert [log.size(*each) > 0 for each in ((1, "a"), (1, "b"), (2, "a"))] == [False, True, True]
    log.clear(1)
    assert not log.size(1, "b")
    log.sweep(lambda model, alias: (model, alias) == (3, "a"))
    assert [log.size(model, "a") > 0 for model in (2, 3)] == [False, True]


def test_processes_that_write_at_the_same_time_stay_below_the_bound(
    files: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow_log, "SEGMENT_BYTES", 500)
    logs = [another(files) for _ in range(4)]

    def write(log: ShadowLog) -> int:
        largest = 0
        for second in range(40):
            log.append(1, "a", line(second, "x" * 50), 5_000)
            with files.locks.exclusive(Lock.SHADOWS, wait=True):
                largest = max(largest, sizes(files))
        return largest

    with ThreadPoolExecutor(4) as pool:
        assert max(pool.map(write, logs)) <= 5_000
    assert all(each.endswith(b"}\n") for each in logs[0].lines(1, "a"))
