"""Environments of clients that nobody here wrote, and the tests that run in them."""

from __future__ import annotations

import ast
import os
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from testing.harness import ROOT
from tests.clients.readme import LINES

__all__ = ["CLIENTS", "Outcome", "cases", "outcomes", "program_of", "python_of"]

#: ``make clients`` makes an environment in it from each file of ``requirements/``, ``make test`` from some.
ENVIRONMENTS = ROOT / ".venv-clients"
PROGRAMS = Path(__file__).parent / "programs"
CLIENTS = sorted(path.stem for path in (Path(__file__).parent / "requirements").glob("*.txt"))


class Outcome(NamedTuple):
    """How a test ended in the environment of its client: ``failure`` is empty if it passed."""

    failure: str


def python_of(client: str) -> Path:
    """The interpreter of a client's environment, which need not exist."""
    return ENVIRONMENTS / client / "bin" / "python"


def program_of(client: str) -> Path:
    """The tests with a client."""
    return PROGRAMS / f"use_{client}.py"


def cases(client: str) -> list[str]:
    """The names of the tests with a client, read without importing what only its environment has."""
    tree = ast.parse(program_of(client).read_text())
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]


def outcomes(client: str, base: str, folder: Path) -> Mapping[str, Outcome]:
    """Run a client's tests against a server. ``folder`` is for temporary files."""
    report = folder / f"{client}.xml"
    (line,) = (each for each in LINES if each.test == str(program_of(client).relative_to(ROOT)))
    places = ["--rootdir", PROGRAMS, "--confcutdir", PROGRAMS, "-c", PROGRAMS / "pytest.ini"]
    finished = subprocess.run(
        [
            python_of(client),
            "-m",
            "pytest",
            program_of(client),
            *places,
            "--basetemp",
            folder / "t",
            "--junitxml",
            report,
        ],
        cwd=folder,
        env={**os.environ, "CLIENTS_SERVER": base, "CLIENTS_LINE": line.at(base)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert report.exists(), finished.stdout + finished.stderr
    found: dict[str, Outcome] = {}
    for case in ET.parse(report).iter("testcase"):
        # Each set of parameters is a case of its own.
        name = case.attrib["name"].partition("[")[0]
        faults = [part.text or "" for part in case if part.tag in ("failure", "error", "skipped")]
        found[name] = Outcome("\n".join(filter(None, [found.get(name, Outcome("")).failure, *faults])))
    return found
