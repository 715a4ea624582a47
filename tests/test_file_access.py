"""Only the file store, and the modules that lay out a file, ask the filesystem: all others go through ``FileStore``."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

#: Where files are put, found, locked and deleted.
ALLOWED = ("service/store/", "models/formats/")
#: Modules that ask the filesystem for something that is no file of a data directory, and how often.
EXCEPTIONS = {
    "service/mounts.py": 1,  # the kernel's table of mounts
    "service/niceness.py": 2,  # the kernel's priority of a session
    "service/settings.py": 2,  # creates the data directory itself, and asks whether it can be written
    "service/jobs/exit_causes.py": 5,  # the kernel's counters of cgroups
    "models/imports/skops_file.py": 1,  # a member of an archive
    "service/jobs/members/frames.py": 1,  # memory that processes share, which is a file without a name
    "service/jobs/readiness.py": 1,  # the kernel's choice of what to kill if memory runs out
    "service/web/console/pages.py": 3,  # files of the package, which it sends
    "service/web/shared_metrics.py": 14,  # the folder in memory in which workers count
    "service/uploads/parser_process.py": 3,  # its own size in memory, and a file without a name for the warm-up
    "service/uploads/table_process.py": 4,  # files without a name for the warm-up
}
#: Methods of Path that ask the filesystem.
METHODS = {
    *("unlink", "rename", "stat", "lstat", "exists", "is_file", "is_dir", "is_symlink", "glob", "rglob", "iterdir"),
    *("mkdir", "rmdir", "touch", "chmod", "read_text", "read_bytes", "write_text", "write_bytes", "open"),
    *("hardlink_to", "symlink_to", "samefile"),
}
#: Functions of os that do; of the other modules, all functions do.
FUNCTIONS = {
    *(
        "unlink",
        "remove",
        "rename",
        "renames",
        "replace",
        "link",
        "symlink",
        "mkdir",
        "makedirs",
        "rmdir",
        "removedirs",
    ),
    *("listdir", "scandir", "walk", "stat", "lstat", "access", "open", "chmod", "utime", "truncate"),
}
MODULES = {"shutil", "tempfile", "fcntl"}
#: What has functions of such names and is no path: the store itself, the database, SQLAlchemy, the registry.
OTHERS = {"files", "_files", "database", "sa", "models"}


def questions(source: str) -> list[str]:
    """The calls in a module that ask the filesystem."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if isinstance(function, ast.Name):
            asks = function.id == "open"
        elif isinstance(function, ast.Attribute):
            owner = function.value
            name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
            if name == "os":
                asks = function.attr in FUNCTIONS
            else:
                # Path.replace has one argument, str.replace two.
                asks = function.attr in METHODS or (function.attr == "replace" and len(node.args) == 1)
                asks = (asks or name in MODULES) and name not in OTHERS
        else:
            asks = False
        if asks:
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


def modules() -> dict[str, str]:
    """The sources of all modules that must not ask the filesystem, by place."""
    paths = [path for package in ("service", "models") for path in (ROOT / package).rglob("*.py")]
    places = {path.relative_to(ROOT).as_posix(): path for path in paths}
    return {place: path.read_text() for place, path in places.items() if not place.startswith(ALLOWED)}


def test_only_the_store_asks_the_filesystem() -> None:
    found = {place: asked for place, source in sorted(modules().items()) if (asked := questions(source))}
    unexpected = {place: asked for place, asked in found.items() if len(asked) != EXCEPTIONS.get(place, 0)}
    assert unexpected == {}
    assert found.keys() == EXCEPTIONS.keys()


@pytest.mark.parametrize(
    "line",
    [
        "path.unlink(missing_ok=True)",
        "self.files.path(kind, file_id).stat()",
        "files.data.exists()",
        "Path('a').rename('b')",
        "path.replace(other)",
        "os.link(path, other)",
        "fcntl.flock(file, fcntl.LOCK_EX)",
        "open('a')",
        "(data / 'models').glob('*.h5')",
        "shutil.rmtree(path)",
    ],
)
def test_a_question_is_noticed(line: str) -> None:
    assert len(questions(f"def f():\n    {line}")) == 1


@pytest.mark.parametrize(
    "line", ["files.stat(kind, i)", "self._files.exists()", "sa.exists()", "'a'.replace('a', 'b')"]
)
def test_no_other_call_is_noticed(line: str) -> None:
    assert questions(line) == []
