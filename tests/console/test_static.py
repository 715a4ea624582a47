"""The console's files: what they may not hold, how large they are, and that TypeScript and ESLint find nothing."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from service.web.console.pages import STATIC
from testing.harness import ROOT

HERE = Path(__file__).parent
MODULES = sorted(STATIC.rglob("*.js"))
#: Without the samples, which only those get who ask for one.
FILES = [path for path in sorted(STATIC.rglob("*")) if path.is_file() and path.parent.name != "samples"]
#: Ways to make markup, code or styles of text, and to keep or fetch what the console does not.
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|\beval\(|new Function"
    r"|setAttribute\(\s*[\"']style|cssText|document\.cookie|EventSource|\.createPolicy|srcdoc|import\(\s*[^\"')]"
)
#: Addresses that are names, and that of this machine.
ELSEWHERE = re.compile(r"""(?:https?:)?//(?!www\.w3\.org/|127\.0\.0\.1|localhost)[a-z0-9-]+\.[a-z]{2,}""")
#: Bytes of all files together, as a browser gets them.
BUDGET = 150_000
#: Lines of a module, and columns of a line.
LINES, COLUMNS = 250, 200
#: Bytes of a sample.
SAMPLE = 60_000


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(STATIC).as_posix())
class TestModule:
    def test_makes_no_markup_of_text(self, path: Path) -> None:
        code = re.sub(r"/\*.*?\*/|^\s*//[^\n]*", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
        assert FORBIDDEN.findall(code) == []

    def test_can_be_read_at_a_sitting(self, path: Path) -> None:
        lines = path.read_text().splitlines()
        assert len(lines) < LINES
        assert {number: len(line) for number, line in enumerate(lines, 1) if len(line) > COLUMNS} == {}

    def test_begins_with_what_it_is_for(self, path: Path) -> None:
        assert path.read_text().startswith("/**")


def test_nothing_is_named_that_is_elsewhere() -> None:
    found = {path.name: ELSEWHERE.findall(path.read_text()) for path in FILES}
    assert {name: places for name, places in found.items() if places} == {}


def test_the_shell_has_no_script_or_style_of_its_own() -> None:
    text = (STATIC / "index.html").read_text()
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", text) == []


def test_the_shell_loads_what_exists() -> None:
    text = (STATIC / "index.html").read_text()
    named = re.findall(r'(?:src|href)="/console/static/([^"]+)"', text)
    assert len(named) > 3
    assert [name for name in named if not (STATIC / name).is_file()] == []


def test_modules_import_what_exists() -> None:
    for path in MODULES:
        for name in re.findall(r"""(?:from|import)\s*\(?\s*["'](\.[^"']+)["']""", path.read_text()):
            assert (path.parent / name).is_file(), f"{path.name} imports {name}"


def test_every_module_is_used() -> None:
    """From the shell on, by imports."""
    used, open_ends = set(), [STATIC / "app.js"]
    while open_ends:
        path = open_ends.pop().resolve()
        if path not in used:
            used.add(path)
            named = re.findall(r"""(?:from|import)\s*\(?\s*["'](\.[^"']+)["']""", path.read_text())
            open_ends += [path.parent / name for name in named]
    assert [path.name for path in MODULES if path not in used] == []


def test_all_files_together_are_small() -> None:
    sizes = {path.name: len(gzip.compress(path.read_bytes())) for path in FILES}
    assert sum(sizes.values()) < BUDGET, sorted(sizes.items(), key=lambda pair: -pair[1])


def test_samples_are_small() -> None:
    assert {path.name for path in (STATIC / "samples").iterdir() if path.stat().st_size >= SAMPLE} == set()


@pytest.fixture(scope="module")
def tools() -> Path:
    """The folder of TypeScript and ESLint, installed at the first use, where Node and its registry can be reached."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed, so types and rules of the console's modules are not checked")
    found = HERE / "node_modules" / ".bin"
    if not found.exists():
        done = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=HERE,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode:
            pytest.skip(f"npm ci in tests/console failed, so types and rules are not checked: {done.stderr[-300:]}")
    return found


@pytest.mark.processes
@pytest.mark.parametrize(
    "command",
    [
        ("tsc", "--project", "tests/console/tsconfig.json"),
        ("eslint", "--config", "tests/console/eslint.config.js", "--max-warnings", "0", "service/web/console/static"),
    ],
    ids=lambda command: command[0],
)
def test_a_tool_finds_nothing(tools: Path, command: tuple[str, ...]) -> None:
    done = subprocess.run([tools / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
