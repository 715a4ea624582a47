"""Compiled code in the data directory: kept, private, never trusted if damaged, and bounded."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service.settings import Settings
from service.store.compiled_code import CompiledCode
from service.store.files import FileStore
from testing.harness import ROOT

CODE = b"\x7fELF" + bytes(range(256))


def key(number: int = 0) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def code(data: Path) -> CompiledCode:
    data.mkdir()
    return CompiledCode(data)


def test_it_comes_back_in_another_process_of_the_same_directory(data: Path, code: CompiledCode) -> None:
    assert (key() in code, code.get(key()), len(code), [*code]) == (False, None, 0, [])
    code[key()] = CODE
    code[key(1)] = b""
    again = CompiledCode(data)
    assert (again[key()], again[key(1)]) == (CODE, b"")
    assert ({*again}, len(again)) == ({key(), key(1)}, 2)
    del again[key()]
    assert key() not in code
    with pytest.raises(KeyError):
        del code[key()]


def test_files_are_private(data: Path, code: CompiledCode) -> None:
    code[key()] = CODE
    assert (data / "kernels").stat().st_mode & 0o777 == 0o700
    assert (data / "kernels" / key()).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (data / "kernels").iterdir()] == [key()]


@pytest.mark.parametrize("name", ["", "a", "../" + "a" * 61, "A" * 64, "a" * 65])
def test_a_key_is_a_digest(code: CompiledCode, name: str) -> None:
    with pytest.raises(ValueError, match="a key must be a SHA-256"):
        code[name] = CODE
    with pytest.raises(ValueError, match="a key must be a SHA-256"):
        code.get(name)


def swap(path: Path) -> None:
    path.write_bytes(path.with_name(key(1)).read_bytes())


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name(key(1)))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: os.truncate(path, 40),
    "a bit": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\0"),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "another's": swap,
    "a link": link,
    "others can write": lambda path: path.chmod(0o622),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_counts_as_absent_and_is_replaced(data: Path, code: CompiledCode, damage: str) -> None:
    code[key()], code[key(1)] = CODE, CODE[::-1]
    DAMAGE[damage](data / "kernels" / key())
    assert code.get(key()) is None
    code[key()] = CODE
    assert (code[key()], code[key(1)]) == (CODE, CODE[::-1])


def test_the_oldest_make_room(data: Path) -> None:
    data.mkdir()
    code = CompiledCode(data, most=3 * (32 + 100))
    for number in range(3):
        code[key(number)] = bytes(100)
        os.utime(data / "kernels" / key(number), (number, number))
    code[key(1)] = bytes(99)
    assert {*code} == {key(0), key(1), key(2)}
    code[key(3)] = bytes(100)
    assert {*code} == {key(1), key(2), key(3)}
    code[key(4)] = bytes(300)
    assert {*code} == {key(4)}
    code[key(5)] = bytes(400)
    assert {*code} == {key(4)}, "more than all may take"


def test_what_killed_processes_left_makes_room_too(data: Path) -> None:
    data.mkdir()
    code = CompiledCode(data, most=500)
    code[key()] = CODE
    left = data / "kernels" / ".0123456789abcdef.partial"
    left.write_bytes(bytes(400))
    os.utime(left, (1, 1))
    code[key(1)] = b""
    assert not left.exists()
    assert {*code} == {key(), key(1)}


def test_a_disk_that_takes_nothing_fails_nothing(
    data: Path, code: CompiledCode, caplog: pytest.LogCaptureFixture
) -> None:
    (data / "kernels").write_text("a file in its place")
    code[key()] = CODE
    assert code.get(key()) is None
    assert "compiled code cannot be kept" in caplog.text
    assert "compiled code cannot be read" in caplog.text


def test_the_folder_is_no_strange_file(data: Path, code: CompiledCode) -> None:
    """Verification and reindexing look at folders of files that the database names."""
    files = FileStore(data)
    code[key()] = CODE
    assert files.strangers() == []
    assert files.sweep() == []
    assert code[key()] == CODE


#: Compiles ahead, and prints how often something was written.
WARM = """
import sys
from pathlib import Path
from service.jobs.readiness import make_compiler_ready
from service.settings import Settings
from service.store.compiled_code import CompiledCode
written = []
put = CompiledCode.__setitem__
CompiledCode.__setitem__ = lambda self, key, code: (written.append(key), put(self, key, code))
make_compiler_ready(Settings.read(), ahead=True)
print(len(written))
"""


@pytest.mark.processes
def test_two_processes_at_once_and_a_third_one_that_compiles_nothing(data: Path) -> None:
    data.mkdir()
    settings = Settings.read({"TRAINYARD_DATA": str(data)})

    def start() -> subprocess.Popen[str]:
        environment = {**os.environ, **settings.environment()}
        command = [sys.executable, "-c", WARM]
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)

    both = [start(), start()]
    found = [int(process.communicate(timeout=60)[0]) for process in both]
    kept = {name: CompiledCode(data)[name] for name in CompiledCode(data)}
    assert 0 < len(kept) <= min(found) + max(found)
    assert all(kept.values())
    third = start()
    assert third.communicate(timeout=60)[0] == "0\n"
    assert third.returncode == 0
    damaged = data / "kernels" / next(iter(kept))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    fourth = start()
    assert fourth.communicate(timeout=60)[0] == "1\n"
    assert CompiledCode(data)[damaged.name] == kept[damaged.name]
