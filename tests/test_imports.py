"""The layout: what each folder is for, what it may import, and that no arrow runs back."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent

#: The folders of models/ that code above models/ may import: all of them.
MODELS = (
    "models",
    "models/data",
    "models/reading",
    "models/features",
    "models/definition",
    "models/trust",
    "models/training",
    "models/formats",
    "models/imports",
    "models/registry",
    "models/serving",
    "models/export",
)
#: Each folder, and the folders that it may import beside itself. Every arrow that exists is listed here.
FOLDERS: dict[str, tuple[str, ...]] = {
    "nncore": ("nncore/kernels",),
    "nncore/kernels": ("nncore",),
    "models": ("nncore",),
    "models/data": ("nncore", "models"),
    "models/reading": ("nncore", "models", "models/data"),
    "models/features": ("nncore", "models", "models/data"),
    "models/definition": ("nncore", "models", "models/data", "models/features"),
    "models/trust": ("nncore",),
    "models/training": (
        *("nncore", "models", "models/data", "models/features", "models/definition"),
        *("models/trust", "nncore/kernels"),
    ),
    "models/formats": (
        *("nncore", "models", "models/data", "models/features", "models/definition", "models/training"),
        *("models/trust", "nncore/kernels"),
    ),
    "models/imports": ("nncore", "models", "models/data", "models/definition", "models/training", "models/formats"),
    "models/registry": ("nncore", "models", "models/data", "models/definition", "models/training", "models/formats"),
    "models/serving": (
        *("nncore", "models", "models/data", "models/features", "models/definition", "models/formats"),
        *("models/registry", "models/training", "models/trust"),
    ),
    "models/export": ("nncore", "models", "models/data", "models/features", "models/definition", "models/formats"),
    "service": ("models",),
    "service/store": (*MODELS, "service", "service/store/migrations"),
    "service/store/migrations": ("models/registry",),
    "service/store/migrations/versions": (),
    "service/access": (*MODELS, "service", "service/store"),
    "service/upkeep": (*MODELS, "service", "service/store"),
    "service/uploads": (*MODELS, "service", "service/access", "service/store"),
    "service/serving": (*MODELS, "service", "service/store", "service/upkeep"),
    "service/jobs": (
        *(*MODELS, "service", "service/access", "service/store", "service/upkeep"),
        *("service/jobs/engines", "service/jobs/members"),
    ),
    "service/jobs/engines": ("models", "service", "service/jobs"),
    "service/jobs/members": ("models/training", "service", "service/jobs"),
    "service/web": (
        *MODELS,
        *("service", "service/access", "service/store", "service/upkeep", "service/uploads", "service/serving"),
        "service/jobs",
        *("service/web/routes", "service/web/protocols", "service/web/worker", "service/web/console"),
    ),
    "service/web/worker": ("models",),
    "service/web/console": (),
    "service/web/routes": (
        *MODELS,
        *("service", "service/access", "service/store", "service/upkeep", "service/uploads", "service/serving"),
        "service/jobs",
        *("service/web", "service/web/worker"),
    ),
    "service/web/protocols": (
        *(*MODELS, "service", "service/store", "service/serving"),
        *("service/web", "service/web/worker"),
    ),
    "service/cli": (
        *("models", "service", "service/access"),
        *("service/store", "service/upkeep", "service/uploads", "service/serving", "service/jobs"),
        "service/jobs/members",
    ),
}

#: Of the standard library, what a package may not touch.
FILES_AND_NETWORK = {"os", "pathlib", "io", "socket", "logging", "urllib", "http", "subprocess", "sqlite3", "shutil"}
PROCESSES = {"subprocess", "multiprocessing", "concurrent.futures.ProcessPoolExecutor", "concurrent.futures.process"}
#: What only service/web may import: HTTP stops there.
HTTP = {"flask", "flask_smorest", "flask_swagger_ui", "werkzeug", "webargs", "apispec", "gunicorn"}
#: The client and the command line, which only the service's own commands may import.
CLIENT = "trainyard"


class Rule(NamedTuple):
    """Packages from outside that a package may import, and parts of the standard library that it may not."""

    packages: set[str]
    forbidden: set[str]


PACKAGES = {
    "nncore": Rule({"numpy", "llvmlite"}, FILES_AND_NETWORK | PROCESSES),
    "models": Rule(
        {"numpy", "h5py", "marshmallow", "sqlalchemy", "duckdb", "nanoarrow", "charset_normalizer", "onnx", "google"},
        PROCESSES | {"socket", "http", "urllib"},
    ),
    "service": Rule(
        {"numpy", "h5py", "sqlalchemy", "alembic", "marshmallow", "orjson", "threadpoolctl", "click", "limits", *HTTP}
        | {"structlog", "prometheus_client", "opentelemetry", "obstore", CLIENT},
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


def module_of(name: str, root: Path) -> Path | None:
    """The module of this project that an imported name is, or is in; None for a package from outside."""
    parts = name.split(".")
    if parts[0] not in PACKAGES:
        return None
    for length in range(len(parts), 0, -1):
        place = root.joinpath(*parts[:length])
        if place.with_suffix(".py").is_file():
            return place.with_suffix(".py")
        if place.is_dir():
            return place / "__init__.py"
    return root / parts[0] / "__init__.py"


def folder_of(path: Path, root: Path) -> str:
    if path == root / "service" / "__main__.py":
        return "service/cli"  # the command line, which Python wants there
    return path.parent.relative_to(root).as_posix()


def modules(root: Path) -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((root / package).rglob("*.py"))


def violations(root: Path) -> list[str]:
    """Imports that the tables above do not allow."""
    found = []
    for path in modules(root):
        here, place = folder_of(path, root), path.relative_to(root).as_posix()
        rule = PACKAGES[place.partition("/")[0]]
        for name in sorted(imported(path.read_text())):
            target = module_of(name, root)
            package = name.partition(".")[0]
            if target is not None:
                there = folder_of(target, root)
                allowed = there == here or there in FOLDERS.get(here, ())
            else:
                allowed = package in rule.packages or package in sys.stdlib_module_names
                allowed = allowed and not any(f"{name}.".startswith(f"{each}.") for each in rule.forbidden)
                if package in HTTP and not place.startswith("service/web/"):
                    allowed = False
                if package == CLIENT and here != "service/cli":
                    allowed = False
            if not allowed:
                found.append(f"{place} imports {name}")
    return found


def test_every_arrow_is_listed() -> None:
    """Every module imports what its folder may, and HTTP only below service/web."""
    assert len(list(modules(ROOT))) > 100
    assert violations(ROOT) == []


def test_every_folder_is_in_the_table() -> None:
    assert {folder_of(path, ROOT) for path in modules(ROOT)} | {"service/jobs/engines"} == set(FOLDERS)


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("nncore/layer.py", "from models.definition.definition import ModelDefinition"),
        ("nncore/layer.py", "import h5py"),
        ("nncore/layer.py", "def f():\n    import os.path"),
        ("nncore/layer.py", "from concurrent.futures import ProcessPoolExecutor"),
        ("models/data/rows.py", "import service.jobs.lifecycle"),
        ("models/data/rows.py", "from models.registry import versions"),
        ("models/training/run.py", "from models.formats.checkpoint_file import load_checkpoint"),
        ("models/data/rows.py", "from flask import request"),
        ("models/data/rows.py", "import subprocess"),
        ("service/jobs/lifecycle.py", "from nncore import Network"),
        ("service/jobs/lifecycle.py", "from service.web.routes import models"),
        ("service/jobs/lifecycle.py", "def f():\n    from flask import g"),
        ("service/store/files.py", "from werkzeug.exceptions import NotFound"),
        ("service/upkeep/verify.py", "from service.jobs import lifecycle"),
        ("service/cli/main.py", "from service.web.app import create_app"),
        ("service/jobs/lifecycle.py", "from trainyard import Trainyard"),
    ],
)
def test_a_wrong_arrow_is_caught(tmp_path: Path, place: str, line: str) -> None:
    """The check above finds it, also within a function."""
    for folder in FOLDERS:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "__init__.py").write_text("")
    (tmp_path / place).write_text("import json\n")
    assert violations(tmp_path) == []
    (tmp_path / place).write_text(line + "\n")
    assert len(violations(tmp_path)) == 1


def test_a_folder_says_in_a_sentence_what_it_is_for() -> None:
    """The package's docstring has the sentence, and importing it imports nothing: small processes stay small."""
    others = {"nncore", "service/store/migrations", "service/store/migrations/versions"}  # what they hold is imported
    for folder in set(FOLDERS) - others:
        path = ROOT / folder / "__init__.py"
        if folder == "service/jobs/engines" and not path.exists():
            continue
        tree = ast.parse(path.read_text())
        sentence = ast.get_docstring(tree)
        assert sentence, path
        assert sentence.endswith("."), path
        assert "\n" not in sentence, path
        assert imported(path.read_text()) == set(), path


def test_no_route_imports_a_route() -> None:
    """In the folder of protocols, files without routes serve several of them; one gathers who reads which path."""
    for folder in ("service/web/routes", "service/web/protocols"):
        package = folder.replace("/", ".")
        texts = {path: path.read_text() for path in (ROOT / folder).glob("*.py")}
        routed = {f"{package}.{path.stem}" for path, text in texts.items() if "\nroutes = " in text}
        assert len(routed) > 3
        for path, text in texts.items():
            # A name from a module, or the module itself from its package.
            names = {name for each in imported(text) for name in (each, each.rpartition(".")[0])}
            assert path.name == "readers.py" or not names & routed, path


def test_no_modules_import_each_other() -> None:
    """All modules can be put in an order in which each imports earlier ones only."""
    needs: dict[Path, set[Path]] = {}
    for path in modules(ROOT):
        targets = {module_of(name, ROOT) for name in imported(path.read_text())}
        # A package's own module holds a sentence or gathers names, and is imported with every module below it.
        needs[path] = {target for target in targets if target is not None and target.name != "__init__.py"} - {path}
    while needs:
        free = {path for path, required in needs.items() if not required & needs.keys()}
        assert free, f"a cycle among {sorted(path.relative_to(ROOT).as_posix() for path in needs)}"
        needs = {path: required for path, required in needs.items() if path not in free}


def test_what_runs_the_tests_does_not_depend_on_them() -> None:
    """reliability/, benchmarks/ and testing/ share testing/ and import no test."""
    for folder in ("testing", "reliability", "benchmarks", "examples"):
        for path in (ROOT / folder).glob("*.py"):
            assert not {name for name in imported(path.read_text()) if name.partition(".")[0] == "tests"}, path


def test_the_page_shows_the_table() -> None:
    """docs/architecture.md has each folder with its sentence and what it may import."""
    assert page_with_table() == ARCHITECTURE.read_text(), "run python -m tests.test_imports"


ARCHITECTURE = ROOT / "docs" / "architecture.md"


def page_with_table() -> str:
    """docs/architecture.md with the table of folders as it is now."""
    rows = ["| Folder | What it is for | May import |", "|---|---|---|"]
    for folder, allowed in FOLDERS.items():
        if folder == "service/store/migrations/versions":
            continue  # no package, but files that Alembic loads
        sentence = (ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text())) or "").partition("\n")[0]
        rows.append(f"| `{folder}/` | {sentence} | {_short(allowed)} |")
    before, _, rest = ARCHITECTURE.read_text().partition("<!-- folders -->\n")
    _, mark, after = rest.partition("<!-- /folders -->")
    return "\n".join([f"{before}<!-- folders -->", *rows, mark]) + after


def _short(allowed: tuple[str, ...]) -> str:
    names = [name for name in allowed if name not in MODELS] if set(MODELS) <= set(allowed) else list(allowed)
    every = ["all of `models/`"] if set(MODELS) <= set(allowed) else []
    return ", ".join(every + [f"`{name}/`" for name in names]) or "NumPy"


if __name__ == "__main__":
    ARCHITECTURE.write_text(page_with_table())
