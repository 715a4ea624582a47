"""The kernels of a run: which kind it has, and how they are made ready before it begins."""

from __future__ import annotations

from collections.abc import MutableMapping

from models.training.checkpoint import Checkpoint
from models.training.ensemble_checkpoint import EnsembleCheckpoint
from models.training.sweep_checkpoint import SweepCheckpoint
from nncore.kernels.kinds import Kind, available_kinds
from nncore.warming import warm_up

__all__ = ["kind_of_run", "make_ready"]


def kind_of_run(wanted: Kind, resume: Checkpoint | EnsembleCheckpoint | SweepCheckpoint | None) -> Kind:
    """The kind of the checkpoint from which a run continues, else the wanted one; "numpy" if that cannot run here."""
    kind = wanted if resume is None else resume.kernels
    return kind if kind == "numpy" or kind in available_kinds() else "numpy"


def make_ready(store: MutableMapping[str, bytes], *, ahead: bool) -> None:
    """Load the compiler and have it keep code in ``store``; ``ahead``: compile now what most runs need.

    Raises ImportError if the package llvmlite is not installed.
    """
    from nncore.kernels import compiler

    compiler.keep_in(store)
    if ahead:
        warm_up()
