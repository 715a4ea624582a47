"""Rows of another owner: no module selects from an owned table but by a caller, except where this page says why."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
#: Tables whose rows have an owner, by themselves or by their model or job.
OWNED = {"MODELS", "DATASETS", "JOBS", "CHECKPOINTS", "VERSIONS", "ALIASES", "EVENTS", "SWEEPS", "KEYS"}
#: Calls that make a statement which reads or changes rows.
STATEMENTS = {"select", "update", "delete"}
#: Calls that add a caller to a statement.
CALLERS = {"visible", "own"}
#: Where statements need no caller, with the reason: a module, and its functions ("*": all; "": not in any).
_BY_NUMBER = "by the number of a model that the caller has found by name"
_OF_JOB = "of a job that the caller has found by id"
_SERVICE = "the service's own work on the files and jobs of all owners"
_OWNER = "by a job's fencing number, which only its runner and trainer hold"
ELSEWHERE: dict[str, dict[str, str]] = {
    "models/registry/checkpoints.py": {
        "": "each function adds the caller to _SELECT",
        "superfluous_checkpoints": _OWNER,
        "forget_checkpoints": _SERVICE,
    },
    "models/registry/datasets.py": {"delete_dataset": "by the id of a dataset that the caller has found"},
    "models/registry/models.py": {
        "": "each function adds the caller to _SELECT",
        "define_model": _BY_NUMBER,
        "delete_model": _BY_NUMBER,
        "count": "totals of all owners, for admins",
        "stored": "totals of all owners, for admins",
    },
    "models/registry/availability.py": {"availability": _BY_NUMBER},
    "models/registry/published.py": {
        "default_versions": "of the caller's models, which are the enclosing select",
        "published_checkpoints": _BY_NUMBER,
    },
    "models/registry/rows.py": {
        "named_ids": "whether files that were just written have rows",
        "files_at_fault": "totals of all owners, for admins",
    },
    "models/registry/snapshots.py": {"*": _SERVICE},
    "models/registry/integrity.py": {"*": _SERVICE},
    "models/registry/versions.py": {
        "": "parts of statements about the model of an enclosing select",
        "_named": "a part of a statement about the model of an enclosing select",
        "_target": "a part of a statement about the model of an enclosing select",
        "_serving": "by the owner that is a parameter of the statement",
        "publish": _BY_NUMBER,
        "list_versions": _BY_NUMBER,
        "aliases": _BY_NUMBER,
        "list_aliases": _BY_NUMBER,
        "set_alias": _BY_NUMBER,
        "remove_alias": _BY_NUMBER,
        "states": _SERVICE,
    },
    "service/jobs/lifecycle.py": {
        "create": _BY_NUMBER,
        "find_owned": _OWNER,
        "abandon": _BY_NUMBER,
        "oldest_wait": "a measure of all owners, for admins",
        "_queued": _SERVICE,
        "_running": _SERVICE,
        "report": _OWNER,
        "finished_data": _SERVICE,
        "drop_finished_data": _SERVICE,
        "next_lease_end": _SERVICE,
        "waits_too_long": _SERVICE,
        "shorten_waits": _SERVICE,
        "expire": _SERVICE,
        "_owned_update": _OWNER,
        "_move": "of a job that was found before",
    },
    "service/jobs/events.py": {"*": _OF_JOB},
    "service/jobs/deletion.py": {"drop_old_jobs": _SERVICE, "_delete_rows": _OF_JOB},
    "service/jobs/newest.py": {"newest_jobs": "of models that the caller has found"},
    "service/jobs/history.py": {"_read_passing": _OWNER},
    "service/jobs/retention.py": {"*": _SERVICE},
    "service/jobs/sweep_plans.py": {"*": _OWNER},
    "service/uploads/import_bound.py": {"import_bound": _BY_NUMBER},
    "service/store/naming.py": {"*": _SERVICE},
    "service/upkeep/*": {"*": _SERVICE},
    "service/web/idempotency.py": {"remember": "of the claim's owner, and old ones of all"},
    "service/web/routes/datasets.py": {"delete_dataset": "the active jobs of a dataset that the caller has found"},
    "service/web/routes/models.py": {"delete_model": _BY_NUMBER},
    "service/web/routes/publishing.py": {"publish_checkpoint": _BY_NUMBER},
    "service/web/service_metrics.py": {"_jobs": "totals of all owners, for admins"},
}


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _names(node: ast.AST) -> set[str]:
    return {child.id for child in ast.walk(node) if isinstance(child, ast.Name)}


class _Module:
    """The statements of a module about owned tables, by function, of which no caller is a part."""

    def __init__(self, source: str) -> None:
        self._tree = ast.parse(source)
        self._parents = {child: node for node in ast.walk(self._tree) for child in ast.iter_child_nodes(node)}
        #: Statements, or parts of them, that functions complete: each use counts as one.
        self._open = {
            _name(target)
            for node in self._tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and self._selects(node.value)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        }

    def places(self) -> Iterator[tuple[str, int]]:
        """The function and the line of each."""
        for node in ast.walk(self._tree):
            made = isinstance(node, ast.Call) and _name(node.func) in STATEMENTS and self._about_owned(node)
            used = isinstance(node, ast.Name) and node.id in self._open and isinstance(node.ctx, ast.Load)
            if (made or used) and not self._has_caller(node):
                assert isinstance(node, ast.expr)
                yield self._function(node), node.lineno

    def _selects(self, value: ast.expr) -> bool:
        calls = (node for node in ast.walk(value) if isinstance(node, ast.Call))
        return any(_name(call.func) in STATEMENTS and self._about_owned(call) for call in calls)

    def _about_owned(self, call: ast.Call) -> bool:
        """Whether a statement with what is chained to it names an owned table, or one that is given to the function."""
        whole: ast.AST = call
        while isinstance(parent := self._parents[whole], ast.Attribute | ast.Call) and whole in (
            getattr(parent, "value", None),
            getattr(parent, "func", None),
        ):
            whole = parent
        return bool(_names(whole) & {*OWNED, "table"})

    def _above(self, node: ast.AST) -> Iterator[ast.AST]:
        while node in self._parents:
            node = self._parents[node]
            yield node

    def _has_caller(self, node: ast.AST) -> bool:
        return any(isinstance(above, ast.Call) and _name(above.func) in CALLERS for above in self._above(node))

    def _function(self, node: ast.AST) -> str:
        return next((above.name for above in self._above(node) if isinstance(above, ast.FunctionDef)), "")


def statements(path: Path) -> list[tuple[str, int]]:
    """The function and the line of each statement about an owned table without a caller."""
    return list(_Module(path.read_text()).places())


def unlisted(root: Path) -> list[str]:
    """Places in ``root`` with such statements that ``ELSEWHERE`` lacks."""
    found = []
    for path in sorted([*root.glob("models/registry/*.py"), *root.glob("service/**/*.py")]):
        place = path.relative_to(root).as_posix()
        if "/migrations/" in place:
            continue
        allowed = ELSEWHERE.get(place) or ELSEWHERE.get(f"{path.parent.relative_to(root).as_posix()}/*") or {}
        for function, line in statements(path):
            if "*" not in allowed and function not in allowed:
                found.append(f"{place}:{line} in {function or 'the module'}")
    return found


def test_every_statement_about_owned_rows_has_a_caller_or_a_reason() -> None:
    assert unlisted(ROOT) == []


def test_every_reason_is_needed() -> None:
    """No entry outlives the statement that it was for."""
    unneeded = []
    for place, functions in ELSEWHERE.items():
        paths = list(ROOT.glob(f"{place}.py" if place.endswith("*") else place))
        assert paths, place
        there = {function for path in paths for function, _ in statements(path)}
        unneeded += [f"{place}: {name}" for name in functions if name not in there and not (name == "*" and there)]
    assert unneeded == []


@pytest.mark.parametrize(
    "line",
    [
        "sa.select(MODELS.c.number).where(MODELS.c.name == name)",
        "sa.select(sa.func.count()).where(JOBS.c.state == 'queued')",
        "sa.select(sa.func.count()).select_from(JOBS)",
        "connection.execute(sa.delete(DATASETS).where(DATASETS.c.id == key))",
        "sa.update(CHECKPOINTS).values(fault=None)",
    ],
)
def test_a_statement_without_a_caller_is_caught(tmp_path: Path, line: str) -> None:
    place = tmp_path / "service" / "web" / "routes"
    place.mkdir(parents=True)
    (place / "new.py").write_text(f"def leak(connection, name, key):\n    return {line}\n")
    assert unlisted(tmp_path) == ["service/web/routes/new.py:2 in leak"]
    (place / "new.py").write_text(
        f"def right(connection, name, key):\n    return visible(connection, {line}, MODELS)\n"
    )
    assert unlisted(tmp_path) == []
