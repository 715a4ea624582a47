"""The training step's table: which floors there are, and what is printed of them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

from benchmarks import machine, training_step
from benchmarks.contestants import CONTESTANTS, WORKLOADS
from benchmarks.training_floors import FLOORS, RATIOS, judged, least
from benchmarks.training_step import COLUMNS, OURS, Column, Ours

COMPILED = Ours("this core, compiled", "llvm", "llvmlite")


def measured(ratio: float, **others: float) -> dict[str, Any]:
    """What one workload's measurement holds: all ratios alike, except those of some columns."""
    ratios = {column.title: others.get(column.contestant, ratio) for column in COLUMNS}
    return {"microseconds_a_step": {one.contestant: [50.0] for one in OURS}, **dict.fromkeys(RATIOS.values(), ratios)}


def test_the_tables_fit_together() -> None:
    """Every floor is of a column, a workload and kernels that there are, and of a kind of processor that is found."""
    kinds, titles = set(machine.KINDS.values()), {column.title for column in COLUMNS}
    assert {kind for kind, _ in FLOORS} == kinds
    assert {kernels for _, kernels in FLOORS} == set(RATIOS) == {one.kernels for one in OURS}
    for columns in FLOORS.values():
        assert columns.keys() <= titles
        assert all(workloads.keys() <= WORKLOADS.keys() for workloads in columns.values())
    assert {one.contestant for one in (*OURS, *COLUMNS)} == CONTESTANTS.keys()


@pytest.mark.parametrize(
    ("kind", "kernels", "column", "workload", "floor"),
    [
        ("AVX2", "numpy", "vs. products", "mnist-128", 0.76),
        ("AVX2", "numpy", "vs. PyTorch", "spiral", 6.5),
        ("AVX-512", "numpy", "vs. PyTorch", "mnist-512", 1.0),
        ("AVX-512", "numpy", "vs. JAX", "mnist-512", 0.80),
        ("AVX-512", "numpy", "vs. JAX", "tabular", 0.50),
        ("AVX-512", "numpy", "vs. JAX", "spiral", None),
        ("AVX-512", "numpy", "vs. products", "wide", None),
        ("AVX2", "llvm", "vs. JAX", "tabular", 1.0),
        ("AVX-512", "llvm", "vs. JAX", "wide", 0.95),
        ("AVX-512", "llvm", "vs. PyTorch", "wide", 1.0),
        ("AVX2", "llvm", "vs. scikit-learn", "wide", None),
        (None, "llvm", "vs. JAX", "wide", None),
    ],
)
def test_floors_go_by_processor_and_kernels(
    kind: str | None, kernels: str, column: str, workload: str, floor: float | None
) -> None:
    assert least(kind, kernels, column, workload) == floor


def test_a_line_marks_ratios_below_their_floors() -> None:
    columns = [Column("vs. PyTorch", "torch", "torch"), Column("vs. JAX", "jax", "jax")]
    found = measured(1.2, jax=0.9)
    line = training_step._line("tabular", COMPILED, columns, found, "AVX2")
    assert line.split() == ["tabular", "llvm", "50.0", "1.20", "(1.00)", "0.90*", "(1.00)"]
    assert training_step._line("tabular", COMPILED, columns, found, None).split()[3:] == ["1.20", "0.90"]


def test_the_verdict_says_what_was_met_and_by_how_much(capsys: pytest.CaptureFixture[str]) -> None:
    results = {"threads_1": {"tabular": measured(1.1, jax=0.6)}, "threads_2": {"tabular": measured(9.0)}}
    found = judged("AVX-512", results, {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "floors of processors with AVX-512, one thread:",
        "met      tabular, numpy, vs. JAX: 0.60 (at least 0.5; +20.0%)",
        "met      tabular, llvm, vs. PyTorch: 1.10 (at least 1; +10.0%)",
        "NOT MET  tabular, llvm, vs. JAX: 0.60 (at least 1; -40.0%)",
    ]
    assert "not measured (of processors with AVX2)  numpy, vs. products: " + ", ".join(WORKLOADS) in lines
    assert "not measured (not run)  numpy, vs. PyTorch: mnist-512" in lines
    assert "not measured (not run)  llvm, vs. JAX: spiral, mnist-128, mnist-512, wide" in lines
    assert lines[-1] == "not measured against floors: ratios with 2 threads, which have none"
    assert [each["met"] for each in found["measured"]] == [True, True, False]
    assert found["kind"] == "AVX-512"
    cells = sum(len(workloads) for columns in FLOORS.values() for workloads in columns.values())
    assert len(found["measured"]) + len(found["not_measured"]) == cells


def test_what_is_not_installed_has_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    whole = {name: measured(1.0) for name in WORKLOADS}
    judged("AVX-512", {"threads_1": whole}, {"llvm": "llvmlite", "vs. JAX": "jax"})
    lines = [line for line in capsys.readouterr().out.splitlines() if "AVX2" not in line]
    assert lines[1:] == [
        "met      mnist-512, numpy, vs. PyTorch: 1.00 (at least 1; +0.0%)",
        "not measured (jax is not installed)  numpy, vs. JAX: tabular, mnist-512",
        "not measured (llvmlite is not installed)  llvm, vs. PyTorch: " + ", ".join(WORKLOADS),
        "not measured (llvmlite is not installed)  llvm, vs. JAX: " + ", ".join(WORKLOADS),
    ]


def test_more_threads_alone_have_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    found = judged("AVX2", {"threads_2": {"spiral": measured(1.0)}}, {})
    assert found["measured"] == []
    assert "not measured (not run with one thread)  numpy, vs. JAX: " in capsys.readouterr().out


def test_another_processor_has_no_floors(capsys: pytest.CaptureFixture[str]) -> None:
    found = judged(None, {"threads_1": {"spiral": measured(1.0)}}, {})
    assert found["measured"] == []
    assert capsys.readouterr().out.startswith("this kind of processor has no floors\n")


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(
        training_step, "find_spec", lambda name: None if name in ("jax", "llvmlite") else find_spec("numpy")
    )
    assert training_step._missing() == {"llvm": "llvmlite", "vs. JAX": "jax"}
    assert capsys.readouterr().out.splitlines() == [
        'llvmlite is not installed: no lines of the kernels "llvm"',
        "jax is not installed: no comparison with jax",
    ]


def test_ratios_of_both_kernels_stand_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best round counts, and each kind of kernels has a key of its own."""
    rounds = {"this core": [20.0, 10.0], COMPILED.contestant: [5.0, 8.0], "jax": [6.0, 7.0]}

    class Worker:
        def __init__(self, contestant: str, *_: object) -> None:
            self.times = list(rounds[contestant])

        def __enter__(self) -> Worker:
            return self

        def __exit__(self, *_: object) -> None:
            """Nothing to end."""

        def measure(self) -> float:
            return self.times.pop(0)

    monkeypatch.setattr(training_step, "worker", Worker)
    monkeypatch.setattr(training_step, "PAUSE", 0.0)
    found = training_step._measure("spiral", 1, OURS, [Column("vs. JAX", "jax", "jax")], 2)
    assert found["microseconds_a_step"] == rounds
    assert found["ratios"] == {"vs. JAX": 0.6}
    assert found["ratios_compiled"] == {"vs. JAX": 1.2}
