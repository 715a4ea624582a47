"""The checkpoint file: its layout in plain h5py, what a strict load refuses, and no file after a failed write."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import nncore
from models.formats.checkpoint_file import CheckpointError, load_checkpoint
from models.formats.durable import record_of, sweep, write_durably
from models.formats.hdf5_image import Put, hdf5_image
from models.formats.mapped_parameters import map_parameters
from models.training.checkpoint import Checkpoint
from nncore.optimizers import SGD, Adam, Optimizer, RMSProp
from nncore.stopping import EarlyStopping
from testing.runs import Recorder, a_definition, a_run
from testing.saving import save_checkpoint

OPTIMIZERS: list[Optimizer] = [SGD(0.5), SGD(0.5, momentum=0.9, nesterov=True), RMSProp(), Adam()]


def a_checkpoint(optimizer: Optimizer | None = None, **request: Any) -> Checkpoint:
    """The state after three epochs with a validation share, in the middle of the fourth."""
    run = a_run(epochs=4, optimizer=optimizer or Adam(), validation_fraction=0.25, **request)
    run.run(Recorder(stop_after=3 * run.training.steps_per_epoch + 2))
    return run.checkpoint()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ckpt.h5"


def same_arrays(one: Any, other: Any) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one
    )


class TestLayout:
    """What any HDF5 tool finds in the file."""

    def test_groups_and_attributes_are_those_of_the_design(self, path: Path) -> None:
        checkpoint = a_checkpoint()
        save_checkpoint(path, checkpoint)
        with h5py.File(path) as file:
            assert set(file) == {"parameters", "statistics", "optimizer", "training", "history"}
            assert set(file.attrs) == {
                "format",
                "format_version",
                "created_at",
                "nncore_version",
                "numpy_version",
                "kernels",
                "definition",
                "classes",
            }
            assert (file.attrs["format"], file.attrs["format_version"]) == ("trainyard-checkpoint", 1)
            assert file.attrs["nncore_version"] == nncore.__version__
            assert file.attrs["numpy_version"] == np.__version__
            assert file.attrs["kernels"] == "numpy"
            assert json.loads(file.attrs["definition"]) == checkpoint.definition.document()
            assert json.loads(file.attrs["classes"]) == list(checkpoint.definition.classes)
            assert set(file["parameters"]) == {"0_dense", "2_dense"}
            assert set(file["parameters/0_dense"]) == {"weights", "bias"}
            assert file["parameters/0_dense/weights"].shape == (2, 5)
            assert set(file["optimizer"].attrs) == {"type", "hyperparameters", "iterations"}
            assert file["optimizer"].attrs["type"] == "adam"
            assert json.loads(file["optimizer"].attrs["hyperparameters"])["beta2"] == 0.999
            assert file["optimizer"].attrs["iterations"] == checkpoint.state.step
            assert set(file["optimizer"]) == {"gradient_sum", "square_sum"}
            assert file["optimizer/square_sum/2_dense/bias"].shape == (3,)
            assert set(file["training"].attrs) == {
                "epoch",
                "step",
                "position",
                "streams",
                "schedule",
                "loss_sum",
                "hits",
                "seconds",
            }
            assert (file["training"].attrs["epoch"], file["training"].attrs["position"]) == (3, 16)
            assert json.loads(file["training"].attrs["streams"]).keys() == {"order", "noise"}
            assert sorted(file["training/permutation"][()]) == list(range(len(checkpoint.rows)))
            assert set(file["training"]) == {"permutation", "rows"}
            assert set(file["history"]) == {
                "epoch",
                "loss",
                "accuracy",
                "validation_loss",
                "validation_log_loss",
                "validation_accuracy",
                "learning_rate",
                "seconds",
            }
            assert file["history/epoch"][()].tolist() == [1, 2, 3]
            assert file["history/loss"][()].tolist() == [epoch.loss for epoch in checkpoint.history]

    def test_data_sets_are_contiguous_uncompressed_and_aligned(self, path: Path) -> None:
        save_checkpoint(path, a_checkpoint())
        seen = []

        def look(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                seen.append(name)
                assert item.chunks is None, name
                assert item.compression is None, name
                assert item.id.get_storage_size() < 64 or item.id.get_offset() % 64 == 0, name
                assert item.dtype.kind in "if", name

        with h5py.File(path) as file:
            file.visititems(look)
        assert len(seen) == 4 + 8 + 2 + 8

    def test_columns_without_validation_hold_nan(self, path: Path) -> None:
        run = a_run(epochs=1)
        run.run(Recorder())
        save_checkpoint(path, run.checkpoint())
        with h5py.File(path) as file:
            assert np.isnan(file["history/validation_loss"][()]).all()
        assert load_checkpoint(path).history[0].validation_loss is None

    def test_the_record_is_size_digest_and_time(self, path: Path) -> None:
        record = save_checkpoint(path, a_checkpoint())
        found = path.stat()
        assert record == (found.st_size, hashlib.sha256(path.read_bytes()).hexdigest(), found.st_mtime_ns)
        assert record_of(path) == record


class TestLoad:
    """What is saved is loaded, and nothing else is."""

    @pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_everything_comes_back(self, path: Path, optimizer: Optimizer, dtype: str) -> None:
        checkpoint = a_checkpoint(optimizer, dtype=dtype)
        save_checkpoint(path, checkpoint)
        loaded = load_checkpoint(path)
        assert loaded.definition == checkpoint.definition
        assert loaded.optimizer == optimizer
        assert loaded.history == checkpoint.history
        assert loaded.created_at == checkpoint.created_at
        assert loaded.rows.tolist() == checkpoint.rows.tolist()
        assert same_arrays(dict(loaded.parameters), dict(checkpoint.parameters))
        assert loaded.state.moments.keys() == set(optimizer.moments)
        for name in optimizer.moments:
            assert same_arrays(loaded.state.moments[name], checkpoint.state.moments[name])
        for name in ("epoch", "step", "position", "loss_sum", "hits", "seconds", "streams"):
            assert getattr(loaded.state, name) == getattr(checkpoint.state, name), name
            assert type(getattr(loaded.state, name)) is type(getattr(checkpoint.state, name)), name
        assert loaded.state.order.tolist() == checkpoint.state.order.tolist()

    def test_a_file_of_an_earlier_release_is_read(self, path: Path) -> None:
        """It has no log loss, counts no steps of early stopping, and does not say which kernels the run had."""
        run = a_run(validation_fraction=0.3, early_stopping=EarlyStopping(patience=9))
        run.run(Recorder())
        save_checkpoint(path, run.checkpoint())
        with h5py.File(path, "r+") as file:
            del file["history/validation_log_loss"]
            del file["best"].attrs["step"], file["best"].attrs["waited_steps"], file.attrs["kernels"]
        loaded = load_checkpoint(path)
        assert loaded.kernels == "numpy"
        assert loaded.history == [dataclasses.replace(epoch, validation_log_loss=None) for epoch in run.history]
        assert loaded.best is not None
        assert run.best is not None
        assert (loaded.best.epoch, loaded.best.step, loaded.best.waited_steps) == (run.best.epoch, 0, 0)
        with h5py.File(path, "r+") as file:
            del file["history/validation_loss"]
        with pytest.raises(CheckpointError, match="/history"):
            load_checkpoint(path)

    def test_the_kernels_come_back(self, path: Path) -> None:
        save_checkpoint(path, dataclasses.replace(a_checkpoint(), kernels="llvm"))
        assert load_checkpoint(path).kernels == "llvm"

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_mapped_parameters_are_the_loaded_ones_and_read_only(self, path: Path, dtype: str) -> None:
        save_checkpoint(path, a_checkpoint(dtype=dtype))
        version = map_parameters(path)
        definition, mapped = version.definition, version.parameters
        loaded = load_checkpoint(path)
        assert definition == loaded.definition
        assert same_arrays(mapped, dict(loaded.parameters))
        for array in mapped.values():
            assert array.flags.aligned
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0

    def test_large_parameters_are_not_copied(self, path: Path) -> None:
        run = a_run(definition=a_definition(units=100), epochs=1)
        save_checkpoint(path, run.checkpoint())
        mapped = map_parameters(path).parameters
        assert not any(array.flags.owndata for array in mapped.values() if array.nbytes >= 64)

    def test_a_mapped_file_may_be_deleted_while_it_serves(self, path: Path) -> None:
        save_checkpoint(path, a_checkpoint())
        loaded = load_checkpoint(path)
        mapped = map_parameters(path).parameters
        path.unlink()
        assert same_arrays(mapped, dict(loaded.parameters))


def replace(file: h5py.File, name: str, value: Any) -> None:
    del file[name]
    file[name] = value


WEIGHTS = "parameters/0_dense/weights"
#: A change to a valid file, and what the error must name: the place, what was expected, what was found.
TAMPERINGS: dict[str, tuple[Callable[[h5py.File], None], tuple[str, ...]]] = {
    "missing parameter": (lambda file: file.pop(WEIGHTS), ("/" + WEIGHTS, "(2, 5)", "nothing")),
    "missing group": (lambda file: file.pop("parameters/2_dense"), ("/parameters/2_dense/", "nothing")),
    "missing parameters": (lambda file: file.pop("parameters"), ("parameters",)),
    "extra parameter": (
        lambda file: file.update_with("parameters/0_dense/extra", np.zeros(4, "f4")),
        ("/parameters/0_dense/extra", "nothing", "(4,)"),
    ),
    "extra layer": (
        lambda file: file.update_with("parameters/9_dense/bias", np.zeros(4, "f4")),
        ("/parameters/9_dense/bias", "nothing", "(4,)"),
    ),
    "wrong shape": (
        lambda file: replace(file, WEIGHTS, np.zeros((5, 2), "f4")),
        ("/" + WEIGHTS, "(2, 5)", "(5, 2)"),
    ),
    "wrong precision": (
        lambda file: replace(file, WEIGHTS, np.zeros((2, 5), "f8")),
        ("/" + WEIGHTS, "float32", "float64"),
    ),
    "whole numbers": (
        lambda file: replace(file, WEIGHTS, np.zeros((2, 5), "i4")),
        ("/" + WEIGHTS, "float32", "int32"),
    ),
    "other format": (
        lambda file: file.attrs.__setitem__("format", "keras"),
        ("attribute format", "'trainyard-checkpoint'", "'keras'"),
    ),
    "later format": (
        lambda file: file.attrs.__setitem__("format_version", 3),
        ("attribute format_version", "1 or 2", "3"),
    ),
    "no format": (lambda file: file.attrs.__delitem__("format"), ("attribute format", "None")),
    "no definition": (lambda file: file.attrs.__delitem__("definition"), ("definition",)),
    "broken definition": (lambda file: file.attrs.__setitem__("definition", "{"), ("a checkpoint",)),
    "invalid definition": (
        lambda file: file.attrs.__setitem__("definition", "{}"),
        ("attribute definition", "a valid definition"),
    ),
}
#: The same for faults that only a full load finds.
MORE_TAMPERINGS: dict[str, tuple[Callable[[h5py.File], None], tuple[str, ...]]] = {
    "missing moment": (
        lambda file: file.pop("optimizer/square_sum/0_dense/weights"),
        ("/optimizer/square_sum/0_dense/weights", "(2, 5)", "nothing"),
    ),
    "missing moments": (
        lambda file: file.pop("optimizer/square_sum"),
        ("/optimizer", "'gradient_sum'", "'square_sum'"),
    ),
    "extra moments": (
        lambda file: file.update_with("optimizer/velocity/0_dense/bias", np.zeros(5, "f4")),
        ("/optimizer", "velocity"),
    ),
    "moment of another shape": (
        lambda file: replace(file, "optimizer/gradient_sum/0_dense/bias", np.zeros(4, "f4")),
        ("/optimizer/gradient_sum/0_dense/bias", "(5,)", "(4,)"),
    ),
    "moment of another type": (
        lambda file: replace(file, "optimizer/gradient_sum/0_dense/bias", np.zeros(5, "f8")),
        ("/optimizer/gradient_sum/0_dense/bias", "float32", "float64"),
    ),
    "unknown optimizer": (lambda file: file["optimizer"].attrs.__setitem__("type", "adamx"), ("adamx",)),
    "unknown hyperparameter": (
        lambda file: file["optimizer"].attrs.__setitem__("hyperparameters", '{"lr": 1}'),
        ("lr",),
    ),
    "unknown kernels": (
        lambda file: file.attrs.__setitem__("kernels", "cuda"),
        ("attribute kernels", "'numpy' or 'llvm'", "'cuda'"),
    ),
    "no permutation": (lambda file: file.pop("training/permutation"), ("permutation",)),
    "no rows": (lambda file: file.pop("training/rows"), ("rows",)),
    "no step": (lambda file: file["training"].attrs.__delitem__("step"), ("step",)),
    "no streams": (lambda file: file["training"].attrs.__delitem__("streams"), ("streams",)),
    "a column of another length": (
        lambda file: replace(file, "history/loss", np.zeros(1)),
        ("a checkpoint",),
    ),
    "no column": (lambda file: file.pop("history/loss"), ("loss",)),
    "extra column": (lambda file: file.update_with("history/extra", np.zeros(3)), ("extra",)),
}


class _Editable(h5py.File):
    """A file with the two calls that a lambda needs."""

    def pop(self, name: str) -> None:
        del self[name]

    def update_with(self, name: str, value: Any) -> None:
        self[name] = value


class TestTampering:
    """A file that does not match its definition exactly is refused; the error has path, expected, found."""

    @pytest.mark.parametrize("kind", TAMPERINGS)
    @pytest.mark.parametrize("read", [load_checkpoint, map_parameters])
    def test_parameters(self, path: Path, kind: str, read: Callable[[Path], Any]) -> None:
        self.check(path, *TAMPERINGS[kind], read)

    @pytest.mark.parametrize("kind", MORE_TAMPERINGS)
    def test_state(self, path: Path, kind: str) -> None:
        self.check(path, *MORE_TAMPERINGS[kind], load_checkpoint)

    @staticmethod
    def check(
        path: Path, tamper: Callable[[h5py.File], None], words: tuple[str, ...], read: Callable[[Path], Any]
    ) -> None:
        save_checkpoint(path, a_checkpoint())
        read(path)
        with _Editable(path, "r+") as file:
            tamper(file)
        with pytest.raises(CheckpointError) as refusal:
            read(path)
        text = str(refusal.value)
        assert text.startswith(f"{path.name}: /")
        assert "expected" in text
        assert "found" in text
        assert [word for word in words if word not in text] == []

    @pytest.mark.parametrize("read", [load_checkpoint, map_parameters])
    @pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.95])
    def test_a_truncated_file(self, path: Path, share: float, read: Callable[[Path], Any]) -> None:
        save_checkpoint(path, a_checkpoint())
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(CheckpointError, match=path.name):
            read(path)

    @pytest.mark.parametrize("read", [load_checkpoint, map_parameters])
    def test_no_file_at_all(self, path: Path, read: Callable[[Path], Any]) -> None:
        with pytest.raises(CheckpointError, match=path.name):
            read(path)

    @pytest.mark.parametrize("kind", ["soft", "external"])
    def test_a_parameter_that_is_only_a_link_is_not_mapped(self, path: Path, kind: str) -> None:
        """Links that HDF5 would follow silently, even into another file."""
        save_checkpoint(path, a_checkpoint())
        save_checkpoint(path.with_name("other.h5"), a_checkpoint())
        with h5py.File(path, "r+") as file:
            del file[WEIGHTS]
            aim = "/elsewhere" if kind == "soft" else f"/{WEIGHTS}"
            link = h5py.SoftLink(aim) if kind == "soft" else h5py.ExternalLink("other.h5", aim)
            file["elsewhere"] = np.zeros((2, 5), np.float32)
            file[WEIGHTS] = link
        with pytest.raises(CheckpointError, match=f"/{WEIGHTS}: expected a hard link"):
            map_parameters(path)

    def test_a_group_in_a_parameters_place(self, path: Path) -> None:
        save_checkpoint(path, a_checkpoint())
        with h5py.File(path, "r+") as file:
            del file[WEIGHTS]
            file.create_group(WEIGHTS)
        with pytest.raises(CheckpointError, match=f"/{WEIGHTS}: .* found a group"):
            map_parameters(path)

    def test_a_chunked_parameter_cannot_be_mapped(self, path: Path) -> None:
        save_checkpoint(path, a_checkpoint())
        with h5py.File(path, "r+") as file:
            values = file[WEIGHTS][()]
            del file[WEIGHTS]
            file.create_dataset(WEIGHTS, data=values, chunks=(1, 5))
        with pytest.raises(CheckpointError, match="contiguous"):
            map_parameters(path)


class TestDurably:
    """A file is complete or absent."""

    def test_a_failing_flush_leaves_nothing(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        checkpoint = a_checkpoint()
        monkeypatch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="No space left"):
            save_checkpoint(path, checkpoint)
        assert list(path.parent.iterdir()) == []

    def test_a_failing_flush_leaves_an_older_file_alone(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_durably(path, [memoryview(b"old")])
        monkeypatch.setattr(os, "fsync", lambda _descriptor: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(OSError, match="full"):
            write_durably(path, [memoryview(b"new")])
        assert path.read_bytes() == b"old"
        assert [entry.name for entry in path.parent.iterdir()] == [path.name]

    def test_what_does_not_read_back_is_not_kept(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        flip = os.preadv

        def damaged(descriptor: int, buffers: list[Any], offset: int) -> int:
            count = flip(descriptor, buffers, offset)
            buffers[0][0] ^= 1
            return count

        monkeypatch.setattr(os, "preadv", damaged)
        with pytest.raises(OSError, match="does not read back"):
            write_durably(path, [memoryview(b"con"), memoryview(b"tent")])
        assert list(path.parent.iterdir()) == []

    def test_the_content_is_flushed_before_the_name_and_the_directory_after(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[tuple[str, list[str]]] = []
        flush = os.fsync

        def note(descriptor: int) -> None:
            target = Path(f"/proc/self/fd/{descriptor}").readlink()
            seen.append((str(target), sorted(entry.name for entry in path.parent.iterdir())))
            flush(descriptor)

        monkeypatch.setattr(os, "fsync", note)
        write_durably(path, [memoryview(b"con"), memoryview(b"tent")])
        (first, names_before), (second, names_after) = seen
        assert first.endswith(".partial")
        assert [Path(first).name] == names_before
        assert (second, names_after) == (str(path.parent), [path.name])

    def test_nobody_sees_half_a_file(self, path: Path) -> None:
        with pytest.raises(RuntimeError, match="in the middle"):
            write_durably(path, hdf5_image(_break_off))
        assert list(path.parent.iterdir()) == []


def _break_off(file: h5py.File, put: Put) -> None:
    put("a", np.zeros(1000))
    put("b", np.zeros(100_000))
    raise RuntimeError("in the middle")


def test_a_sweep_removes_what_dead_writers_left_and_nothing_else(tmp_path: Path) -> None:
    """A file whose writer lives is locked."""
    (tmp_path / "ckpt_1.h5").write_bytes(b"whole")
    dead, alive = tmp_path / ".ckpt_2.h5.00.partial", tmp_path / ".ckpt_3.h5.00.partial"
    dead.write_bytes(b"half")
    with alive.open("xb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert sweep(tmp_path) == [dead.name]
        assert sorted(path.name for path in tmp_path.iterdir()) == [alive.name, "ckpt_1.h5"]
    assert sweep(tmp_path) == [alive.name]


@pytest.mark.processes
def test_a_killed_writer_leaves_what_a_sweep_finds(tmp_path: Path) -> None:
    """A real process, killed between the write and the rename."""
    code = (
        "import os, pathlib, signal, sys\n"
        "from models.formats import durable as files\n"
        "files._require_same = lambda file, content: os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.write_durably(pathlib.Path(sys.argv[1]), [memoryview(b'content')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "ckpt_1.h5")], cwd=Path(__file__).parents[3])
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert sweep(tmp_path) == [left.name]
    assert list(tmp_path.iterdir()) == []
