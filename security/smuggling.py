"""Requests that two servers may read in two ways, and others that are none: what each must be answered with."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["HIDDEN_ID", "SHAPES", "Shape"]


class Shape(NamedTuple):
    """Bytes on the wire, and the status and the code of the refusal.

    A whole request lies behind the refused one, and must never be answered.
    """

    name: str
    data: bytes
    status: int = 400
    code: str = "bad_request"


#: The id that an answer to what is smuggled would have.
HIDDEN_ID = b"smuggled"
_HIDDEN = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: " + HIDDEN_ID + b"\r\n\r\n"
_POST = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
_GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
_LENGTH = str(len(_HIDDEN)).encode()


def _lengths(name: str, fields: bytes) -> Shape:
    return Shape(name, _POST + fields + b"\r\n" + _HIDDEN)


def _coded(name: str, fields: bytes, status: int = 400, code: str = "bad_request") -> Shape:
    return Shape(name, _POST + fields + b"\r\n0\r\n\r\n" + _HIDDEN, status, code)


def _chunked(name: str, body: bytes, status: int = 400, code: str = "invalid_body") -> Shape:
    return Shape(name, _POST + b"Transfer-Encoding: chunked\r\n\r\n" + body + _HIDDEN, status, code)


def _field(name: str, field: bytes, status: int = 400, code: str = "bad_request") -> Shape:
    return Shape(name, _GET + field + b"\r\n\r\n" + _HIDDEN, status, code)


def _line(name: str, line: bytes, status: int = 400, code: str = "bad_request") -> Shape:
    return Shape(name, line + b"\r\nHost: localhost\r\n\r\n" + _HIDDEN, status, code)


_LARGE = 431, "headers_too_large"

SHAPES: tuple[Shape, ...] = (
    _lengths("Content-Length and Transfer-Encoding", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
    _lengths("Transfer-Encoding and Content-Length", b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
    _lengths("two lengths", b"Content-Length: 0\r\nContent-Length: " + _LENGTH + b"\r\n"),
    _lengths("the same length twice", b"Content-Length: 0\r\nContent-Length: 0\r\n"),
    _lengths("a list of lengths", b"Content-Length: 0, 0\r\n"),
    _lengths("a length with a sign", b"Content-Length: +0\r\n"),
    _lengths("a negative length", b"Content-Length: -1\r\n"),
    _lengths("a hexadecimal length", b"Content-Length: 0x10\r\n"),
    _lengths("a length with an underscore", b"Content-Length: 1_0\r\n"),
    _lengths("an empty length", b"Content-Length:\r\n"),
    _lengths("a length of other digits", "Content-Length: ٥\r\n".encode()),
    _lengths("a space before the colon of a length", b"Content-Length : 0\r\n"),
    _lengths("a folded length", b"Content-Length:\r\n 0\r\n"),
    _coded("two codings", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    _coded("chunked twice", b"Transfer-Encoding: chunked, chunked\r\n"),
    _coded("chunked before another", b"Transfer-Encoding: chunked, identity\r\n"),
    _coded("an unknown coding", b"Transfer-Encoding: xchunked\r\n"),
    _coded("identity", b"Transfer-Encoding: identity\r\n"),
    _coded("gzip behind chunked", b"Transfer-Encoding: gzip, chunked\r\n", 501, "not_implemented"),
    _coded("a vertical tab before the coding", b"Transfer-Encoding: \x0bchunked\r\n"),
    _coded("a space before the colon of a coding", b"Transfer-Encoding : chunked\r\n"),
    _coded("a folded coding", b"Transfer-Encoding:\r\n chunked\r\n"),
    _coded("a quoted coding", b'Transfer-Encoding: "chunked"\r\n'),
    Shape(
        "a coding of HTTP/1.0",
        b"POST /predict HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + _HIDDEN,
    ),
    _chunked("a size with a prefix", b"0x0\r\n\r\n"),
    _chunked("a size with a sign", b"+0\r\n\r\n"),
    _chunked("a negative size", b"-1\r\n\r\n"),
    _chunked("a size with an underscore", b"1_0\r\n\r\n"),
    _chunked("a size behind a space", b" 0\r\n\r\n"),
    _chunked("no size", b"\r\n\r\n"),
    _chunked("a size that overflows", b"f" * 17 + b"\r\na\r\n0\r\n\r\n"),
    _chunked("a size that ends with a line feed", b"0\n\r\n"),
    _chunked("a chunk longer than its size", b"1\r\nab\r\n0\r\n\r\n"),
    _chunked("a chunk that ends with a line feed", b"1\r\na\n0\r\n\r\n"),
    _chunked("an extension with a line feed", b"0;a\nb\r\n\r\n"),
    _chunked("an extension of 300 bytes", b"0;" + b"a" * 300 + b"\r\n\r\n"),
    _chunked("a length in the trailer", b"0\r\nContent-Length: 5\r\n\r\n", 400, "bad_request"),
    _chunked("a coding in the trailer", b"0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "bad_request"),
    _chunked("a trailer of 9,000 bytes", b"0\r\nX: " + b"a" * 9_000 + b"\r\n\r\n", *_LARGE),
    _field("a line feed alone", b"X: a\nY: b"),
    _field("a carriage return alone", b"X: a\rY: b"),
    _field("a zero byte", b"X: a\0b"),
    _field("a field without a colon", b"X"),
    _field("a field without a name", b": a"),
    _field("a name with a space", b"X Y: a"),
    _field("a name with a bracket", b"X[: a"),
    _field("a folded field", b"X: a\r\n b"),
    _field("two hosts", b"Host: b"),
    _field("an unknown expectation", b"Expect: 200-ok", 417, "expectation_failed"),
    _field("101 fields", b"\r\n".join(b"X%d: a" % number for number in range(101)), *_LARGE),
    _field("a field of 9,000 bytes", b"X: " + b"a" * 9_000, *_LARGE),
    _field("fields of 70,000 bytes", b"\r\n".join(b"X%d: " % number + b"a" * 7_800 for number in range(9)), *_LARGE),
    Shape("no host", b"GET /health/live HTTP/1.1\r\n\r\n" + _HIDDEN),
    Shape("lines that end with line feeds", b"GET /health/live HTTP/1.1\nHost: localhost\n\n" + _HIDDEN),
    Shape("a folded first field", b"GET /health/live HTTP/1.1\r\n Host: localhost\r\n\r\n" + _HIDDEN),
    Shape("two empty lines first", b"\r\n\r\n" + _HIDDEN),
    _line("a long target", b"GET /jobs?after=" + b"a" * 5_000 + b" HTTP/1.1", 414, "uri_too_long"),
    _line("HTTP/2", b"PRI * HTTP/2.0"),
    _line("HTTP/0.9", b"GET /health/live"),
    _line("two spaces", b"GET  /health/live HTTP/1.1"),
    _line("a tab", b"GET\t/health/live\tHTTP/1.1"),
    _line("a version with a space", b"GET /health/live HTTP/1.1 "),
    _line("lower case", b"get /health/live HTTP/1.1"),
    _line("a target without a slash", b"GET health/live HTTP/1.1"),
    _line("a target in another script", "GET /é HTTP/1.1".encode()),
    _line("a target without a host", b"GET http:///health/live HTTP/1.1"),
    Shape("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n" + _HIDDEN),
)
