"""The machine that figures are of: its processor, and what NumPy and its BLAS chose for it.

``python -m benchmarks.machine`` prints the description as JSON.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from benchmarks import processor
from benchmarks.servers import ROOT
from benchmarks.workers import environment

__all__ = ["KINDS", "caches", "described", "extensions", "kind", "lines"]

INFORMATION = Path("/proc/cpuinfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
#: The vector extensions that decide how long arithmetic takes, widest first, and the kinds of processors with them.
KINDS = {"avx512f": "AVX-512", "avx2": "AVX2"}
_LETTERS = {"Data": "d", "Instruction": "i", "Unified": ""}
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


def described() -> dict[str, Any]:
    """Describe the machine as a process with the contestants' environment and one thread finds it."""
    command = [sys.executable, "-m", "benchmarks.machine"]
    done = subprocess.run(command, cwd=ROOT, env=environment(1), stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def lines(machine: dict[str, Any]) -> list[str]:
    """The description in sentences, without NumPy's list of the processor's features."""
    vectors = ", ".join(machine["extensions"]) or "none of " + ", ".join(KINDS)
    sizes = ", ".join(f"{name} {_size(size)}" for name, size in machine["caches"].items()) or "not reported"
    numpy, blas = machine["numpy"], machine["blas"]
    simd = "; ".join(f"{what}: {', '.join(names) or 'none'}" for what, names in numpy["simd_extensions"].items())
    return [
        f"{machine['processor']}, {machine['cores']} cores; vector extensions: {vectors}; caches: {sizes}",
        f"NumPy {numpy['version']}; SIMD extensions: {simd}",
        f"BLAS: {blas['name']} {blas['version']}, kernels: {blas['kernels'] or 'not reported'}",
    ]


def kind(found: Collection[str]) -> str | None:
    """The kind of a processor with these vector extensions; None if it has none of ``KINDS``."""
    return next((name for extension, name in KINDS.items() if extension in found), None)


def extensions(information: str) -> list[str]:
    """Those of the vector extensions of ``KINDS`` that a text like /proc/cpuinfo lists."""
    flags = re.search(r"^flags\s*: (.*)$", information, re.MULTILINE)
    present = set(flags[1].split()) if flags else set()
    return sorted(present & KINDS.keys())


def caches(folder: Path) -> dict[str, int]:
    """The bytes of a core's caches (L1d, L1i, L2, L3), by Linux' description; empty if the system has none.

    Raises ValueError if a size is not a number with a unit.
    """
    found = {}
    for index in sorted(folder.glob("index*")):
        if not (index / "size").exists():
            continue  # Some virtual machines hide it.
        level, sort, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        parts = re.fullmatch(r"(\d+)([KMG]?)", size)
        if parts is None:
            raise ValueError(f"{index / 'size'} must be a number with K, M or G. Received: {size!r}")
        found[f"L{level}{_LETTERS[sort]}"] = int(parts[1]) * _UNITS[parts[2]]
    return dict(sorted(found.items()))


def _size(size: int) -> str:
    return f"{size / 2**20:g} MB" if size >= 2**20 else f"{size / 2**10:g} KB"


def _numpy() -> dict[str, Any]:
    import numpy as np
    from numpy._core._multiarray_umath import __cpu_features__ as features

    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    return {
        "version": np.__version__,
        "simd_extensions": simd,
        "cpu_features": [name for name, present in features.items() if present],
    }


def _blas() -> dict[str, str | None]:
    """Name, version and kernels of NumPy's BLAS; the kernels are None if the library does not report them."""
    import numpy as np
    from threadpoolctl import threadpool_info

    for library in threadpool_info():  # This process has no BLAS but NumPy's.
        if library["user_api"] == "blas":
            kernels = library.get("architecture")
            return {"name": library["internal_api"], "version": library["version"], "kernels": kernels}
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {"name": built["name"], "version": built.get("version"), "kernels": None}


def main() -> None:
    """Print what this process finds."""
    information = INFORMATION.read_text() if INFORMATION.exists() else ""
    found = extensions(information)
    machine = {
        "processor": processor.name(),
        "cores": processor.cores(),
        "extensions": found,
        "kind": kind(found),
        "caches": caches(CACHES),
        "numpy": _numpy(),
        "blas": _blas(),
    }
    print(json.dumps(machine))


if __name__ == "__main__":
    main()
