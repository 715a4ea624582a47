"""The arrows between packages: service → models → nncore → numpy, and none runs back."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

#: Of the standard library, what a package may not touch.
FILES_AND_NETWORK = {"os", "pathlib", "io", "socket", "logging", "urllib", "http", "subprocess", "sqlite3", "shutil"}
PROCESSES = {"subprocess", "multiprocessing", "concurrent.futures.ProcessPoolExecutor", "concurrent.futures.process"}
#: What each package may import beside itself and the standard library.
ALLOWED = {
    "nncore": ({"numpy"}, FILES_AND_NETWORK | PROCESSES),
    "models": ({"nncore", "numpy", "h5py", "marshmallow", "sqlalchemy"}, PROCESSES | {"socket", "http", "urllib"}),
    "service": (
        {
            *("models", "numpy", "h5py", "sqlalchemy", "alembic", "marshmallow", "apispec", "webargs"),
            *("flask", "flask_smorest", "flask_swagger_ui", "werkzeug", "orjson", "threadpoolctl", "click"),
            "gunicorn",
        },
        set(),
    ),
}


def imported(source: str) -> set[str]:
    """Full names of what a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def violations(package: str, folder: Path) -> list[str]:
    """Imports of a package's modules that its place does not allow."""
    allowed, forbidden = ALLOWED[package]
    known = allowed | {package} | sys.stdlib_module_names
    return [
        f"{path.relative_to(folder)} imports {name}"
        for path in sorted(folder.rglob("*.py"))
        for name in sorted(imported(path.read_text()))
        if name.partition(".")[0] not in known or any(f"{name}.".startswith(f"{each}.") for each in forbidden)
    ]


@pytest.mark.parametrize("package", list(ALLOWED))
def test_no_arrow_runs_back(package: str) -> None:
    """Every module of a package keeps to what its place allows."""
    assert len(list((ROOT / package).rglob("*.py"))) > 5
    assert violations(package, ROOT / package) == []


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("nncore", "from models.definition.definition import ModelDefinition"),
        ("nncore", "import h5py"),
        ("nncore", "def f():\n    import os.path"),
        ("nncore", "from concurrent.futures import ProcessPoolExecutor"),
        ("models", "import service.jobs.lifecycle"),
        ("models", "from flask import request"),
        ("models", "import subprocess"),
        ("service", "from nncore import Network"),
    ],
)
def test_an_arrow_that_runs_back_is_caught(tmp_path: Path, package: str, line: str) -> None:
    """The very check above finds it, also within a function."""
    (tmp_path / "fine.py").write_text("import json\n")
    assert violations(package, tmp_path) == []
    (tmp_path / "wrong.py").write_text(line + "\n")
    assert len(violations(package, tmp_path)) == 1


def test_the_numerics_have_no_cycle() -> None:
    """Modules of nncore can be put in an order in which each imports earlier ones only."""
    needs = {}
    for path in (ROOT / "nncore").glob("*.py"):
        if path.stem == "__init__":
            continue
        tree = ast.parse(path.read_text())
        froms = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
        needs[path.stem] = {name.partition(".")[2] for name in froms if name.startswith("nncore.")}
    while needs:
        free = {name for name, required in needs.items() if not required & needs.keys()}
        assert free, f"a cycle among {sorted(needs)}"
        needs = {name: required for name, required in needs.items() if name not in free}
