"""JSON on the wire: ambiguous or oversized bodies are refused, all others are parsed exactly."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import MalformedError
from service.web.json_bodies import is_json, parse_json

INTEGERS = st.integers(-(2**63), 2**64 - 1)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def refusal(body: bytes) -> str:
    with pytest.raises(MalformedError) as refused:
        parse_json(body)
    assert refused.value.code == "invalid_json"
    return refused.value.detail


@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 2]))
def test_documents_are_what_they_say(document: Any, ascii_only: bool, indent: int | None) -> None:
    assert parse_json(json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode()) == document


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \r\n\t",
        b"{",
        b"{]",
        b"nope",
        b"{'a': 1}",
        b'{"a": 1,}',
        b"[1,]",
        b'{"a": 1} x',
        b'{"a": 01}',
        b'{"a": +1}',
        b'{"a": .5}',
        b'{"a": 0x10}',
        b'{"a": "\x01"}',
        b'{"a": "\\x"}',
        b"// comment\n1",
        b'\xef\xbb\xbf{"a": 1}',
        '{"a": 1}'.encode("utf-16"),
        b'{"a": "\xff"}',
        b'{"a": "\xc3\x28"}',
        b'{"a": "\\ud800"}',
        b"NaN",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": -1e999}',
        b"[" + b"9" * 5000 + b"]",
        b'{"a:": ' + b"9" * 400 + b"}",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    assert refusal(body)


@pytest.mark.parametrize("depth", [1025, 5000, 200_000])
@pytest.mark.parametrize(("left", "right"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
def test_deep_nesting_is_refused(depth: int, left: bytes, right: bytes) -> None:
    assert refusal(left * depth + b"1" + right * depth)
    assert refusal(left * depth)


def test_a_depth_that_is_allowed_is_read() -> None:
    document = parse_json(b"[" * 900 + b"1" + b"]" * 900)
    for _ in range(900):
        (document,) = document
    assert document == 1


@pytest.mark.parametrize("depth", [100, 400])
def test_nested_objects_of_an_allowed_depth_are_read(depth: int) -> None:
    document = parse_json(b'{"a":' * depth + b"1" + b"}" * depth)
    for _ in range(depth):
        document = document["a"]
    assert document == 1


@pytest.mark.parametrize("depth", [600, 900, 1000])
def test_objects_near_the_bound_are_read_or_refused(depth: int) -> None:
    body = b'{"a":' * depth + b'"b:"' + b"}" * depth
    try:
        told = type(parse_json(body)).__name__
    except MalformedError as error:
        told = error.detail
    assert told == "dict" or "deep" in told or "recursion" in told


DUPLICATES = [
    '{"a": 1, "a": 1}',
    '{"a": 1, "b": 2, "a": 3}',
    '{"a": 1, "\\u0061": 2}',
    '{"\\u0061": 1, "a": 2}',
    '{"é": 1, "\\u00e9": 2}',
    '{"😀": 1, "\\ud83d\\ude00": 2}',
    '{"": 1, "": 2}',
    '{"a:b": 1, "a:b": 2}',
    '{"x": {"a": 1, "a": 2}}',
    '[{"a": 1, "a": 2}]',
    '[1, {"a": 1, "a": 2}]',
    '[[{"a": 1, "a": 2}]]',
    '{"x": [1, [2, {"a": 1, "a": 2}]]}',
    '{"x": [[], [], {"y": {"a": 1, "a": 2}}]}',
    '[{"b": 1}, {"a": 1, "a": 2}]',
    '{"a": {"b": 1}, "a": {"b": 1}}',
    '{"x": "a:b", "a": 1, "a": 2}',
    '{"a": {"c": 1, "d": 2}, "a": 1}',
    '{"a": 1, "a": {"c": 1, "d": 2}}',
]


@pytest.mark.parametrize("body", DUPLICATES)
def test_a_key_that_stands_twice_is_refused(body: str) -> None:
    assert "twice" in refusal(body.encode())


@pytest.mark.slow
@settings(max_examples=60)
@given(st.dictionaries(st.text(), DOCUMENTS, min_size=1), st.data())
def test_any_repeated_key_anywhere_is_found(document: dict[str, Any], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(document)))
    # One more member under a key that is there already, written in escapes, at a random place among the others.
    members = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in document.items()]
    again = json.dumps(data.draw(DOCUMENTS))
    escaped = '"' + "".join(f"\\u{unit:04x}" for unit in _utf16(key)) + '"'
    members.insert(data.draw(st.integers(0, len(members))), f"{escaped}: {again}")
    inner = "{" + ", ".join(members) + "}"
    wrap = data.draw(st.sampled_from(["%s", "[%s]", '{"x": %s}', "[[1, %s]]", '{"x": [2, {"y:": %s}]}']))
    assert "twice" in refusal(wrap.replace("%s", inner).encode())


def _utf16(text: str) -> list[int]:
    raw = text.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(raw[place : place + 2]) for place in range(0, len(raw), 2)]


@pytest.mark.parametrize("body", ['{"a": "x:y::z"}', '{"a:b": 1, "c": ":"}', '[":", {"a": 1}]', '{"a": [{"b": 1}, 2]}'])
def test_colons_in_strings_are_no_keys(body: str) -> None:
    assert parse_json(body.encode()) == json.loads(body)


def test_many_keys_are_looked_through_once() -> None:
    members = "".join(f'"{number}": 0, ' for number in range(40_000))
    begin = time.process_time()
    assert "'39999' occurs twice" in refusal(f'{{{members}"39999": 0}}'.encode())
    assert time.process_time() - begin < 3.0


@pytest.mark.parametrize(
    ("content_type", "good"),
    [
        ("", True),
        ("application/json", True),
        ("application/json; charset=utf-8", True),
        ("Application/JSON ;charset=utf-8", True),
        ("application/merge-patch+json; a=b", True),
        ("text/html", False),
        ("text/html; x=a+json", False),
        ("text/html; x=application/json", False),
    ],
)
def test_the_type_of_a_body_is_what_stands_before_its_parameters(content_type: str, good: bool) -> None:
    assert is_json(content_type) is good
