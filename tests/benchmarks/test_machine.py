"""What is said of the machine that figures are of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks import machine

#: Level, type and size of each of a core's caches, as Linux lists them.
LISTED = [("1", "Data", "32K"), ("1", "Instruction", "48K"), ("2", "Unified", "1024K"), ("3", "Unified", "32768K")]


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of caches like that below /sys."""

    def make(*listed: tuple[str, str, str]) -> Path:
        for number, values in enumerate(listed):
            index = tmp_path / f"index{number}"
            index.mkdir()
            for name, value in zip(("level", "type", "size"), values, strict=True):
                (index / name).write_text(f"{value}\n")
        (tmp_path / "uevent").touch()
        return tmp_path

    return make


def test_caches_go_by_level(folder: Callable[..., Path]) -> None:
    assert machine.caches(folder(*LISTED)) == {"L1d": 2**15, "L1i": 48 * 2**10, "L2": 2**20, "L3": 2**25}


def test_the_order_of_the_list_does_not_matter(folder: Callable[..., Path]) -> None:
    assert list(machine.caches(folder(*reversed(LISTED)))) == ["L1d", "L1i", "L2", "L3"]


@pytest.mark.parametrize(("size", "expected"), [("512", 512), ("8M", 2**23), ("1G", 2**30)])
def test_sizes_have_units(folder: Callable[..., Path], size: str, expected: int) -> None:
    assert machine.caches(folder(("3", "Unified", size))) == {"L3": expected}


@pytest.mark.parametrize("size", ["", "K", "1.5M", "-1K", "32 K", "32k"])
def test_another_size_is_refused(folder: Callable[..., Path], size: str) -> None:
    with pytest.raises(ValueError, match=r"index0/size must be a number with K, M or G\. Received: "):
        machine.caches(folder(("1", "Data", size)))


def test_a_system_may_hide_its_caches(folder: Callable[..., Path], tmp_path: Path) -> None:
    found = folder(*LISTED)
    (found / "index3" / "size").unlink()
    assert list(machine.caches(found)) == ["L1d", "L1i", "L2"]
    assert machine.caches(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("information", "extensions", "kind"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx avx2 avx512f avx512_bf16\nbugs\t: x\n", ["avx2", "avx512f"], "AVX-512"),
        ("flags\t\t: fpu avx avx2 fma\n", ["avx2"], "AVX2"),
        ("flags\t\t: fpu avx avx512_bf16\nvmx flags\t: avx2\n", [], None),
        ("Features\t: fp asimd sve\n", [], None),
        ("", [], None),
    ],
)
def test_vector_extensions_decide_the_kind(information: str, extensions: list[str], kind: str | None) -> None:
    assert machine.extensions(information) == extensions
    assert machine.kind(extensions) == kind


@pytest.mark.processes
def test_this_machine_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    """As contestants find it: a core type that the environment sets is not theirs."""
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    found = machine.described()
    assert found["processor"]
    assert found["cores"] >= 1
    assert found["kind"] == machine.kind(found["extensions"])
    assert found["numpy"]["version"] == np.__version__
    assert {"baseline", "found"} <= found["numpy"]["simd_extensions"].keys()
    assert found["numpy"]["cpu_features"]
    assert found["blas"]["name"]
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
    assert machine.described() == found


def test_the_description_has_three_lines() -> None:
    described = {
        "processor": "AMD EPYC",
        "cores": 2,
        "extensions": ["avx2"],
        "kind": "AVX2",
        "caches": {"L1d": 2**15, "L2": 2**20 // 2, "L3": 2**25},
        "numpy": {
            "version": "2.4.6",
            "simd_extensions": {"baseline": ["X86_V2"], "found": ["X86_V3"], "not found": []},
            "cpu_features": ["SSE", "AVX2"],
        },
        "blas": {"name": "openblas", "version": "0.3.31", "kernels": "Zen"},
    }
    assert machine.lines(described) == [
        "AMD EPYC, 2 cores; vector extensions: avx2; caches: L1d 32 KB, L2 512 KB, L3 32 MB",
        "NumPy 2.4.6; SIMD extensions: baseline: X86_V2; found: X86_V3; not found: none",
        "BLAS: openblas 0.3.31, kernels: Zen",
    ]
    hidden = {**described, "extensions": [], "caches": {}, "blas": {"name": "x", "version": "1", "kernels": None}}
    first, _, last = machine.lines(hidden)
    assert first == "AMD EPYC, 2 cores; vector extensions: none of avx512f, avx2; caches: not reported"
    assert last == "BLAS: x 1, kernels: not reported"
