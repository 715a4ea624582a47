"""Files read into columns: each kind of file, each encoding, each case of what people send; pandas is the oracle."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from models.data.records import from_records, set_aside
from models.errors import InvalidError
from tests.models.reading.support import CASES, cells, details_of, read

FRAME = pd.DataFrame(
    {
        "größe": [1.5, None, -3.25, 1e-9, 12345.0] * 8,
        "wort": ["Hügel – Süd", "Tal", "a, b", 'with "quotes"', None] * 8,
        "wahr": [True, False, True, True, False] * 8,
        "wann": pd.to_datetime(
            ["2012-04-10", "2012-04-11 10:30", None, "1999-12-31", "2024-02-29"] * 8, format="mixed"
        ),
        "klasse": ["ja", "nein", "ja", "nein", "ja"] * 8,
    }
)


def assert_frame(table: Any) -> None:
    """The table has the values of FRAME."""
    kinds = {column.name: column.kind for column in table.columns}
    assert kinds == dict(zip(FRAME.columns, ("number", "category", "boolean", "datetime", "category"), strict=True))
    for name in FRAME.columns:
        expected: list[Any] = [None if pd.isna(value) else value for value in FRAME[name].tolist()]
        if name == "wahr":
            expected = [str(value).lower() for value in expected]
            assert [word.lower() for word in cells(table, name)] == expected
            continue
        assert cells(table, name) == expected, name


def as_csv(**options: Any) -> str:
    return FRAME.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%S", **options)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_csv_in_every_encoding(encoding: str) -> None:
    assert_frame(read(as_csv().encode(encoding)))


def test_latin_1_and_a_given_encoding() -> None:
    text = as_csv().replace("–", "-")
    table = read(text.encode("latin-1"))
    assert "größe" in [column.name for column in table.columns]
    assert details_of(text.encode("cp1250"), encoding="cp1250").format["encoding"] == "cp1250"
    with pytest.raises(InvalidError, match="must be UTF-8"):
        read(as_csv().encode("cp1252"), encoding="utf-8")


def test_a_byte_of_another_encoding_far_behind() -> None:
    """The beginning is ASCII; the whole file is read in the encoding of its end."""
    rows = "".join(f"{row},{'ab'[row % 2]},{'x' * 30}\n" for row in range(60_000))
    content = ("a,b,c\n" + rows + "1,Süd,y\n").encode("cp1252")
    table = read(content)
    assert cells(table, "b")[-1] == "Süd"
    assert table.rows == 60_001


@pytest.mark.parametrize("sep", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_csv_in_every_dialect(sep: str, ending: str) -> None:
    assert_frame(read(as_csv(sep=sep, lineterminator=ending).encode()))
    decimal = "," if sep != "," else "."
    assert_frame(read(as_csv(sep=sep, decimal=decimal, quoting=1).encode()))


@pytest.mark.parametrize("kind", ["ndjson", "json", "parquet"])
@pytest.mark.parametrize("packed", [False, True])
def test_files_with_types(kind: str, packed: bool) -> None:
    content = gzip.compress(TYPED[kind]()) if packed else TYPED[kind]()
    assert_frame(read(content))
    assert details_of(content).format["type"] == kind


def _json_text(*, lines: bool) -> bytes:
    text = FRAME.to_json(orient="records", lines=lines, date_format="iso", date_unit="s", force_ascii=False)
    return str(text).encode()


def _parquet() -> bytes:
    with duckdb.connect() as connection, tempfile.TemporaryDirectory() as folder:
        connection.register("frame", FRAME)
        path = Path(folder) / "a.parquet"
        connection.execute(f"COPY (SELECT * FROM frame) TO '{path}' (FORMAT parquet)")
        return path.read_bytes()


TYPED = {"ndjson": lambda: _json_text(lines=True), "json": lambda: _json_text(lines=False), "parquet": _parquet}


def test_zstd(tmp_path: Any) -> None:
    for name, options in (("a.csv", "FORMAT csv, HEADER"), ("a.json", "FORMAT json")):
        with duckdb.connect() as connection:
            connection.register("frame", FRAME)
            connection.execute(f"COPY (SELECT * FROM frame) TO '{tmp_path / name}' ({options}, COMPRESSION zstd)")
        assert (tmp_path / name).read_bytes()[:4] == b"\x28\xb5\x2f\xfd"
        assert_frame(read(tmp_path / name))


def test_whole_numbers_and_single_precision_of_parquet_stay_what_they_are(tmp_path: Any) -> None:
    path = tmp_path / "a.parquet"
    with duckdb.connect() as connection:
        query = "SELECT range * 7919 % 1000 + 9007199254740993 AS whole, (range / 3)::FLOAT AS single, "
        query += "CASE WHEN range % 2 = 0 THEN range END AS gaps, 1.5::DECIMAL(9, 2) * range AS money FROM range(1000)"
        connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    table = read(path)
    assert table.read("whole").values.dtype == np.int64
    assert cells(table, "whole") == [row * 7919 % 1000 + 9007199254740993 for row in range(1000)]
    assert table.read("single").values.dtype == np.float32
    assert cells(table, "gaps") == [row if row % 2 == 0 else None for row in range(1000)]
    assert cells(table, "money") == [1.5 * row for row in range(1000)]


class TestCases:
    """The small files of ../shared/cases."""

    def test_booleans(self) -> None:
        table = read(CASES / "booleans.csv", label="ok")
        assert {column.name: column.levels for column in table.columns} == {
            "smoker": ("no", "yes"),
            "member": ("FALSE", "TRUE"),
            "ok": ("false", "true"),
        }

    def test_categories(self) -> None:
        table = read(CASES / "categories.csv", label="choice")
        frame = pd.read_csv(CASES / "categories.csv")
        assert cells(table, "color") == frame["color"].tolist()
        assert cells(table, "hours") == frame["hours"].tolist()

    @pytest.mark.parametrize("name", ["cp1252.csv", "utf-16.csv"])
    def test_encodings(self, name: str) -> None:
        table = read(CASES / name, label="Straße")
        frame = pd.read_csv(CASES / name, encoding=name.removesuffix(".csv"))
        assert [column.name for column in table.columns] == ["größe", "länge", "Straße"]
        assert set(table.columns[2].levels) == {"Tal", "Hügel – Süd"}
        for column in frame:
            assert cells(table, str(column)) == frame[column].tolist()

    @pytest.mark.parametrize("name", ["missing-empty.csv", "missing-NA.csv"])
    def test_missing_numbers(self, name: str) -> None:
        assert cells(read(CASES / name), "b") == [2, 1, None, 1]
        assert details_of(CASES / name).profile[1]["missing"] == 1

    def test_a_missing_label(self) -> None:
        table, details = (
            read(CASES / "missing-label.csv", label="y"),
            details_of(CASES / "missing-label.csv", label="y"),
        )
        assert cells(table, "y") == ["u", "v", "v"]
        assert cells(table, "b") == [2, 1, 1]
        assert [(each.code, each.column) for each in details.warnings] == [("rows_without_label", "y")]
        assert details.warnings[0].detail.startswith("1 row")

    def test_no_header(self) -> None:
        details = details_of(CASES / "no-header.csv")
        assert [column.name for column in details.columns] == ["column_1", "column_2", "column_3"]
        assert "no_header" in [each.code for each in details.warnings]
        assert read(CASES / "no-header.csv").rows == 12
        assert read(CASES / "no-header.csv", header=True).rows == 11

    @pytest.mark.parametrize(
        ("name", "sep", "decimal"), [("semicolon-decimal-comma.csv", ";", ","), ("tab.tsv", "\t", ".")]
    )
    def test_delimiters(self, name: str, sep: str, decimal: str) -> None:
        table = read(CASES / name)
        frame = pd.read_csv(CASES / name, sep=sep, decimal=decimal)
        assert [column.kind for column in table.columns] == ["number", "number", "category"]
        for column in frame:
            assert cells(table, str(column)) == frame[column].tolist()
        assert details_of(CASES / name).format["delimiter"] == sep

    def test_spaces(self) -> None:
        assert set(read(CASES / "space-after-comma.csv").columns[2].levels) == {"ja", "nein"}
        table = read(CASES / "space-before-quote.csv")
        assert [column.name for column in table.columns] == ["w", "h", "k"]
        assert set(table.columns[2].levels) == {"ja, x", "nein, x"}

    def test_thousands(self) -> None:
        table = read(CASES / "thousands.csv")
        assert cells(table, "income")[:2] == [1250, 23900]
        assert cells(table, "price")[:2] == [10.5, 99]
        assert cells(table, "share")[:2] == [0.12, 0.8]

    def test_an_index_without_a_name(self) -> None:
        details = details_of(CASES / "unnamed-index.csv")
        assert details.columns[0].name == "column_1"
        assert details.columns[0].reason == "counts the rows"
        assert ("column_set_aside", "column_1") in [(each.code, each.column) for each in details.warnings]
        assert [column.reason for column in details.columns[1:]] == [None] * 3


class TestKinds:
    """What columns are taken for."""

    @pytest.mark.parametrize(
        ("written", "order"),
        [
            (["31.12.2024", "1.2.2024", "05.06.2023"], "%d.%m.%Y"),
            (["31/12/2024", "01/02/2024", "05/06/2023"], "%d/%m/%Y"),
            (["12/31/2024", "02/01/2024", "06/05/2023"], "%m/%d/%Y"),
            (["31-Dec-2024", "01-Feb-2024", "05-Jun-2023"], "%d-%b-%Y"),
            (["Dec 31, 2024", "Feb 1, 2024", "Jun 5, 2023"], "%b %d, %Y"),
            (["2024-12-31", "2024-02-01", "2023-06-05"], "iso"),
            (["2024/12/31", "2024/02/01", "2023/06/05"], "iso"),
        ],
    )
    def test_dates(self, written: list[str], order: str) -> None:
        content = "when;y\n" + "".join(f"{date};{'ab'[row]}\n" for row, date in enumerate(written) for row in (0, 1))
        table, details = read(content.encode()), details_of(content.encode())
        expected = [datetime(2024, 12, 31), datetime(2024, 2, 1), datetime(2023, 6, 5)]  # noqa: DTZ001
        assert cells(table, "when") == [date for date in expected for _ in range(2)]
        assert details.format["dates"] == order

    def test_times_with_a_zone_are_utc(self) -> None:
        content = b"t,y\n2024-01-01T10:00:00+02:00,a\n2024-01-01T10:00:00Z,b\n2024-01-01 10:00:00.5,a\n"
        assert cells(read(content), "t") == [
            datetime(2024, 1, 1, 8),  # noqa: DTZ001
            datetime(2024, 1, 1, 10),  # noqa: DTZ001
            datetime(2024, 1, 1, 10, 0, 0, 500_000),  # noqa: DTZ001
        ]

    def test_codes_with_leading_zeros_are_words_wherever_they_stand(self) -> None:
        rows = [f"{10000 + row},{row % 7}" for row in range(5000)]
        rows[3000] = "01234,1"
        table = read(("zip,y\n" + "\n".join(rows)).encode())
        assert table.columns[0].kind == "text"
        assert cells(table, "zip")[3000] == "01234"
        assert cells(table, "zip")[0] == "10000"

    def test_words_far_behind_numbers_make_a_column_of_words(self) -> None:
        rows = [str(row % 3) for row in range(9000)]
        rows[5000:8000] = ["three or more"] * 3000
        details = details_of(("n,y\n" + "\n".join(f"{cell},{row % 5}" for row, cell in enumerate(rows))).encode())
        assert details.columns[0].kind == "category"
        assert set(details.columns[0].levels) == {"0", "1", "2", "three or more"}
        assert ("mixed_column", "n") in [(each.code, each.column) for each in details.warnings]

    def test_booleans_are_found_in_the_end(self) -> None:
        """The first 6,000 rows have one of the words only."""
        content = "b,y\n" + "".join(f"{'No' if row < 6000 else 'Yes'},{row % 9}\n" for row in range(12_000))
        table = read(content.encode())
        assert table.columns[0].kind == "boolean"
        assert table.columns[0].levels == ("No", "Yes")
        assert np.array_equal(table.read("b").values, np.arange(12_000) >= 6000)

    def test_many_words_are_text(self) -> None:
        content = "city,note,y\n" + "".join(
            f"city {row % 300},{f'long note number {row} ' * 4},{row % 2}\n" for row in range(900)
        )
        details = details_of(content.encode(), label="y")
        assert [column.kind for column in details.columns] == ["text", "text", "number"]
        assert details.columns[1].reason is None  # prose is used, though each text is different
        table = read(content.encode(), types="city:category", label="y")
        assert cells(table, "city") == [f"city {row % 300}" for row in range(900)]

    def test_names_of_single_things_are_set_aside(self) -> None:
        content = "ticket,same,id,y\n" + "".join(f"A/{row * 7919},x,{row + 1},{row % 2}\n" for row in range(200))
        details = details_of(content.encode(), ignore="id")
        assert [column.reason for column in details.columns] == [
            "200 different texts in 200 rows",
            "holds the same value in every row",
            "as asked",
            None,
        ]

    def test_numbers_of_rows_are_found_in_a_part_of_a_file(self) -> None:
        """What scikit-learn's split leaves of a frame, in order and shuffled; values that look alike are used."""
        random = np.random.default_rng(0)
        rows = np.sort(random.permutation(1000)[:700])
        frame = pd.DataFrame({"case": rows, "n": random.integers(0, 1000, 700), "year": 1900 + rows}, index=rows)
        for each, found in ((frame, ["column_1", "case"]), (frame.sample(frac=1, random_state=0), ["column_1"])):
            details = details_of(each.to_csv().encode())
            assert [column.name for column in details.columns if column.reason] == found
            assert details.columns[0].reason == "numbers the rows of a larger file"
            posted = set_aside(from_records(each.rename_axis("column_1").reset_index().to_dict("records")))
            assert [column.name for column in posted.columns if column.reason] == found

    def test_what_is_asked_for_counts(self) -> None:
        content = b"zip,n,t,y\n1,5,2024,x\n2,oops,2023,y\n3,7,2022,x\n"
        table = read(content, types="zip:category,n:number,y:text", missing="oops", label=None)
        assert [column.kind for column in table.columns] == ["category", "number", "number", "text"]
        assert cells(table, "n") == [5, None, 7]

    def test_none_is_a_class_among_labels(self) -> None:
        table = read(b"a,y\n1,none\n2,mild\n3,none\n", label="y")
        assert cells(table, "y") == ["none", "mild", "none"]


def faults(content: bytes, **options: Any) -> list[dict[str, Any]]:
    with pytest.raises(InvalidError) as caught:
        read(content, **options)
    return [
        {"row": each.row, "line": each.line, "column": each.column, "detail": each.detail, "pointer": each.pointer}
        for each in caught.value.problems
    ]


class TestFaults:
    """All faults come together, each with its place."""

    def test_rows_of_another_width(self) -> None:
        rows = ["1,2,x"] * 50
        rows[3], rows[10] = "1,2", "1,2,x,4"
        found = faults(("a,b,y\n" + "\n".join(rows)).encode())
        assert [(each["row"], each["line"]) for each in found] == [(4, 5), (11, 12)]

    def test_lines_count_breaks_inside_of_quotes_and_empty_lines(self) -> None:
        found = faults(b'a,b,y\n1,"x\ny\nz",u\n\n2,v\n')
        assert [(each["row"], each["line"]) for each in found] == [(2, 6)]

    def test_an_open_quotation_mark(self) -> None:
        (fault,) = faults(b'a,b,y\n1,2,u\n3,"4,v\n5,6,u\n')
        assert (fault["row"], fault["line"]) == (2, 3)

    def test_cells_among_numbers(self) -> None:
        rows = [f"{row * 0.5},{row},{row % 2}" for row in range(400)]
        rows[7], rows[300] = "oops,7,1", "150,x12,0"
        found = faults(("a,b,y\n" + "\n".join(rows)).encode())
        assert [(each["row"], each["line"], each["column"]) for each in found] == [(8, 9, "a"), (301, 302, "b")]
        assert "oops" in found[0]["detail"]
        assert "types=a:category" in found[0]["detail"]

    def test_twenty_of_many(self) -> None:
        content = ("a,y\n" + "".join(f"{row if row % 50 else 'bad'},{row % 2}\n" for row in range(3000))).encode()
        with pytest.raises(InvalidError, match="and 59 more") as caught:
            read(content)
        assert len(caught.value.problems) == 20

    def test_names(self) -> None:
        found = faults(b"age,sex,y\n1,m,u\n2,f,v\n", label="Y2", weight="agee", types="sexx:category", ignore="foo")
        assert {each["pointer"] for each in found} == {"/label", "/weight", "/types/sexx", "/ignore/0"}
        assert any("did you mean 'age'" in each["detail"] for each in found)

    def test_labels(self) -> None:
        numbers = "a,y\n" + "".join(f"{row % 7},{row * 1.5}\n" for row in range(60))
        assert "numbers to estimate" in faults(numbers.encode(), label="y")[0]["detail"]
        assert read(numbers.encode(), label="y", types="y:category").rows == 60
        assert "two different classes" in faults(b"a,y\n1,u\n2,u\n", label="y")[0]["detail"]

    def test_weights(self) -> None:
        found = faults(b"a,w,y\n1,1,u\n2,-1,v\n3,,u\n", label="y", weight="w")
        assert [(each["row"], each["column"]) for each in found] == [(2, "w"), (3, "w")]

    @pytest.mark.parametrize("content", [b"", b"\n\n", b"a,b\n", b"a\n1\n2\n", b"PK\x03\x04zip", b"a,a\n1,2\n"])
    def test_no_table(self, content: bytes) -> None:
        assert faults(content)

    def test_nested_values(self) -> None:
        (fault,) = faults(b'{"a": [1], "b": 1, "c": "x"}\n{"a": [2], "b": 2, "c": "y"}\n')
        assert fault["column"] == "a"

    def test_lines_that_are_no_objects(self) -> None:
        found = faults(b'{"a": 1, "b": 2}\n{"a": 2, "b"}\n{"a": 3, "b": 2}\n[]\n')
        assert [(each["row"], each["line"]) for each in found] == [(2, 2), (4, 4)]

    def test_bombs(self) -> None:
        content = gzip.compress(b"a,b\n" + b"1,2\n" * 1_000_000)
        with pytest.raises(InvalidError, match="unpacked"):
            read(content, limit=2**20)
        with pytest.raises(InvalidError, match="compressed"):
            read(gzip.compress(content))
        with pytest.raises(InvalidError, match="beginning of one"):
            read(content[:-20])


def test_options_are_checked_together() -> None:
    with pytest.raises(InvalidError) as caught:
        read(b"a,b\n1,2\n", types="a:numbr", delimiter="ab", decimal="x", encoding="klingon", header="perhaps")
    assert {each.pointer for each in caught.value.problems} == {
        "/types",
        "/delimiter",
        "/decimal",
        "/encoding",
        "/header",
    }


def test_the_profile_is_that_of_the_values() -> None:
    generator = np.random.default_rng(5)
    frame = pd.DataFrame({"x": generator.normal(size=5000), "k": generator.choice(["a", "b", "c"], 5000)})
    frame["y"] = np.where(frame["x"] + generator.normal(size=5000) > 0, "up", "down")
    frame.loc[::7, "x"] = np.nan
    content = io.BytesIO()
    frame.to_csv(content, index=False)
    x, k, y = details_of(content.getvalue(), label="y").profile
    present = frame["x"].dropna()
    assert (x["missing"], x["distinct"]) == (frame["x"].isna().sum(), present.nunique())
    np.testing.assert_allclose([x["min"], x["max"], x["mean"]], [present.min(), present.max(), present.mean()])
    np.testing.assert_allclose(x["std"], present.std(ddof=0))
    np.testing.assert_allclose(x["quantiles"], present.quantile([0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]))
    assert x["histogram"]["counts"] == np.histogram(present, 20)[0].tolist()
    assert {each["value"]: each["count"] for each in k["levels"]} == frame["k"].value_counts().to_dict()
    assert x["relation"] > 0.1 > 0.01 > k["relation"]
    assert y["relation"] == 1.0
    json.dumps([x, k, y])
