"""The command ``trainyard`` of an installed Trainyard.

In a wheel the project's packages lie in ``trainyard/house``, as other distributions use their names at the top level;
in a checkout they lie beside this package.
"""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["main"]

_HERE = Path(__file__).resolve().parent


def main() -> None:
    """Put the project's packages on the path and run the command line."""
    house = _HERE / "house"
    sys.path.insert(0, str(house if house.is_dir() else _HERE.parent))
    from service.cli.main import cli

    cli(prog_name="trainyard")
