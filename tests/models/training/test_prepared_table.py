"""Tables made ready for a run: split, fitted on training rows alone, matched by name, resumed to the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from models.data.table import MemoryTable
from models.definition.definition import ModelDefinition
from models.definition.features import OpenFeatures
from models.errors import InvalidError
from models.formats.checkpoint_file import CheckpointError, load_checkpoint
from models.formats.mapped_parameters import map_parameters
from models.training.prepared_table import PreparedTable
from nncore.arrays import Array
from testing.features import table_of
from testing.runs import Recorder, a_request
from testing.tables import a_frame, a_table, a_table_run, given_table, of_table


def prepared(table: MemoryTable, validation: MemoryTable | None = None, **request: Any) -> PreparedTable:
    other = None if validation is None else given_table(validation, pointer="/validation")
    return PreparedTable.of(of_table(table), a_request(**request), given_table(table), other)


def numbers(part: Any) -> Array:
    array: Array = part.inputs.expanded()
    return array


class TestSplit:
    def test_nothing_of_the_validation_rows_is_learned(self) -> None:
        """Held-out rows are changed beyond recognition: what is learned from the others stays the same to the bit."""
        frame = a_frame(80)
        before = prepared(a_table(frame), validation_fraction=0.25)
        held_out = np.setdiff1d(np.arange(80), before.rows)
        assert len(held_out) == 20
        planted = frame.copy()
        planted.loc[held_out, "age"] = 1e9
        planted.loc[held_out, "sex"] = "planted"
        planted.loc[held_out, "day"] = pd.Timestamp("1066-10-14")
        planted.loc[held_out[:5], ["member", "notes"]] = None
        after = prepared(a_table(planted), validation_fraction=0.25)
        assert after.fitted.width == before.fitted.width
        for name, array in before.fitted.arrays().items():
            assert np.array_equal(array, after.fitted.arrays()[name]), name
        assert np.array_equal(numbers(after.training), numbers(before.training))
        assert not np.array_equal(numbers(after.validation), numbers(before.validation))

    def test_validation_rows_of_the_request_teach_nothing_either(self) -> None:
        table, other = a_table(a_frame(40)), a_table(a_frame(30, seed=8).assign(age=1e9, sex="planted"))
        with_it, without = prepared(table, other), prepared(table)
        for name, array in without.fitted.arrays().items():
            assert np.array_equal(array, with_it.fitted.arrays()[name]), name
        assert with_it.validation_rows == 30

    def test_rows_without_a_label_are_left_out(self) -> None:
        frame = a_frame(30)
        frame.loc[[4, 9, 28], "label"] = None
        whole = prepared(a_table(frame))
        assert whole.rows.tolist() == [row for row in range(30) if row not in (4, 9, 28)]
        alone = prepared(a_table(frame.drop(index=[4, 9, 28]).reset_index(drop=True)))
        assert np.array_equal(numbers(whole.training), numbers(alone.training))
        split = prepared(a_table(frame), validation_fraction=0.3)
        assert not {4, 9, 28} & {*split.rows.tolist()}
        assert len(split.rows) + split.validation_rows == 27


class TestNames:
    def test_columns_in_another_order_are_the_same(self) -> None:
        frame = a_frame()
        other = frame[[*reversed(frame.columns)]].assign(more="x")
        definition = of_table(a_table(frame))
        one, two = (
            PreparedTable.of(definition, a_request(), given_table(a_table(each[[*each.columns]])))
            for each in (frame, other.drop(columns="more"))
        )
        assert np.array_equal(numbers(one.training), numbers(two.training))

    def test_all_columns_that_are_missing_are_named(self) -> None:
        definition = of_table(a_table())
        lacking = a_table(a_frame().drop(columns=["sex", "day"]))
        with pytest.raises(InvalidError) as refusal:
            PreparedTable.of(definition, a_request(), given_table(lacking))
        assert [problem.column for problem in refusal.value.problems] == ["sex", "day"]
        assert {problem.pointer for problem in refusal.value.problems} == {"/data/rows"}

    def test_a_value_that_fits_no_number_is_named_at_its_place(self) -> None:
        table = a_table()
        definition = of_table(table, features={"age": {"missing": "refuse"}})
        with pytest.raises(InvalidError) as refusal:
            PreparedTable.of(definition, a_request(), given_table(table))
        (problem,) = refusal.value.problems
        row = int(np.argmax(a_frame()["age"].isna()))
        assert (problem.pointer, problem.row, problem.column) == (f"/data/rows/{row}/age", row + 1, "age")

    def test_plain_inputs_take_the_names_of_the_columns(self) -> None:
        frame = a_frame()[["age", "label"]].dropna().assign(size=1.0)[["age", "size", "label"]]
        table = a_table(frame)
        plain = ModelDefinition.load({"name": "plain", "inputs": 2, "classes": ["no", "yes"], "hidden": [4]})
        definition = plain.for_table(table.columns, "label", None, table.rows)
        run = a_table_run(table, definition=definition)
        assert np.array_equal(
            numbers(run_part := PreparedTable.of(definition, a_request(), given_table(table)).training),
            frame[["age", "size"]].to_numpy(np.float32),
        )
        assert run_part.codes.tolist() == (frame["label"] == "yes").astype(int).tolist()
        assert run.definition.inputs == 2


class TestRuns:
    @pytest.mark.parametrize("place", [0, 1, 9, 17])
    @pytest.mark.parametrize("options", [{}, {"batch_size": "full"}, {"validation_fraction": 0.25, "publish": "best"}])
    def test_cut_and_resumed_it_ends_in_the_same_bits(
        self, tmp_path: Path, place: int, options: dict[str, Any]
    ) -> None:
        whole = Recorder(folder=tmp_path)
        assert a_table_run(**options).run(whole)
        (tmp_path / "cut").mkdir()
        cut = Recorder(stop_after=place, folder=tmp_path / "cut")
        if a_table_run(**options).run(cut):
            pytest.skip("the run is shorter")
        # The rows that come back may not be those that were fitted on, so nothing is fitted again.
        resumed = Recorder(folder=tmp_path / "cut")
        resumed.files = [*cut.files]
        assert a_table_run(resume=cut.newest(), **options).run(resumed)
        one, two = (load_checkpoint(recorder.files[-1]) for recorder in (whole, resumed))
        for mine, other in ((one.parameters, two.parameters), (one.features.arrays(), two.features.arrays())):  # type: ignore[union-attr]
            assert mine.keys() == other.keys()
            assert all(np.array_equal(mine[name], other[name]) for name in mine)
        assert [epoch.loss for epoch in one.history] == [epoch.loss for epoch in two.history]

    def test_a_warm_start_keeps_what_its_features_learned(self, tmp_path: Path) -> None:
        recorder = Recorder(folder=tmp_path)
        a_table_run().run(recorder)
        start = recorder.newest()
        other = a_table(a_frame(25, seed=9))
        run = a_table_run(other, start=start, definition=of_table(a_table()))
        assert start.features is not None
        assert run.fitted is start.features
        for name, array in start.parameters.items():
            assert np.array_equal(run.training.network.parameters[name], array)

    def test_batches_and_all_rows_at_once_are_the_same_numbers(self) -> None:
        """What a batch gathers is what the whole table becomes, whatever the order."""
        part = prepared(a_table()).training
        whole = numbers(part)
        order = np.random.default_rng(0).permutation(len(whole))[:17]
        out = np.full((17, whole.shape[1] + 1), 7, np.float32)
        for call in part.inputs.gather_calls(order, out):  # type: ignore[union-attr]
            call()
        assert np.array_equal(out[:, :-1], whole[order])
        assert (out[:, -1] == 1).all()

    def test_one_hot_columns_are_never_floats_for_all_rows(self) -> None:
        words = [f"w{place % 500:03}" for place in range(20_000)]
        frame = pd.DataFrame({"word": words, "label": ["yes", "no"] * 10_000}, dtype=object)
        table = table_of(word=(frame["word"], "category"), label=(frame["label"], "category"))
        ready = prepared(table)
        assert ready.fitted.width == 500
        assert ready.training.inputs.nbytes < 20_000 * 8  # type: ignore[union-attr]


class TestFile:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        recorder = Recorder(folder=tmp_path)
        a_table_run().run(recorder)
        return recorder.files[-1]

    def test_plain_h5py_reads_what_was_learned(self, path: Path) -> None:
        frame = a_frame()
        with h5py.File(path, "r") as file:
            assert sorted(file["features"]) == ["0_age", "1_sex", "2_member", "3_day", "4_notes"]
            age = file["features/0_age"]
            assert age["center"][0] == pytest.approx(frame["age"].mean())
            assert age["scale"][0] == pytest.approx(frame["age"].std(ddof=0))
            assert age["range"][()].tolist() == [frame["age"].min(), frame["age"].max()]
            assert age["fill"][0] == frame["age"].median()
            assert bytes(file["features/1_sex/levels"][()]) == b'["female", "male"]'
            counts = frame["sex"].value_counts()
            assert file["features/1_sex/counts"][()].tolist() == [counts["female"], counts["male"]]
            offsets = [item.id.get_offset() for item in _datasets(file["features"]) if item.size]
            assert None not in offsets

    def test_a_served_version_has_its_features(self, path: Path) -> None:
        definition, _, features, *_ = map_parameters(path)
        assert features is not None
        assert features.width == definition.inputs == load_checkpoint(path).definition.inputs
        assert not isinstance(definition.features, OpenFeatures)

    @pytest.mark.parametrize(
        ("place", "change", "found"),
        [
            ("features/0_age/scale", lambda array: array * 0, "scale must be greater than 0"),
            ("features/0_age/scale", lambda array: array.astype("f4"), "float32"),
            ("features/0_age/center", lambda array: array * np.nan, "finite"),
            ("features/1_sex/levels", lambda _: np.frombuffer(b'["a", "a"]', np.uint8), "different"),
            ("features/1_sex/levels", lambda _: np.frombuffer(b"not JSON", np.uint8), "Expecting value"),
            ("features/1_sex/counts", lambda array: array[:1], "counts"),
            ("features/1_sex/gaps", lambda array: 1 - array, "a width of"),
        ],
    )
    def test_a_file_that_does_not_fit_is_refused(self, path: Path, place: str, change: Any, found: str) -> None:
        with h5py.File(path, "r+") as file:
            array = change(file[place][()])
            del file[place]
            file[place] = array
        for read in (load_checkpoint, map_parameters):
            with pytest.raises(CheckpointError, match=found):
                read(path)


def _datasets(group: h5py.Group) -> list[h5py.Dataset]:
    found: list[h5py.Dataset] = []
    group.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    return found
