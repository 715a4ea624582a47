"""Words of cells: missing values, truths, numbers and times."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.columns import MISSING_TIME
from models.data.profile import iso_time
from models.data.times import time_of
from models.data.words import boolean_levels, is_missing, number_of, number_text, truth_of


@pytest.mark.parametrize("word", ["", " ", "NA", "n/a", "NaN", "null", "NULL", " None", "?", "-", "#N/A"])
def test_missing_words(word: str) -> None:
    assert is_missing(word)


def test_further_missing_words_are_added() -> None:
    assert not is_missing("keine")
    assert is_missing(" KEINE ", {"keine"})


@pytest.mark.parametrize(
    "text", ["inf", "nan", "0x10", "1_000", "1,5", "1e999", "٣", "01234", "-01", "1 2", "e5", ".", ""]
)
def test_words_that_are_no_numbers(text: str) -> None:
    assert number_of(text) is None


@pytest.mark.parametrize("text", ["0", "-0.5", "+3", "1e3", "1E-3", ".5", "5.", " 7 ", "0.10"])
def test_numbers_are_what_python_reads(text: str) -> None:
    assert number_of(text) == float(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_of_a_number_reads_back(number: float) -> None:
    text = number_text(number)
    assert number_of(text) == number
    assert len(text) <= len(repr(number))


@pytest.mark.parametrize(
    ("words", "levels"),
    [
        (["yes", "no"], ("no", "yes")),
        (["TRUE", "FALSE"], ("FALSE", "TRUE")),
        (["True", "true", "false"], ("false", "True")),
        (["Y"], ("N", "Y")),
        (["No"], ("No", "Yes")),
        (["yes", "true"], None),
        (["yes", "no", "maybe"], None),
        (["ja", "nein"], None),
        (["0", "1"], None),
        ([], None),
    ],
)
def test_pairs_of_words_are_booleans(words: list[str], levels: tuple[str, str] | None) -> None:
    assert boolean_levels(words) == levels
    if levels is not None:
        assert [truth_of(word) for word in levels] == [False, True]


@given(
    st.datetimes(
        min_value=pd.Timestamp("1700-01-01").to_pydatetime(), max_value=pd.Timestamp("2250-01-01").to_pydatetime()
    )
)
def test_times_are_those_of_pandas(moment: object) -> None:
    microseconds = pd.Timestamp(str(moment)).value // 1000
    assert time_of(str(moment)) == microseconds
    assert time_of(iso_time(microseconds)) == microseconds


@pytest.mark.parametrize(
    "text", ["2024-01-02T03:04:05Z", "2024-01-02 03:04+02:00", "2024-01-02T03:04:05.25-0130", "1969-12-31"]
)
def test_zones_and_fractions(text: str) -> None:
    stamp = pd.Timestamp(text)
    assert time_of(text) == (stamp if stamp.tz else stamp.tz_localize("UTC")).value // 1000


@pytest.mark.parametrize("text", ["2024-13-01", "2024-02-30", "20240101", "01.02.2024", "2024", "2024-W01-1", ""])
def test_texts_that_are_no_times(text: str) -> None:
    assert time_of(text) is None


def test_the_first_year_has_a_time() -> None:
    assert (time_of("0001-01-01") or 0) > MISSING_TIME
