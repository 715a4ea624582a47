"""Trainyard's client and command: ``from trainyard import Trainyard``.

Names are imported when they are first used, so that importing this package takes no time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainyard.client import Trainyard as Trainyard
    from trainyard.errors import Busy as Busy
    from trainyard.errors import Conflict as Conflict
    from trainyard.errors import Forbidden as Forbidden
    from trainyard.errors import Invalid as Invalid
    from trainyard.errors import JobFailed as JobFailed
    from trainyard.errors import NotFound as NotFound
    from trainyard.errors import Refused as Refused
    from trainyard.errors import TrainyardError as TrainyardError
    from trainyard.errors import Unauthorized as Unauthorized
    from trainyard.errors import Unreachable as Unreachable

#: Each public name, and the module that has it.
_NAMES = {
    "Trainyard": "client",
    **dict.fromkeys(
        (
            *("Busy", "Conflict", "Forbidden", "Invalid", "JobFailed", "NotFound", "Refused"),
            *("TrainyardError", "Unauthorized", "Unreachable"),
        ),
        "errors",
    ),
}

__all__ = [*_NAMES, "main"]  # noqa: PLE0604 - the keys are strings


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from trainyard._house import version

        return version()
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"trainyard.{_NAMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES, "__version__"})


def main() -> None:
    """Run the command line."""
    from trainyard._house import enter

    enter()
    from service.cli.main import cli

    cli(prog_name="trainyard")
