"""CSV files: valid files, the row and column of each error; and the file of a dataset."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.csv_rows import from_csv
from models.data.dataset import Dataset, from_rows
from models.errors import InvalidError, Problem
from models.formats.dataset_file import load_dataset
from models.formats.durable import record_of
from testing.saving import save_dataset

IRIS = b"width,length,species\n0.5,1.5,setosa\n2,3e1,virginica\n"


def refusal(content: bytes, label: str = "species") -> Problem:
    with pytest.raises(InvalidError) as refused:
        from_csv(content, label)
    (problem,) = refused.value.problems
    assert refused.value.code == "validation_failed"
    assert problem.detail
    return problem


def same(one: Dataset, other: Dataset) -> bool:
    return (
        np.array_equal(one.inputs, other.inputs)
        and np.array_equal(one.labels.codes, other.labels.codes)
        and one.labels.classes == other.labels.classes
        and one.labels.kind == other.labels.kind
        and one.features == other.features
    )


def test_a_plain_file() -> None:
    dataset = from_csv(IRIS, "species")
    assert dataset.features == ("width", "length")
    assert dataset.inputs.tolist() == [[0.5, 1.5], [2.0, 30.0]]
    assert dataset.labels.classes == ("setosa", "virginica")
    assert dataset.labels.codes.tolist() == [0, 1]


@pytest.mark.parametrize(
    "content",
    [
        IRIS.replace(b"\n", b"\r\n"),
        IRIS.rstrip(b"\n"),
        b"\xef\xbb\xbf" + IRIS,
        IRIS.replace(b"\n", b"\n\n"),
        b"\n\n" + IRIS + b"\n\n\n",
        b'"width","length","species"\n"0.5","1.5","setosa"\n"2","3e1","virginica"\n',
        b" width , length , species \n 0.5 ,1.5 ,setosa\n2,+30.0,virginica\n",
    ],
    ids=["CRLF", "no last newline", "BOM", "empty lines", "empty lines around", "quotes", "blanks around"],
)
def test_forms_of_the_same_file(content: bytes) -> None:
    assert same(from_csv(content, "species"), from_csv(IRIS, "species"))


def test_the_labels_may_stand_in_any_column() -> None:
    first = from_csv(b"species,width,length\nsetosa,0.5,1.5\nvirginica,2,3e1\n", "species")
    middle = from_csv(b"width,species,length\n0.5,setosa,1.5\n2,virginica,3e1\n", "species")
    assert same(first, from_csv(IRIS, "species"))
    assert same(middle, from_csv(IRIS, "species"))


def test_quotes_may_hold_commas_quotes_and_line_ends() -> None:
    content = b'"a, b","say ""x""",label\r\n1,2,"two\r\nlines"\r\n3,4,"with, comma"\r\n'
    dataset = from_csv(content, "label")
    assert dataset.features == ("a, b", 'say "x"')
    assert dataset.labels.classes == ("two\r\nlines", "with, comma")


def test_many_columns_are_looked_through_once() -> None:
    names = ",".join(f"x{number}" for number in range(40_000))
    row = "1," * 40_000
    begin = time.process_time()
    assert len(from_csv(f"{names},label\n{row}a\n{row}b\n".encode(), "label").features) == 40_000
    assert time.process_time() - begin < 3.0


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["10", "9", "-1"], (-1, 9, 10)),
        (["0", "1", "1"], (0, 1)),
        (["9007199254740991", "-9007199254740991"], (-(2**53) + 1, 2**53 - 1)),
        (["9007199254740992", "1"], ("1", "9007199254740992")),
        (["1180591620717411303424", "5"], ("1180591620717411303424", "5")),
        (["007", "7", "8"], ("007", "7", "8")),
        (["+7", "8", "9"], ("+7", "8", "9")),
        (["1.0", "2", "3"], ("1.0", "2", "3")),
        (["1_0", "2", "3"], ("1_0", "2", "3")),
        (["-0", "1", "2"], ("-0", "1", "2")),
        ([" 1", "2", "3"], (" 1", "2", "3")),
        (["1", "2", "x"], ("1", "2", "x")),
        (["٣", "1", "2"], ("1", "2", "٣")),
    ],
)
def test_labels_are_integers_only_where_all_print_back_alike(labels: list[str], classes: tuple[Any, ...]) -> None:
    content = "x,label\n" + "".join(f"1,{label}\n" for label in labels)
    dataset = from_csv(content.encode(), "label")
    assert dataset.labels.classes == classes
    assert [str(dataset.labels.classes[code]) for code in dataset.labels.codes] == labels


def test_labels_of_a_file_match_classes_that_are_strings() -> None:
    dataset = from_csv(b"x,label\n1,7\n2,8\n", "label")
    assert dataset.labels.classes == (7, 8)
    assert dataset.codes_for(("8", "7"), "").tolist() == [1, 0]
    assert dataset.codes_for((8, 7), "").tolist() == [1, 0]


@pytest.mark.parametrize(
    ("cell", "received"),
    [
        (b"abc", "abc"),
        (b"", "empty"),
        (b"nan", "nan"),
        (b"inf", "inf"),
        (b"-Infinity", "Infinity"),
        (b"1e999", "1e999"),
        (b"1_000", "1_000"),
        (b"0x10", "0x10"),
        (b"1;2", "1;2"),
        (b"true", "true"),
        (b'"1,5"', "1,5"),
    ],
)
def test_a_bad_cell_is_refused_with_its_row_and_column(cell: bytes, received: str) -> None:
    problem = refusal(b"width,length,species\n0.5,1.5,a\n1,2,b\n3," + cell + b",a\n")
    assert (problem.row, problem.column) == (3, "length")
    assert received in problem.detail


def test_rows_are_counted_over_empty_lines_as_rows_of_data() -> None:
    assert refusal(b"w,species\n\n1,a\n\n\nx,b\n").row == 2


def test_an_empty_label_is_refused() -> None:
    problem = refusal(b"width,species\n1,a\n2,\n")
    assert (problem.row, problem.column) == (2, "species")


@pytest.mark.parametrize("line", [b"1,2\n", b"1,2,a,4\n", b"1\n"])
def test_a_row_of_another_width_is_refused(line: bytes) -> None:
    problem = refusal(b"width,length,species\n1,2,a\n" + line)
    assert problem.row == 2
    assert "3 cells" in problem.detail


def test_numbers_of_any_finite_size_are_taken() -> None:
    dataset = from_csv(b"a,b,label\n1e308,1e308,x\n-1.7e308,5e-324,y\n", "label")
    assert dataset.inputs.tolist() == [[1e308, 1e308], [-1.7e308, 5e-324]]


def test_a_missing_label_column_is_refused_with_those_there_are() -> None:
    problem = refusal(IRIS, "kind")
    assert problem.pointer == "/label"
    assert "width, length, species" in problem.detail
    assert "'kind'" in problem.detail


@pytest.mark.parametrize("header", [b"width,width,species", b"width, width,species", b"width,species,species"])
def test_columns_must_have_names_of_their_own(header: bytes) -> None:
    problem = refusal(header + b"\n1,2,a\n")
    assert problem.row == 0
    assert "same name" in problem.detail


@pytest.mark.parametrize("header", [b"width,,species", b",width,species", b"width, ,species"])
def test_columns_must_have_names(header: bytes) -> None:
    problem = refusal(header + b"\n1,2,a\n")
    assert problem.row == 0
    assert "no name" in problem.detail


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_nothing_is_no_file(content: bytes) -> None:
    assert "column names" in refusal(content).detail


def test_a_header_alone_is_refused() -> None:
    assert "at least one row" in refusal(b"width,species\n").detail


def test_labels_alone_are_refused() -> None:
    assert "beside the labels" in refusal(b"species\na\n").detail


@pytest.mark.parametrize("content", [b"width,species\n1,\xff\n", IRIS.decode().encode("utf-16"), b"a\xe9,species\n1,x"])
def test_another_encoding_is_refused(content: bytes) -> None:
    assert "UTF-8" in refusal(content).detail


@pytest.mark.parametrize("line", [b'1,"a\n2,b\n', b'1,"a"b\n'], ids=["never closed", "text after"])
def test_broken_quotes_are_refused_with_their_row(line: bytes) -> None:
    problem = refusal(b"w,species\n1,a\n" + line)
    assert "is not CSV" in problem.detail
    assert problem.row == 2


def test_a_cell_of_a_megabyte_is_no_reason_to_fail() -> None:
    problem = refusal(b"w,species\n" + b"1" * 2**20 + b",a\n")
    assert problem.row == 1


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zs"]), min_size=1, max_size=6)


def _named(columns: list[str]) -> bool:
    return all(column.strip() for column in columns)


@given(st.data())
def test_random_files_against_the_csv_module(data: st.DataObject) -> None:
    columns = data.draw(
        st.lists(NAMES, min_size=2, max_size=5, unique_by=str.strip).filter(lambda x: all(map(str.strip, x)))
    )
    place = data.draw(st.integers(0, len(columns) - 1))
    rows = data.draw(st.lists(st.lists(NUMBERS, min_size=len(columns), max_size=len(columns)), min_size=1, max_size=6))
    labels = data.draw(st.lists(st.text(min_size=1, max_size=4), min_size=len(rows), max_size=len(rows)))
    # With minimal quoting, the writer leaves a lone carriage return bare, which no reader restores.
    bare = any("\r" in label for label in labels)
    text = io.StringIO(newline="")
    writer = csv.writer(
        text,
        quoting=csv.QUOTE_ALL if bare else data.draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        lineterminator=data.draw(st.sampled_from(["\n", "\r\n"])),
    )
    writer.writerow(columns)
    for row, label in zip(rows, labels, strict=True):
        writer.writerow([*map(repr, row[:place]), label, *map(repr, row[place + 1 :])])
    content = text.getvalue()

    dataset = from_csv(content.encode(), columns[place].strip())

    _, *lines = csv.reader(io.StringIO(content, newline=""))
    assert dataset.inputs.tolist() == [[float(cell) for i, cell in enumerate(line) if i != place] for line in lines]
    assert [str(dataset.labels.classes[code]) for code in dataset.labels.codes] == [line[place] for line in lines]
    assert list(dataset.labels.classes) == sorted(set(dataset.labels.classes))


def test_a_large_random_file_against_numpy() -> None:
    generator = np.random.default_rng(5)
    matrix = generator.normal(size=(500, 7)) * 10.0 ** generator.integers(-30, 30, (500, 7))
    labels = generator.integers(-3, 4, 500)
    text = io.StringIO()
    np.savetxt(
        text,
        np.column_stack([matrix, labels]),
        fmt=["%.17g"] * 7 + ["%d"],
        delimiter=",",
        header=",".join([*"abcdefg", "label"]),
        comments="",
    )
    dataset = from_csv(text.getvalue().encode(), "label")
    assert np.array_equal(dataset.inputs, matrix)
    assert np.array_equal(np.array(dataset.labels.classes)[dataset.labels.codes], labels)


class TestFile:
    """The HDF5 file of a dataset."""

    @pytest.mark.parametrize(
        "dataset",
        [
            from_csv(IRIS, "species"),
            from_csv(b"x,label\n1,7\n2,8\n", "label"),
            from_rows([[0.1, 2], [3, 4]], ["", "ü\n"]),
            from_rows([[1e300], [2]], [[0, 1, 0], [1, 0, 0]]),
            from_rows([[1], [2]], [2**62, -5]),
        ],
        ids=["strings", "text integers", "odd strings", "one-hot", "large integers"],
    )
    def test_what_is_saved_is_loaded(self, tmp_path: Path, dataset: Dataset) -> None:
        record = save_dataset(tmp_path / "data.h5", dataset)
        assert same(load_dataset(tmp_path / "data.h5"), dataset)
        assert record == record_of(tmp_path / "data.h5")
        assert [path.name for path in tmp_path.iterdir()] == ["data.h5"]

    @pytest.mark.parametrize(
        ("cell", "dtype"),
        [(0.5, "float32"), (2.0**24, "float32"), (0.1, "float64"), (2.0**24 + 1, "float64"), (1e39, "float64")],
    )
    def test_single_precision_is_used_where_it_loses_nothing(self, tmp_path: Path, cell: float, dtype: str) -> None:
        save_dataset(tmp_path / "data.h5", from_rows([[cell], [0.0]], [0, 1]))
        with h5py.File(tmp_path / "data.h5") as file:
            assert file["inputs"].dtype == dtype
        assert load_dataset(tmp_path / "data.h5").inputs.tolist() == [[cell], [0.0]]

    def test_any_tool_can_read_it(self, tmp_path: Path) -> None:
        save_dataset(tmp_path / "data.h5", from_csv(IRIS, "species"))
        with h5py.File(tmp_path / "data.h5") as file:
            assert (file.attrs["format"], file.attrs["format_version"]) == ("trainyard-dataset", 1)
            assert json.loads(file.attrs["features"]) == ["width", "length"]
            assert json.loads(file["classes"][()].tobytes()) == ["setosa", "virginica"]
            assert file["labels"][()].tolist() == [0, 1]
            assert file["inputs"][()].tolist() == [[0.5, 1.5], [2.0, 30.0]]

    @pytest.mark.parametrize(("name", "value"), [("format", "other"), ("format_version", 2)])
    def test_another_format_is_refused(self, tmp_path: Path, name: str, value: Any) -> None:
        save_dataset(tmp_path / "data.h5", from_csv(IRIS, "species"))
        with h5py.File(tmp_path / "data.h5", "r+") as file:
            file.attrs[name] = value
        with pytest.raises(OSError, match="is not a trainyard-dataset"):
            load_dataset(tmp_path / "data.h5")

    @pytest.mark.parametrize("damage", ["missing", "cut", "emptied", "not JSON"])
    def test_a_damaged_file_is_reported_by_its_name(self, tmp_path: Path, damage: str) -> None:
        path = tmp_path / "data.h5"
        save_dataset(path, from_csv(IRIS, "species"))
        if damage == "missing":
            path.unlink()
        elif damage == "cut":
            path.write_bytes(path.read_bytes()[:200])
        else:
            with h5py.File(path, "r+") as file:
                if damage == "emptied":
                    del file["labels"]
                else:
                    file.attrs["features"] = "["
        with pytest.raises(OSError) as refused:
            load_dataset(path)
        assert refused.value.filename == str(path)
        assert refused.value.strerror
        assert str(tmp_path) not in refused.value.strerror
