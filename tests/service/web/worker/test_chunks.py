"""Chunked bodies, cut anywhere: the same bytes, or the same refusal."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import pytest
from gunicorn.config import Config
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from hypothesis import example, given
from hypothesis import strategies as st

from service.web.worker.chunks import ChunkReader
from service.web.worker.head import RequestError, Rules

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
CONFIG = Config()
CONFIG.set("http_parser", "python")


class Read(NamedTuple):
    """What was read of a body: the bytes, and what lies behind, if it has ended."""

    body: bytes
    rest: bytes | None


def pieces_of(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    places = [0, *sorted(cuts), len(data)]
    return [data[begin:end] for begin, end in pairwise(places)]


def read(pieces: Iterable[bytes]) -> Read:
    """Feed all pieces; those behind the end of the body stay with the caller."""
    reader, body = ChunkReader(Rules()), b""
    waiting = list(pieces)
    while waiting and not reader.ended:
        body += reader.feed(waiting.pop(0))
    return Read(body, reader.rest + b"".join(waiting) if reader.ended else None)


def outcome(pieces: Iterable[bytes]) -> Read | tuple[int, str]:
    try:
        return read(pieces)
    except RequestError as error:
        return error.status, error.code


TOKENS = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=5)
QUOTED = st.text("a;, =\t\x80\xff#[]", max_size=6).map('"{}"'.format)
EXTENSION = st.builds(
    "{};{}{}".format,
    st.sampled_from(["", " ", "\t"]),
    TOKENS,
    st.one_of(st.just(""), st.builds("={}".format, st.one_of(TOKENS, QUOTED, st.just('"\\"\\\\"')))),
)
TRAILERS = st.lists(st.builds("{}: {}\r\n".format, st.sampled_from(["X-A", "Digest", "x"]), TOKENS), max_size=3)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A chunked body and what it holds."""
    framed, held = b"", b""
    for chunk in draw(st.lists(st.binary(min_size=1, max_size=40), max_size=5)):
        size = draw(st.sampled_from(["{:x}", "{:X}", "0{:x}", "00000{:x}"])).format(len(chunk))
        extensions = "".join(draw(st.lists(EXTENSION, max_size=2)))
        framed += f"{size}{extensions}\r\n".encode("latin-1") + chunk + b"\r\n"
        held += chunk
    framed += draw(st.sampled_from([b"0\r\n", b"000\r\n", b"0;a=b\r\n"]))
    return framed + "".join(draw(TRAILERS)).encode() + b"\r\n", held


@given(bodies(), st.binary(max_size=20), st.data())
def test_any_cut_gives_the_same_bytes(body: tuple[bytes, bytes], rest: bytes, data: st.DataObject) -> None:
    framed, held = body
    cuts = data.draw(st.lists(st.integers(0, len(framed + rest)), max_size=8))
    assert read(pieces_of(framed + rest, cuts)) == Read(held, rest)


@given(bodies())
def test_byte_by_byte(body: tuple[bytes, bytes]) -> None:
    framed, held = body
    assert read(bytes([one]) for one in framed) == Read(held, b"")
    assert read(bytes([one]) for one in framed[:-1]).rest is None, "it has not ended before its last byte"


def test_a_large_body() -> None:
    data = bytes(range(256)) * 4_096
    framed = b"".join(
        b"%x\r\n%b\r\n" % (len(data[at : at + 65_537]), data[at : at + 65_537]) for at in range(0, len(data), 65_537)
    )
    assert read(pieces_of(framed + b"0\r\n\r\nGET", range(0, len(framed), 10_000))) == Read(data, b"GET")


UNREADABLE = (400, "invalid_body")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\r\n", UNREADABLE),
        (b"x\r\n", UNREADABLE),
        (b"+1\r\na\r\n0\r\n\r\n", UNREADABLE),
        (b"-1\r\na\r\n0\r\n\r\n", UNREADABLE),
        (b"0x1\r\na\r\n0\r\n\r\n", UNREADABLE),
        (b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n", UNREADABLE),
        (b" 1\r\na\r\n0\r\n\r\n", UNREADABLE),
        (b"1 \r\na\r\n0\r\n\r\n", UNREADABLE),
        (b"1\x0b\r\na\r\n0\r\n\r\n", UNREADABLE),
        (b"\xb2\r\naa\r\n0\r\n\r\n", UNREADABLE),
        (b"1\na\r\n0\r\n\r\n", UNREADABLE),
        (b"1\n\r\na\r\n0\r\n\r\n", UNREADABLE),
        (b"1\r\r\na\r\n0\r\n\r\n", UNREADABLE),
        (b"1;\r\na\r\n0\r\n\r\n", UNREADABLE),
        (b"1;a=\r\na\r\n0\r\n\r\n", UNREADABLE),
        (b'1;a="\r\na\r\n0\r\n\r\n', UNREADABLE),
        (b"1;a\nb\r\na\r\n0\r\n\r\n", UNREADABLE),
        (b"1;a\rb\r\na\r\n0\r\n\r\n", UNREADABLE),
        (b"1;a\0\r\na\r\n0\r\n\r\n", UNREADABLE),
        (b"1;" + b"a" * 300 + b"\r\na\r\n0\r\n\r\n", UNREADABLE),
        (b"1" * 16 + b"\r\n", UNREADABLE),
        (b"1" * 300, UNREADABLE),
        (b"1\r\nab\r\n0\r\n\r\n", UNREADABLE),
        (b"2\r\na\r\n0\r\n\r\n", UNREADABLE),
        (b"1\r\na\n0\r\n\r\n", UNREADABLE),
        (b"1\r\na\r0\r\n\r\n", UNREADABLE),
        (b"1\r\na0\r\n\r\n", UNREADABLE),
        (b"0\n\n", UNREADABLE),
        (b"0\r\nX: a\n\r\n", UNREADABLE),
        (b"0\r\n\n\r\n\r\n", UNREADABLE),
        (b"0\r\nX\r\n\r\n", (400, "bad_request")),
        (b"0\r\n X: a\r\n\r\n", (400, "bad_request")),
        (b"0\r\nX: a\r\n b\r\n\r\n", (400, "bad_request")),
        (b"0\r\nX: a\0\r\n\r\n", (400, "bad_request")),
        (b"0\r\nX: a\rb\r\n\r\n", (400, "bad_request")),
        (b"0\r\nContent-Length: 5\r\n\r\n", (400, "bad_request")),
        (b"0\r\nTransfer-Encoding: chunked\r\n\r\n", (400, "bad_request")),
        (b"0\r\nhost: a\r\n\r\n", (400, "bad_request")),
        (b"0\r\nAuthorization: a\r\n\r\n", (400, "bad_request")),
        (b"0\r\nX-A: " + b"a" * 8_200 + b"\r\n\r\n", (431, "headers_too_large")),
        (b"0\r\n" + b"X: a\r\n" * 101 + b"\r\n", (431, "headers_too_large")),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_malformed_bodies_are_refused_at_any_cut(data: bytes, expected: tuple[int, str]) -> None:
    assert outcome([data]) == expected
    assert outcome(bytes([one]) for one in data) == expected
    for cut in range(min(len(data), 320)):
        assert outcome(pieces_of(data, [cut])) == expected, cut


# Gunicorn's reader as the oracle.


def by_gunicorn(pieces: list[bytes]) -> Read | None:
    """What gunicorn reads; None if it refuses the body, or waits for more."""
    try:
        request = Request(CONFIG, IterUnreader([HEAD, *pieces]), ("192.0.2.1", 1))
        body = request.body.read()
    except Exception:  # noqa: BLE001 - whatever it is, gunicorn does not read the body
        return None
    rest = b""
    while piece := request.unreader.read():
        rest += piece
    return Read(body, rest)


#: What we refuse although gunicorn does not.
STRICTER = re.compile(
    r"the trailer must not have the field (Content-Type|Te|Content-Encoding|Content-Range)"
    r"|the chunked body cannot be read: the line before a chunk must have at most 256 bytes"
    r"|the chunked body cannot be read: the size of a chunk must be hexadecimal. Received: '0{10}"  # over 15 digits
)


@st.composite
def nearly_right(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(bodies())[0] + draw(st.binary(max_size=3)))
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        kind = draw(st.sampled_from(["set", "insert", "remove"]))
        byte = draw(st.sampled_from([*b'\r\n ;="\\0a:\t\0\x80']))
        data[place : place + (kind != "insert")] = b"" if kind == "remove" else bytes([byte])
    return bytes(data)


@given(nearly_right(), st.data())
@example(b"1;\r\na\r\n0\r\n\r\n", None)
@example(b"0\r\nContent-Type: a\r\n\r\n", None)
def test_a_body_is_what_it_is_to_gunicorn(data: bytes, draws: st.DataObject | None) -> None:
    theirs = by_gunicorn([data])
    try:
        ours, refusal = read([data]), ""
    except RequestError as error:
        ours, refusal = Read(b"", None), error.detail
    if ours.rest is not None:
        assert ours == theirs
    elif refusal and theirs is not None:
        assert STRICTER.match(refusal), refusal
    else:
        assert theirs is None
    if draws is not None:
        cuts = draws.draw(st.lists(st.integers(0, len(data)), max_size=4))
        assert outcome(pieces_of(data, cuts)) == outcome([data])
