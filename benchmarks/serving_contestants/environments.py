"""Environments of the contestants, each with its own pinned requirements; ``python -m`` this module makes them all."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

__all__ = ["NAMES", "environment"]

NAMES = ("mlserver", "litserve", "bentoml", "mlflow")
FOLDER = Path(__file__).parent
ENVIRONMENTS = FOLDER.parents[1] / ".venv-bench"


def environment(name: str) -> Path:
    """The folder of a contestant's programs; its environment is made if it is missing or has other requirements.

    Raises CalledProcessError if the packages cannot be installed.
    """
    requirements = FOLDER / f"requirements-{name}.txt"
    place = ENVIRONMENTS / name
    stamp = place / "installed.txt"
    if not stamp.exists() or stamp.read_text() != requirements.read_text():
        print(f"installing {name} into {place}", flush=True)
        venv.create(place, clear=True, with_pip=True)
        pip = [place / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", requirements], check=True)
        stamp.write_text(requirements.read_text())
    return place / "bin"


def main() -> None:
    """Make all environments."""
    for name in NAMES:
        environment(name)


if __name__ == "__main__":
    main()
