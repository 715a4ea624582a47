"""docs/errors.md: every code that the service can answer or store, and no other."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from service.access.limits import LIMITS
from service.store.storage_errors import storage_error_code
from service.web import errors
from service.web.error_codes import JOBS, RESPONSES, WARNINGS, page

ROOT = Path(__file__).parents[3]
#: Calls whose first argument is the code of a job's error, and of a warning.
JOB_ERRORS, DATA_WARNINGS = {"JobError", "Failed"}, {"DataWarning", "TableWarning"}


#: The status of each kind of refusal, by its name.
STATUSES = {kind.__name__: status for kind, status in errors._STATUS.items()}


def calls(tree: ast.AST) -> dict[str, list[ast.Call]]:
    """The calls in a tree, by the name of the function or method."""
    found = defaultdict[str, list[ast.Call]](list)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            found[called].append(node)
    return found


class Codes:
    """The codes in the calls of a source tree, and the calls whose code could not be read."""

    def __init__(self) -> None:
        self.responses: dict[str, set[int]] = defaultdict(set)
        self.jobs: set[str] = set()
        self.warnings: set[str] = set()
        self.unread: list[str] = []

    def read(self, path: Path) -> None:
        tree = ast.parse(path.read_text())
        for kind in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
            # A kind of refusal with one code gives it to the constructor of its parent.
            for parent in STATUSES.keys() & {ast.unparse(base) for base in kind.bases}:
                for call in calls(kind)["__init__"]:
                    self.refusal(parent, call.args[0], path)
        called = calls(tree)
        for name in STATUSES:
            for call in called[name]:
                self.refusal(name, call.args[0], path)
        for call in [*called["problem"], *called["RequestError"]]:
            for code in self.codes(call.args[1], path):
                self.responses[code].add(ast.literal_eval(call.args[0]))
        for name in JOB_ERRORS:
            self.jobs.update(code for call in called[name] for code in self.codes(call.args[0], path))
        for name in DATA_WARNINGS:
            self.warnings.update(code for call in called[name] for code in self.codes(call.args[0], path))

    def refusal(self, kind: str, argument: ast.expr, path: Path) -> None:
        for code in self.codes(argument, path):
            self.responses[code].add(STATUSES[kind])

    def codes(self, argument: ast.expr, path: Path) -> list[str]:
        """The codes that an argument may be; a variable or attribute named ``code`` only hands one on."""
        text = ast.unparse(argument)
        if isinstance(argument, ast.Constant):
            return [argument.value]
        if text.startswith("storage_error_code("):
            return [*get_args(get_args(get_type_hints(storage_error_code)["return"])[0])]
        if not text.endswith((".code", "['code']")) and text != "code" and not text.startswith("*storage_error("):
            self.unread.append(f"{path.relative_to(ROOT)}: {text}")
        return []


@pytest.fixture(scope="module")
def codes() -> Codes:
    found = Codes()
    for folder in ("models", "service"):
        for path in (ROOT / folder).rglob("*.py"):
            found.read(path)
    return found


def test_every_code_of_a_response_is_listed_with_its_status(codes: Codes) -> None:
    """Each code has one status."""
    expected = {code: {status} for status, code in errors._CODES.items()}
    for code, statuses in codes.responses.items():
        expected.setdefault(code, set()).update(statuses)
    # ``Limits`` raises what its table says; what has none of its errors is refused elsewhere.
    for limit in LIMITS:
        expected.setdefault(limit.code, set()).add(limit.status)
    assert {row.code: {row.status} for row in RESPONSES} == expected
    assert codes.unread == ["service/web/errors.py: _CODES.get(status, 'bad_request')"]


def test_every_code_of_a_job_is_listed(codes: Codes) -> None:
    assert {row.code for row in JOBS} == codes.jobs


def test_every_code_of_a_warning_is_listed(codes: Codes) -> None:
    assert {row.code for row in WARNINGS} == codes.warnings


def test_no_code_is_listed_twice() -> None:
    for rows in (RESPONSES, JOBS, WARNINGS):
        assert len({row.code for row in rows}) == len(rows)
    assert [(row.status, row.code) for row in RESPONSES] == sorted((row.status, row.code) for row in RESPONSES)


def test_the_page_is_the_generated_one() -> None:
    """``python -m service.web.error_codes > docs/errors.md`` writes it."""
    assert (ROOT / "docs/errors.md").read_text() == page()
