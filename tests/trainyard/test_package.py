"""Importing the package: quick, on the standard library alone, and without the service's packages."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import trainyard
from testing.harness import ROOT
from trainyard import _house

pytestmark = pytest.mark.processes


def run(script: str, *options: str) -> str:
    """What a script prints in a new interpreter, with the checkout on its path and in another folder."""
    path = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    done = subprocess.run(
        [sys.executable, *options, "-c", path + textwrap.dedent(script)],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_package_imports_what_is_used_when_it_is_used() -> None:
    """Only itself at first; the client then needs nothing beside the standard library."""
    printed = run("""
        before = set(sys.modules)
        import trainyard
        first = {name for name in set(sys.modules) - before if name.startswith("trainyard")}
        heavy = {"http.client", "ssl", "json", "dataclasses", "click", "numpy", "pandas"} & set(sys.modules)
        from trainyard import Trainyard
        third = {name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names
        print(sorted(first), sorted(heavy), sorted(third))
    """)
    assert printed == "['trainyard'] [] ['trainyard']\n"


def test_the_estimator_makes_no_package_importable_but_its_own() -> None:
    """It finds nncore in the folder of a wheel, and neither models nor service with it."""
    pytest.importorskip("sklearn")
    printed = run("""
        import importlib.util, shutil, tempfile, pathlib
        place = pathlib.Path(tempfile.mkdtemp())
        root = pathlib.Path(sys.path.pop(0))
        shutil.copytree(root / "trainyard", place / "trainyard")
        for name in ("nncore", "models", "service"):
            shutil.copytree(root / name, place / "trainyard" / "house" / name)
        sys.path.insert(0, str(place))
        from trainyard.sklearn import Classifier
        Classifier(epochs=1).fit([[0.0], [1.0]], [0, 1]).predict([[0.5]])
        import trainyard, nncore
        print([importlib.util.find_spec(name) for name in ("models", "service", "wsgi")], len(sys.path))
        print(trainyard.__version__ == nncore.__version__, "house" in nncore.__file__)
        shutil.rmtree(place)
    """)
    assert re.fullmatch(r"\[None, None, None\] \d+\nTrue True\n", printed)


def test_a_foreign_package_of_that_name_is_told() -> None:
    printed = run("""
        import types
        foreign = types.ModuleType("nncore"); foreign.__file__ = "/elsewhere/nncore.py"
        sys.modules["nncore"] = foreign
        from trainyard._house import load
        try:
            load("nncore")
        except ImportError as error:
            print(error)
    """)
    assert printed == "the name nncore is taken by /elsewhere/nncore.py\n"


def test_names() -> None:
    """Each public name exists and is its module's; others are errors as always."""
    for name in trainyard.__all__:
        assert getattr(trainyard, name) is not None
        assert name in dir(trainyard)
    assert trainyard.__version__ == _house.version()
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        trainyard.Nothing  # noqa: B018
    assert (Path(trainyard.__file__).parent / "py.typed").exists()


def test_what_the_modules_import() -> None:
    """The standard library, and NumPy and scikit-learn where an estimator is: nothing of the service."""
    allowed = {"local_fit.py": {"numpy"}, "remote_fit.py": {"numpy"}, "sklearn.py": {"numpy", "sklearn"}}
    for path in (ROOT / "trainyard").glob("*.py"):
        names = {name.partition(".")[0] for name in _imported_at_once(ast.parse(path.read_text()))}
        assert names - sys.stdlib_module_names - {"trainyard"} <= allowed.get(path.name, set()), path


def _imported_at_once(node: ast.AST) -> Iterator[str]:
    """What is imported as soon as a module is: not within a function, and not for types alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ImportFrom):
            yield child.module or ""
        elif isinstance(child, ast.Import):
            yield from (each.name for each in child.names)
        elif not isinstance(child, ast.FunctionDef) and not _is_for_types(child):
            yield from _imported_at_once(child)


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
