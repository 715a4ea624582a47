"""Names of columns, levels and classes in files are short; numbers are written with ASCII digits."""

from __future__ import annotations

import pytest

from models.data.limits import MAXIMUM_COLUMNS, NAME_BYTES
from models.errors import InvalidError, Problem
from tests.models.reading.support import cells, details_of, read

LONG = "é" * (NAME_BYTES // 2) + "e"
EXACT = "é" * (NAME_BYTES // 2)


def csv(words: list[str], head: str = "n,w") -> bytes:
    return "\n".join([head, *(f"{place * 1.5},{word}" for place, word in enumerate(words)), ""]).encode()


def problems(content: bytes, **options: object) -> list[Problem]:
    with pytest.raises(InvalidError) as caught:
        read(content, **options)
    return caught.value.problems


@pytest.mark.parametrize("options", [{"label": "w"}, {"types": "w:category"}], ids=["label", "category"])
def test_levels_and_labels_are_refused_with_row_and_column(options: dict[str, str]) -> None:
    # The second one comes behind the sample whose levels are known beforehand.
    words = [EXACT, LONG, "a"] + ["a", "b"] * 2000 + [f"{LONG}2"]
    found = problems(csv(words), **options)
    assert [(each.row, each.column) for each in found] == [(2, "w"), (len(words), "w")]
    assert f"must have at most {NAME_BYTES} bytes" in found[0].detail
    assert LONG[:61] not in found[0].detail
    assert EXACT in read(csv([EXACT, "a", "b", "a"]), **options).read("w").levels


def test_rows_without_a_label_are_counted_in_the_places_of_faults() -> None:
    content = f"y,w\na,u\n,v\nb,{LONG}\n".encode()
    assert [each.row for each in problems(content, label="y", types="w:category")] == [3]


@pytest.mark.parametrize("word", [LONG, "語" * 90])
def test_other_columns_with_long_words_are_text(word: str) -> None:
    table = read(csv([word, "a", "b"] * 10))
    assert {column.name: column.kind for column in table.columns}["w"] == "text"
    assert cells(table, "w")[0] == word


def test_rows_to_predict_may_have_longer_ones() -> None:
    """They are not stored, and a model that is older than the limit may have learned them."""
    assert LONG in read(csv([LONG, "a"]), types="w:category", alone=True).read("w").levels


def test_names_of_columns_are_short() -> None:
    (found,) = problems(csv(["a", "b"], head=f"n,{LONG}"))
    assert (found.row, found.column) == (0, LONG)
    assert f"at most {NAME_BYTES} bytes. Received: {NAME_BYTES + 1}" in found.detail
    assert [column.name for column in read(csv(["a", "b"], head=f"n,{EXACT}")).columns] == ["n", EXACT]


def test_too_many_columns_have_one_fault() -> None:
    head = ",".join(f"c{place}" for place in range(MAXIMUM_COLUMNS + 1))
    (found,) = problems(f"{head}\n{head}\n".encode(), ignore="q", header="true")
    assert found.detail == f"must have at most {MAXIMUM_COLUMNS} columns. Received: {MAXIMUM_COLUMNS + 1}"


def test_classes_are_counted() -> None:
    words = [f"w{place}" for place in range(65_537)]
    (found,) = problems(csv(words), label="w")
    assert "at most 65,536 different classes" in found.detail
    large = [f"w{place}".ljust(NAME_BYTES, "x") for place in range(16_385)]
    (found,) = problems(csv(large), label="w")
    assert "at most 4194304 bytes together" in found.detail


@pytest.mark.parametrize("number", ["1_0", "٣", "５", "²", "1٣", "+٣", "0x10"])
def test_other_digits_are_words(number: str) -> None:
    """In cells, what is no number of ASCII digits makes a column of words, and is a fault in one of numbers."""
    content = csv([number, number, "a"] * 3)
    kinds = {column["name"]: column["type"] for column in details_of(content).profile}
    assert kinds["w"] == "category"
    assert len(problems(content, types="w:number")) == 9
