"""The short form: any bytes, and mutated good inputs, for every parser of ours."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InvalidError, MalformedError
from security.parser_cases import PARSERS, Parser
from security.parsers import crash, mutation


@pytest.fixture(scope="module", params=PARSERS, ids=lambda parser: parser.name)
def parser(request: pytest.FixtureRequest) -> Parser:
    """Each parser, once it has loaded what it loads once."""
    found: Parser = request.param
    for seed in found.seeds:
        found.parse(seed)
    return found


@settings(max_examples=60)
@given(data=st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_anything_is_accepted_or_refused(parser: Parser, data: bytes) -> None:
    assert crash(parser, data) is None


@settings(max_examples=100)
@given(number=st.integers(0, 10**9))
def test_what_was_good_is_accepted_or_refused(parser: Parser, number: int) -> None:
    assert crash(parser, mutation(parser, number)) is None


@pytest.mark.parametrize("nameless", ["form-data", 'form-data; filename="a.csv"', "attachment"])
def test_a_form_with_a_nameless_part_is_refused(nameless: str) -> None:
    form = next(parser for parser in PARSERS if parser.name == "form")
    nameless_part = f"--b\r\nContent-Disposition: {nameless}\r\n\r\nx\r\n".encode()
    assert crash(form, nameless_part + form.seeds[0]) is None
    with pytest.raises(MalformedError, match="each part of the form must have a name"):
        form.parse(nameless_part + form.seeds[0])


def test_crashes_and_memory_are_found() -> None:
    """The judgement can fail: by an error that is no refusal, and by memory."""
    held: list[bytes] = []
    assert "KeyError" in str(crash(Parser("broken", lambda data: {}[data], (b"",)), b"a"))
    assert "bytes for an input of 1" in str(crash(Parser("large", lambda _: held.append(bytes(2**25)), (b"",)), b"a"))

    def refuse(_data: bytes) -> None:
        raise InvalidError.at("/a", "is refused")

    assert crash(Parser("strict", refuse, (b"",)), b"a") is None


@pytest.mark.parametrize("dtype", [",f8", "<f8,", "O", "<f2", "(2,)<f8", "", 8, None, ["<f8"]])
def test_a_child_may_not_name_other_types(dtype: object) -> None:
    """NumPy raises SyntaxError for some of these names, which nothing expects."""
    stated = next(parser for parser in PARSERS if parser.name == "stated table")
    document = json.loads(stated.seeds[0])
    document["arrays"][0][0]["dtype"] = dtype
    with pytest.raises((ValueError, TypeError)):
        stated.parse(json.dumps(document).encode())
