"""The kernels of runs: which kind a run has, that all kinds train to the same bits, and what says which it was."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

from models.formats.checkpoint_file import AnyCheckpoint, load_checkpoint
from models.training.checkpoint import Checkpoint
from models.training.ensemble_run import EnsembleRun
from models.training.kernels import kind_of_run, make_ready
from models.training.members import MemberTask
from models.training.members_run import MembersRun
from models.training.sweep_run import SweepRun
from nncore.kernels.kinds import Kind
from testing.members import arrays_of, same_state
from testing.members_journal import MembersRecorder, QuickPool
from testing.runs import Recorder, a_request, a_run, prepare, some_rows
from testing.saving import save_checkpoint
from tests.models.training import test_ensemble_run, test_sweep_run

KINDS: list[Kind] = ["numpy", "llvm"]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As in the processes of members."""
    with threadpool_limits(1):
        yield


class Noted(QuickPool):
    """A pool that notes its tasks."""

    def __init__(self) -> None:
        super().__init__(2)
        self.tasks: list[MemberTask] = []

    def start(self, task: MemberTask) -> None:
        self.tasks.append(task)
        super().start(task)


def ended(kernels: Kind, resume: Checkpoint | None = None) -> Checkpoint:
    run = a_run(kernels=kernels, resume=resume)
    assert run.run(Recorder())
    return run.checkpoint()


def many(kind: str, pool: QuickPool, kernels: Kind) -> MembersRun:
    """A run of an ensemble or a sweep."""
    if kind == "ensemble":
        asked, definition = a_request(epochs=0), test_ensemble_run.a_definition()
        return EnsembleRun(asked, prepare(definition, asked, some_rows(60)), pool, kernels=kernels)
    request, sweep = a_request(validation_fraction=0.3), test_sweep_run.a_sweep()
    return SweepRun(request, sweep, test_sweep_run.prepared_rows(), pool, kernels=kernels)


class TestKind:
    """The checkpoint decides, if its kind can run here."""

    @pytest.mark.parametrize("wanted", KINDS)
    def test_of_a_new_run(self, wanted: Kind) -> None:
        assert kind_of_run(wanted, None) == wanted

    @pytest.mark.parametrize("made", KINDS)
    @pytest.mark.parametrize("wanted", KINDS)
    def test_of_a_resumed_run(self, made: Kind, wanted: Kind) -> None:
        assert kind_of_run(wanted, a_run(kernels=made).checkpoint()) == made

    def test_without_the_compiler(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = a_run(kernels="llvm").checkpoint()
        monkeypatch.setitem(sys.modules, "llvmlite", None)
        assert (kind_of_run("llvm", None), kind_of_run("numpy", made)) == ("numpy", "numpy")


def test_compiled_code_is_kept_in_the_store() -> None:
    store: dict[str, bytes] = {}
    make_ready(store, ahead=False)
    a_run(kernels="llvm", definition=test_sweep_run.a_definition(units=17)).run(Recorder())
    assert all(isinstance(code, bytes) for code in store.values())


class TestRun:
    def test_a_run_and_its_checkpoint_say_what_they_have(self, tmp_path: Path) -> None:
        run = a_run(kernels="llvm")
        run.run(Recorder(folder=tmp_path))
        assert (run.details()["kernels"], run.training.kernels) == ("llvm", "llvm")
        assert {load_checkpoint(path).kernels for path in tmp_path.glob("*.h5")} == {"llvm"}

    def test_both_train_to_the_same_bits(self) -> None:
        one, other = ended("numpy"), ended("llvm")
        assert same_state(one, other)
        assert arrays_of(one).keys() == arrays_of(other).keys()

    def test_a_stop_changes_no_bit(self, tmp_path: Path) -> None:
        recorder = Recorder(stop_after=9, folder=tmp_path)
        assert not a_run(kernels="llvm").run(recorder)
        assert same_state(ended("llvm", recorder.newest()), ended("llvm"))


@pytest.mark.parametrize("kind", ["ensemble", "sweep"])
class TestMembers:
    def test_each_member_has_the_kernels_of_the_run(self, kind: str, tmp_path: Path) -> None:
        pool, journal = Noted(), MembersRecorder()
        run = many(kind, pool, "llvm")
        assert run.run(journal)
        assert run.details()["kernels"] == "llvm"
        assert {task.kernels for task in pool.tasks} == {"llvm"}
        for place, (_, checkpoint) in enumerate(journal.checkpoints):
            save_checkpoint(tmp_path / f"{place}.h5", checkpoint)
            loaded: AnyCheckpoint = load_checkpoint(tmp_path / f"{place}.h5")
            assert loaded.kernels == checkpoint.kernels == "llvm"
