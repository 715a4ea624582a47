"""Words and numbers as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from trainyard.cli import text


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("iris", "iris"),
        ("größe 大", "größe 大"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("a\tb\nc\rd", r"a\tb\nc\rd"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("abc\u202efdp.exe", r"abc\u202efdp.exe"),
        ("\u2028\ud800", r"\u2028\ud800"),
    ],
)
def test_text_of_others_commands_no_terminal(written: str, shown: str) -> None:
    assert text.harmless(written) == shown


def test_lines_may_stay() -> None:
    assert text.harmless("a\tb\n\x1b[2J\r", lines=True) == "a\tb\n\\x1b[2J\\r"


@pytest.mark.parametrize(("written", "places"), [("abc", 3), ("大", 2), ("e\u0301", 1), ("", 0)])
def test_the_width_is_that_of_a_terminal(written: str, places: int) -> None:
    assert text.width(written) == places


@pytest.mark.parametrize(
    ("written", "places", "shown"), [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("大大", 3, "大…"), ("abc", 0, "")]
)
def test_text_is_cut_to_a_width(written: str, places: int, shown: str) -> None:
    assert text.cut(written, places) == shown
    assert text.width(shown) <= places


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1309, "1,309"),
        (1.0, "1"),
        (0.047123, "0.04712"),
        (1e-7, "1e-07"),
        (123456.7, "123,457"),
        (True, "True"),
        ("a", "a"),
        (float("inf"), "inf"),
    ],
)
def test_numbers(value: object, shown: str) -> None:
    assert text.number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3600, "1 h 0 min"), (90000, "1 d 1 h"), (-1, "0 s")],
)
def test_durations(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (150976, "151 kB"), (3.2e12, "3.2 TB")]
)
def test_sizes(count: int, shown: str) -> None:
    assert text.size(count) == shown


def test_times_are_told_from_now() -> None:
    then = datetime.now(UTC) - timedelta(minutes=3, seconds=5)
    assert text.ago(then.isoformat()) == "3 min ago"
    assert text.ago(datetime.now(UTC).isoformat()) == "now"
    assert text.ago("yesterday") == "yesterday"


@pytest.mark.parametrize(
    ("values", "places", "shown"),
    [
        ([], 3, ""),
        ([1.0], 3, "▁"),
        ([2.0, 2.0], 3, "▁▁"),
        ([3.0, 2.0, 1.0], 3, "█▅▁"),
        ([8.0, 8.0, 1.0, 1.0], 2, "█▁"),
    ],
)
def test_a_curve_in_a_line(values: list[float], places: int, shown: str) -> None:
    assert text.spark(values, places) == shown


def test_signs_that_an_encoding_lacks_are_replaced() -> None:
    assert text.sign("✓ 3 × 8", "ascii") == "ok 3 x 8"
    assert text.sign("✓", "utf-8") == "✓"
    assert text.sign("大", "latin-1") == "?"
