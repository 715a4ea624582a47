"""Forms of CSV that say the same: line ends, empty lines, quotes, spaces; wide tables, large cells, codes as labels."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import pytest

from models.data.labels import classes_of
from models.data.table import MemoryTable
from models.data.words import MISSING_WORDS
from models.reading.cells import NumberForm
from models.reading.dialect import dialect_of, normalize, rows_of
from models.reading.options import ReadOptions
from tests.models.reading.support import cells, read

IRIS = b"width,length,species\n0.5,1.5,setosa\n2,3e1,virginica\n"


def values(table: MemoryTable) -> dict[str, list[Any]]:
    return {column.name: cells(table, column.name) for column in table.columns}


@pytest.mark.parametrize(
    "content",
    [
        IRIS.replace(b"\n", b"\r\n"),
        IRIS.rstrip(b"\n"),
        b"\xef\xbb\xbf" + IRIS,
        IRIS.replace(b"\n", b"\n\n"),
        b"\n\n" + IRIS + b"\n\n\n",
        (b"\n" + IRIS).replace(b"\n", b"\r\n"),
        b'"width","length","species"\n"0.5","1.5","setosa"\n"2","3e1","virginica"\n',
        b" width , length , species \n 0.5 ,1.5 ,setosa\n2,+30.0,virginica\n",
    ],
    ids=["CRLF", "no last line end", "BOM", "empty lines", "empty lines around", "an empty CRLF", "quotes", "spaces"],
)
def test_forms_of_the_same_file(content: bytes) -> None:
    assert values(read(content, label="species")) == {
        "width": [0.5, 2.0],
        "length": [1.5, 30.0],
        "species": ["setosa", "virginica"],
    }


def test_the_labels_may_be_in_any_column() -> None:
    first = read(b"species,width,length\nsetosa,0.5,1.5\nvirginica,2,3e1\n", label="species")
    assert values(first) == values(read(IRIS, label="species"))


def test_quotes_may_hold_commas_quotes_and_line_ends() -> None:
    content = b'"a, b","say ""x""",label\r\n1,2,"two\r\nlines"\r\n3,4,"with, comma"\r\n'
    table = read(content, label="label")
    assert values(table) == {"a, b": [1.0, 3.0], 'say "x"': [2.0, 4.0], "label": ["two\r\nlines", "with, comma"]}


def test_a_sign_in_a_name_is_no_delimiter() -> None:
    """Split at the bar, the header is two cells, and the quotes below it make no sense."""
    table = read(b'name,tab|pipe,label\n"""q""",4,x\ny & z,1,y\n"""q""",2,x\n', label="label")
    assert values(table) == {
        "name": ['"q"', "y & z", '"q"'],
        "tab|pipe": [4.0, 1.0, 2.0],
        "label": ["x", "y", "x"],
    }


def test_a_file_that_is_written_again_has_the_same_rows() -> None:
    """With every sign in its cells that means something to a reader."""
    rows = [["a", "b"], ["x\ry", "p\nq"], ['"', ","], ["'", "\r\n"], ["", " "], ["\r", ";"]]
    content = "\r\n".join(";".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows)
    with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as plain:
        file.write(content.encode())
        file.flush()
        dialect, _ = dialect_of(file.fileno(), ReadOptions())
        again = normalize(file.fileno(), dialect, plain.fileno())
        assert [row.cells for row in rows_of(plain.fileno(), again)] == rows


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["10", "9", "-1"], (-1, 9, 10)),
        (["9007199254740991", "-9007199254740991"], (-(2**53) + 1, 2**53 - 1)),
        (["007", "7", "8"], ("007", "7", "8")),
        (["1.0", "2", "3"], (1, 2, 3)),
        (["1_0", "2", "3"], ("1_0", "2", "3")),
        (["1", "2", "x"], ("1", "2", "x")),
        (["٣", "1", "2"], ("1", "2", "٣")),
    ],
)
def test_labels_are_numbers_only_if_all_are(labels: list[str], classes: tuple[Any, ...]) -> None:
    content = "x,label\n" + "".join(f"{row}.5,{label}\n" for row, label in enumerate(labels))
    assert classes_of(read(content.encode(), label="label").read("label")).classes == classes


def test_numbers_of_any_finite_size_are_taken() -> None:
    table = read(b"a,b,label\n1e308,1e308,x\n-1.7e308,5e-324,y\n", label="label")
    assert values(table) == {"a": [1e308, -1.7e308], "b": [1e308, 5e-324], "label": ["x", "y"]}


def test_numbers_are_read_to_the_last_bit() -> None:
    random = np.random.default_rng(5)
    matrix = random.normal(size=(500, 7)) * 10.0 ** random.integers(-30, 30, (500, 7))
    lines = [",".join(map(repr, row)) + f",{'xy'[place % 2]}" for place, row in enumerate(matrix.tolist())]
    table = read("\n".join(["a,b,c,d,e,f,g,label", *lines]).encode(), label="label")
    assert np.array_equal(np.stack([table.read(name).values for name in "abcdefg"], axis=1), matrix)


def test_a_cell_of_a_megabyte_is_read() -> None:
    table = read(b"w,v,label\n" + b"x" * 2**20 + b",1,a\ny,3,b\n", label="label")
    assert [len(cell) for cell in cells(table, "w")] == [2**20, 1]


def test_a_thousand_columns_are_read() -> None:
    names = [f"x{place}" for place in range(1000)]
    rows = [",".join(str((place * 7 + row) % 9) for place in range(1000)) + f",{'ab'[row % 2]}" for row in range(5)]
    table = read("\n".join([",".join([*names, "label"]), *rows]).encode(), label="label")
    assert len(table.columns) == 1001
    for place in (0, 500, 999):
        assert cells(table, f"x{place}") == [float((place * 7 + row) % 9) for row in range(5)]


def test_the_sql_of_a_number_is_short() -> None:
    """The time that DuckDB takes to plan a query grows with its length: 0.4 s a hundred columns at 1,000 characters."""
    assert len(NumberForm().sql("c100", MISSING_WORDS, strict=True)) < 450
