"""Large JSON bodies: what the parser in blocks makes of them is what the simple parser makes of them."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.rows import NumberRows, number_matrix, row_length
from models.errors import BusyError, InvalidError, MalformedError, TooLargeError
from service.web import number_rows
from service.web.json_bodies import parse_json
from service.web.json_tokens import colons_outside_strings, object_bytes, repeated_key
from service.web.large_json import parse_large
from service.web.memory import Memory

MB = 2**20


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every list of rows is long, and blocks are so small that rows and numbers lie across them."""
    monkeypatch.setattr(number_rows, "LONG", 16)
    monkeypatch.setattr(number_rows, "BLOCK", 12)


def outcome(body: bytes, parse: Any, width: int | None, dtype: str) -> Any:
    """The document with matrices, or what is wrong with them, in place of rows; or the code of the refusal."""
    try:
        document = parse(body)
    except MalformedError as error:
        return error.code
    if not isinstance(document, dict):
        return document
    for part in (document, document.get("data"), document.get("validation")):
        for name in ("inputs", "instances") if isinstance(part, dict) else ():
            if isinstance(part.get(name), (list, NumberRows)):
                part[name] = matrix_or_faults(part[name], width, dtype)
    return document


def matrix_or_faults(rows: Any, width: int | None, dtype: str) -> Any:
    try:
        return number_matrix(rows, "/inputs", dtype, width).tolist()
    except InvalidError as error:
        return [(problem.pointer, problem.detail) for problem in error.problems]


def simple(body: bytes) -> Any:
    """What ``parse_json`` makes of a small body."""
    assert len(body) < 64 * 1024
    return parse_json(body)


def large(body: bytes) -> Any:
    return parse_large(body, None)


NUMBERS = st.one_of(
    st.integers(-(2**63), 2**64 - 1).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["0", "-0", "1e5", "1E-7", "0.1e+3", "123456789012345678901234567890", "3.5e38", "1e308"]),
)
ODD = st.sampled_from(
    ["null", "true", "[]", "{}", "[1]", "[[1]]", "NaN", "Infinity", "1e999", "01", "+1", ".5", "1.", "", "1 2", "]",
     "[", "}", "-", "1,", ",", "\ufeff", "\xff", '"a"', '"\\ud800"', "[[[[", "[1,[2,3],4,[5,6,7]]", "9" * 400]
)  # fmt: skip
SPACE = st.sampled_from(["", "", "", " ", "\n", "\t ", "\r\n"])


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A list of rows, mostly even and of numbers, with few faults."""
    width, faults = draw(st.integers(1, 6)), draw(st.integers(0, 2))
    rows = draw(st.lists(st.lists(NUMBERS, min_size=width, max_size=width), min_size=1, max_size=12))
    written = [[*row] for row in rows]
    for _ in range(faults):
        row = draw(st.integers(0, len(written) - 1))
        kind = draw(st.sampled_from(["cell", "more", "less", "row"]))
        if kind == "cell" and written[row]:
            written[row][draw(st.integers(0, len(written[row]) - 1))] = draw(ODD)
        elif kind == "more":
            written[row].append(draw(NUMBERS))
        elif kind == "less" and written[row]:
            written[row].pop()
        elif kind == "row":
            written[row] = ["\0" + draw(st.one_of(ODD, NUMBERS))]
    space = draw(SPACE)
    return (
        f"[{space}"
        + f",{space}".join(
            row[0][1:] if row and row[0].startswith("\0") else "[" + f"{space},".join(row) + f"{space}]"
            for row in written
        )
        + f"{space}]"
    )


FRAMES = st.sampled_from(
    ['{"inputs":%s}', '{"model":"a:b", "inputs": %s , "top_k":3}', '{"inputs":%s,"inputs":%s}',
     '{"é😀":1,\n"inputs"\n:%s}',
     '{"x":{"inputs":%s}}', '{"data":{"inputs":%s,"labels":[1,"a:b"]},"model":{"inputs":3}}', '[{"inputs":%s}]', '%s',
     '{"a":"\\"inputs\\":%s"}', '{"inputs":%s', '{"inputs":%s,}', '{"inputs":%s]}', '{"inputs":%s}}', '{"inputs" %s}',
     '{"inputs":%s:1}', '{%s:"inputs"}', '{"x\\"inputs":%s}', '{"inputs":[%s]}', '{"inputs":%s,"a":1,"a":2}',
     '{"inputs":%s,"validation":{"inputs":%s}}', '{"\\u0069nputs":%s}', '{"metadata":{"inputs":%s},"inputs":%s}',
     '{"inputs":"%s"}', '{"instances":%s}', '{"instances":%s,"inputs":%s}', '{"signature_name":"a","instances":%s}']
)  # fmt: skip


@given(texts(), FRAMES, st.sampled_from([None, 1, 3]), st.sampled_from(["float32", "float64"]))
def test_a_large_body_is_read_as_a_small_one(text: str, frame: str, width: int | None, dtype: str) -> None:
    body = frame.replace("%s", text).encode("latin-1" if "\xff" in text and "é" not in frame else "utf-8")
    assert outcome(body, large, width, dtype) == outcome(body, simple, width, dtype)


@given(texts())
def test_rows_are_read_apart_and_know_their_length(text: str) -> None:
    body = b'{"inputs":%s}' % text.encode()
    try:
        expected = orjson.loads(body)["inputs"]
    except orjson.JSONDecodeError:
        return
    found = large(body)["inputs"]
    assert row_length(found) == row_length(expected)


@pytest.mark.parametrize(
    "text",
    ["[[1,2],[3,]]", "[[1,2],,[3,4]]", "[[1,2],[3,4],]", "[,[1,2],[3,4]]", "[[1,,2],[3,4]]", "[[1,2],[3,4]",
     "[[1,2],[3,4", "[[1,2][3,4]]", "[[1,2],[,3]]", "[[1,2],[3,4]]]", "[[1 2],[3,4]]", "[[1,2],[3,4],]]"]
)  # fmt: skip
def test_commas_without_a_value_are_refused(text: str) -> None:
    for block in range(1, 30):
        number_rows.BLOCK = block
        with pytest.raises(MalformedError) as refused:
            large(b'{"inputs":%s   }' % text.encode())
        assert refused.value.code == "invalid_json"


def test_the_place_of_a_wrong_sign_is_that_in_the_body() -> None:
    rows = "[[1,2],\n[3,4],\n[5,6]]"
    for before, after in (('{"é":1,\n"inputs":', "x}"), ('{"é":"😀","inputs":', ', "é" ; 1}'), ('{"inputs":', "")):
        body = f"{before}{rows}{after}".encode()
        with pytest.raises(MalformedError) as expected:
            simple(body)
        with pytest.raises(MalformedError) as found:
            large(body)
        assert found.value.detail == expected.value.detail
    body = b'{"\xc3\xa9":1,\n"inputs":[[1,2],\n[3,4],\n[5,6],[7;8]]}'
    with pytest.raises(MalformedError, match=r"line 4 column 9 \(char 40\)"):
        large(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"x","inputs":[' + b"[]," * 60_000 + b"[]]}",
        b'{"model":"a:b","inputs":[[' + b"1.5," * 40_000 + b"1]]}",
    ],
    ids=["empty", "numbers"],
)
def test_rows_take_one_block_of_objects_at_a_time(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    tracemalloc.start()
    try:
        inputs = parse_json(body)["inputs"]
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(inputs, NumberRows)
    assert most < 8 * number_rows.BLOCK * 4 + inputs.numbers.nbytes + len(body)


def test_a_long_number_is_read_or_refused() -> None:
    digits = b"1" * 1000
    assert large(b'{"inputs":[[0.%s,1],[2,3]]}' % digits)["inputs"].numbers.shape == (2, 2)
    with pytest.raises(MalformedError):
        large(b'{"inputs":[[%s,1],[2,3]]}' % digits)


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.text(':\\"{}'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.text(':\\"'), inner),
)


@given(DOCUMENTS, st.booleans())
def test_large_documents_are_what_they_say(document: Any, ascii_only: bool) -> None:
    body = json.dumps(document, ensure_ascii=ascii_only).encode()
    assert large(body) == document
    assert repeated_key(body) is None
    keys = [0]

    def count(value: Any) -> None:
        if isinstance(value, dict):
            keys[0] += len(value)
        for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            count(each)

    count(document)
    for block in (1, 2, 3, 7, 1000):
        pytest.MonkeyPatch().setattr("service.web.json_tokens.BLOCK", block)
        assert colons_outside_strings(body) == keys[0]


@pytest.mark.parametrize(
    "body",
    [b"[" + b"[]," * 20_000 + b"[]]", b"[" + b"{}," * 20_000 + b"{}]", b"[" + b"1.5," * 20_000 + b"1]",
     b"[" + b'"ab",' * 20_000 + b"1]", b"[" + b'{"age":22.5,"sex":"male"},' * 5_000 + b"1]",
     b"{" + b",".join(b'"%d":0' % number for number in range(20_000)) + b"}",
     "[\"{}\"]".replace("{}", "a" * 50_000 + "😀").encode(),
     b'["' + b"\\u4e00" * 20_000 + b'"]', b"[" * 500 + b"]" * 500]
)  # fmt: skip
def test_what_values_take_is_not_underestimated(body: bytes) -> None:
    tracemalloc.start()
    try:
        document = orjson.loads(body)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert document
    assert taken <= object_bytes(body) <= 16 * taken + 100_000


def test_the_values_of_a_body_are_held_before_they_are_made() -> None:
    body = b'{"rows":[' + b"{}," * 400_000 + b"{}]}"
    with Memory(4 * MB).hold() as held, pytest.raises(TooLargeError, match="send them as a file"):
        parse_json(body, held)
    memory = Memory(100 * MB, patience=0.0)
    with memory.hold() as held:
        parse_json(body, held)
        assert 51 * MB < held.counted < 100 * MB
        with memory.hold() as other, pytest.raises(BusyError):
            parse_json(body, other)


def test_numbers_are_those_of_the_text() -> None:
    rows = [[1, -2.5, 1e-300], [2**53 + 1, 2**64 - 1, -0.0]]
    found = large(json.dumps({"inputs": rows}).encode())["inputs"]
    assert found.numbers.tobytes() == np.array(rows, np.float64).tobytes()
    assert repr(found) == "a list of 2"
