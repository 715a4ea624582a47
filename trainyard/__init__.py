"""Trainyard's client and command: ``from trainyard import Trainyard``.

Names are imported when they are first used, so that importing this package takes no time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainyard.checkpoints import Checkpoint as Checkpoint
    from trainyard.client import Trainyard as Trainyard
    from trainyard.datasets import Column as Column
    from trainyard.datasets import Dataset as Dataset
    from trainyard.datasets import Profile as Profile
    from trainyard.datasets import Row as Row
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
    from trainyard.evaluations import Evaluation as Evaluation
    from trainyard.event_stream import Event as Event
    from trainyard.jobs import Epoch as Epoch
    from trainyard.jobs import Job as Job
    from trainyard.jobs import Progress as Progress
    from trainyard.models import Alias as Alias
    from trainyard.models import Model as Model
    from trainyard.models import Version as Version
    from trainyard.predictions import Prediction as Prediction
    from trainyard.responses import Response as Response
    from trainyard.service import AuditRecord as AuditRecord
    from trainyard.service import DryRun as DryRun
    from trainyard.service import Key as Key

#: The public names of each module.
_MODULES = {
    "client": ("Trainyard",),
    "checkpoints": ("Checkpoint",),
    "datasets": (
        "Column",
        "Dataset",
        "Profile",
        "Row",
    ),
    "errors": (
        "Busy",
        "Conflict",
        "Forbidden",
        "Invalid",
        "JobFailed",
        "NotFound",
        "Refused",
        "TrainyardError",
        "Unauthorized",
        "Unreachable",
    ),
    "evaluations": ("Evaluation",),
    "event_stream": ("Event",),
    "jobs": (
        "Epoch",
        "Job",
        "Progress",
    ),
    "models": (
        "Alias",
        "Model",
        "Version",
    ),
    "predictions": ("Prediction",),
    "responses": ("Response",),
    "service": (
        "AuditRecord",
        "DryRun",
        "Key",
    ),
}
_NAMES = {name: module for module, names in _MODULES.items() for name in names}

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
    from trainyard.cli.main import main as run

    run()
