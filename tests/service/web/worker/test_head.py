"""Heads of requests: which are refused, and that no head is read in another way than gunicorn reads it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.body import ChunkedReader
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from gunicorn.http.wsgi import create
from hypothesis import example, given
from hypothesis import strategies as st

from service.web.worker.environ import Server
from service.web.worker.head import Head, RequestError, Rules, read_head

PROXY, STRANGER = "127.0.0.1", "192.0.2.1"
CONFIG = Config()
CONFIG.set("http_parser", "python")
RULES = Server(CONFIG).rules()


def head_of(text: str, peer: str | None = STRANGER, rules: Rules = RULES) -> Head:
    """The head of a request that has the field Host."""
    line, _, fields = text.partition("\r\n")
    return read_head("\r\n".join(filter(None, [line, "Host: a", fields])).encode("latin-1"), peer, rules)


def refusal_of(data: bytes, peer: str | None = STRANGER, rules: Rules = RULES) -> tuple[int, str]:
    with pytest.raises(RequestError) as error:
        read_head(data, peer, rules)
    assert error.value.detail.isascii()
    assert error.value.detail.isprintable()
    assert len(error.value.detail) < 1_000
    return error.value.status, error.value.code


GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
BAD = (400, "bad_request")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        # Lines.
        (b"GET / HTTP/1.1\nHost: a", BAD),
        (b"GET / HTTP/1.1\r\nHost: a\nX: b", BAD),
        (b"GET / HTTP/1.1\r\nHost: a\rX: b", BAD),
        (GET + b"X: a\rb", BAD),
        (GET + b"X: a\r", BAD),
        (GET + b"X: a\n", BAD),
        (GET + b"X: a\0b", BAD),
        (GET + b"X: a\x7f", BAD),
        (GET + b"X: a\x0bb", BAD),
        (GET + b"X: a\r\n b", BAD),
        (GET + b"X: a\r\n\tb", BAD),
        (b"GET / HTTP/1.1\r\n Host: a", BAD),
        (GET + b"X", BAD),
        (GET + b": a", BAD),
        (GET + b"X : a", BAD),
        (GET + b"X\t: a", BAD),
        (GET + b" X: a", BAD),
        (GET + b"X Y: a", BAD),
        (GET + b'"X": a', BAD),
        (GET + b"\xdf: a", BAD),
        (GET + b"X(: a", BAD),
        # Lengths of bodies.
        (POST + b"Content-Length: 5\r\nContent-Length: 6", BAD),
        (POST + b"Content-Length: 5\r\ncontent-length: 5", BAD),
        (POST + b"Content-Length: 5, 5", BAD),
        (POST + b"Content-Length: +5", BAD),
        (POST + b"Content-Length: -1", BAD),
        (POST + b"Content-Length: 0x5", BAD),
        (POST + b"Content-Length: 5.0", BAD),
        (POST + b"Content-Length: 1_0", BAD),
        (POST + b"Content-Length: 5 5", BAD),
        (POST + b"Content-Length:", BAD),
        (POST + "Content-Length: \u0665".encode(), BAD),
        (POST + b"Content-Length: \xb2", BAD),
        (POST + b"Content-Length: 5\x0b", BAD),
        (POST + b"Content-Length : 5", BAD),
        # Transfer codings.
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked", BAD),
        (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5", BAD),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked", BAD),
        (POST + b"Transfer-Encoding: chunked, chunked", BAD),
        (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", BAD),
        (POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", BAD),
        (POST + b"Transfer-Encoding: chunked, gzip", BAD),
        (POST + b"Transfer-Encoding: chunked, identity", BAD),
        (POST + b"Transfer-Encoding: identity", BAD),
        (POST + b"Transfer-Encoding: gzip", BAD),
        (POST + b"Transfer-Encoding: xchunked", BAD),
        (POST + b"Transfer-Encoding: chunked;a=b", BAD),
        (POST + b'Transfer-Encoding: "chunked"', BAD),
        (POST + b"Transfer-Encoding: \x0bchunked", BAD),
        (POST + b"Transfer-Encoding: chunked\x0c", BAD),
        (POST + b"Transfer-Encoding: \xa0chunked", BAD),
        (POST + b"Transfer-Encoding:", BAD),
        (POST + b"Transfer-Encoding: chunked,", BAD),
        (POST + b"Transfer-Encoding : chunked", BAD),
        (POST + b"Transfer-Encoding\0: chunked", BAD),
        (POST + b"Transfer-Encoding: gzip, chunked", (501, "not_implemented")),
        (POST + b"Transfer-Encoding: identity, chunked", (501, "not_implemented")),
        # Fields that must be given, or given once, and their values.
        (b"GET / HTTP/1.1", BAD),
        (b"GET / HTTP/1.1\r\nX: a", BAD),
        (GET + b"Host: a", BAD),
        (GET + b"host: b", BAD),
        (GET + b"Content-Type: a/b\r\nContent-Type: a/b", BAD),
        (b"GET / HTTP/1.1\r\nHost: a b", BAD),
        (b"GET / HTTP/1.1\r\nHost: a/b", BAD),
        (b"GET / HTTP/1.1\r\nHost: a@b", BAD),
        (b"GET / HTTP/1.1\r\nHost: a:b", BAD),
        (b"GET / HTTP/1.1\r\nHost: [::1", BAD),
        (b"GET / HTTP/1.1\r\nHost: \xe4", BAD),
        (GET + b"Expect: 200-ok", (417, "expectation_failed")),
        (GET + b"Expect: 100-continue, x", (417, "expectation_failed")),
        # Request lines.
        (b"", BAD),
        (b"GET", BAD),
        (b"GET /", BAD),
        (b"GET  / HTTP/1.1", BAD),
        (b"GET / HTTP/1.1 ", BAD),
        (b" GET / HTTP/1.1", BAD),
        (b"GET\t/\tHTTP/1.1", BAD),
        (b"GET /a b HTTP/1.1", BAD),
        (b"get / HTTP/1.1", BAD),
        (b"G / HTTP/1.1", BAD),
        (b"G" * 21 + b" / HTTP/1.1", BAD),
        (b"GE\x7fT / HTTP/1.1", BAD),
        (b"GET# / HTTP/1.1", BAD),
        (b"GET / HTTP/2.0", BAD),
        (b"GET / HTTP/0.9", BAD),
        (b"GET / HTTP/1.10", BAD),
        (b"GET / HTTP/1.", BAD),
        (b"GET / http/1.1", BAD),
        (b"GET / XTTP/1.1", BAD),
        ("GET / HTTP/1.\u00b2".encode("latin-1"), BAD),
        # Targets.
        (b"GET /\0 HTTP/1.1", BAD),
        (b"GET /\x7f HTTP/1.1", BAD),
        (b"GET /\x80 HTTP/1.1", BAD),
        (b"GET /\xff HTTP/1.1", BAD),
        (b"GET /\t HTTP/1.1", BAD),
        (b"GET a HTTP/1.1\r\nHost: a", BAD),
        (b"GET * HTTP/1.1\r\nHost: a", BAD),
        (b"GET a:80 HTTP/1.1\r\nHost: a", BAD),
        (b"GET ftp://a/ HTTP/1.1\r\nHost: a", BAD),
        (b"GET http:///x HTTP/1.1\r\nHost: a", BAD),
        (b"GET http://u@a/ HTTP/1.1\r\nHost: a", BAD),
        (b"GET http://a:b/ HTTP/1.1\r\nHost: a", BAD),
        (b"GET http://a/ HTTP/1.1", BAD),
        (b"GET http://a/ HTTP/1.1\r\nHost: a b", BAD),
        (b"CONNECT / HTTP/1.1", BAD),
        (b"CONNECT a/b HTTP/1.1\r\nHost: a", BAD),
        (b"OPTIONS *x HTTP/1.1\r\nHost: a", BAD),
        # Limits.
        (b"GET /" + b"a" * 4_094 + b" HTTP/1.1\r\nHost: a", (414, "uri_too_long")),
        (GET + b"X: " + b"a" * 8_190, (431, "headers_too_large")),
        (GET + b"\r\n".join([b"X: a"] * 100), (431, "headers_too_large")),
    ],
    ids=repr,
)
def test_what_is_refused(data: bytes, expected: tuple[int, str]) -> None:
    assert refusal_of(data) == expected


@pytest.mark.parametrize(
    ("line", "path", "query", "host"),
    [
        ("GET / HTTP/1.1", "/", "", "a"),
        ("GET /a/b?c=d&e HTTP/1.1", "/a/b", "c=d&e", "a"),
        ("GET /a?b?c HTTP/1.1", "/a", "b?c", "a"),
        ("GET /a?b#c HTTP/1.1", "/a", "b", "a"),
        ("GET /a#b?c HTTP/1.1", "/a", "", "a"),
        ("GET //a//b HTTP/1.1", "//a//b", "", "a"),
        ("GET /a/../b/. HTTP/1.1", "/a/../b/.", "", "a"),
        ("GET /%41%2f%c3%a4%zz?%41 HTTP/1.1", "/A/\xc3\xa4%zz", "%41", "a"),
        ('GET /"<>[]^`{|}\\ HTTP/1.1', '/"<>[]^`{|}\\', "", "a"),
        ("GET /http://b/ HTTP/1.1", "/http://b/", "", "a"),
        ("GET http://b HTTP/1.1", "/", "", "b"),
        ("GET HTTP://b:80/x?y HTTP/1.1", "/x", "y", "b:80"),
        ("GET https://b?y HTTP/1.1", "/", "y", "b"),
        ("GET http://[::1]:80/x#y HTTP/1.1", "/x", "", "[::1]:80"),
        ("OPTIONS * HTTP/1.1", "*", "", "a"),
        ("CONNECT b:443 HTTP/1.1", "b:443", "", "a"),
        ("M-SEARCH / HTTP/1.1", "/", "", "a"),
    ],
)
def test_targets(line: str, path: str, query: str, host: str) -> None:
    """If a target names a host, that one counts (RFC 9112, section 3.2.2)."""
    environ = head_of(line).environ
    assert (environ["PATH_INFO"], environ["QUERY_STRING"], environ["HTTP_HOST"]) == (path, query, host)
    assert environ["RAW_URI"] == line.split()[1]
    assert environ["REQUEST_METHOD"] == line.split(maxsplit=1)[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET / HTTP/1.1", True),
        ("GET / HTTP/1.9", True),
        ("GET / HTTP/1.1\r\nConnection: close", False),
        ("GET / HTTP/1.1\r\nConnection: x, CLOSE ", False),
        ("GET / HTTP/1.1\r\nConnection: x\r\nConnection: close", False),
        ("GET / HTTP/1.1\r\nConnection: keep-alive, close", False),
        ("GET / HTTP/1.1\r\nConnection: closed", True),
        ("GET / HTTP/1.0", False),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive", True),
        ("GET / HTTP/1.0\r\nConnection: keep-alive, close", False),
        ("CONNECT b:1 HTTP/1.1", False),
    ],
)
def test_whether_a_connection_is_kept(text: str, expected: bool) -> None:
    assert head_of(text).keep_alive is expected


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ("", 0),
        ("Content-Length: 0", 0),
        ("Content-Length: \t 5 \t", 5),
        ("Content-Length: 005", 5),
        ("Content-Length: " + "9" * 18, 10**18 - 1),
        ("Content-Length: " + "9" * 5_000, 10**18),
        ("Transfer-Encoding: chunked", None),
        ("transfer-encoding: \t CHUNKED \t", None),
        ("Content-Length: 5\r\nExpect: 100-Continue", 5),
    ],
)
def test_lengths(fields: str, length: int | None) -> None:
    head = head_of(f"POST / HTTP/1.1\r\n{fields}")
    assert head.length == length
    assert head.expects_continue is ("Expect" in fields)
    assert "HTTP_TRANSFER_ENCODING" not in head.environ


def test_an_old_client_expects_nothing() -> None:
    head = head_of("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5")
    assert head.old
    assert not head.expects_continue
    assert read_head(b"GET / HTTP/1.0", STRANGER, RULES).environ["SERVER_PROTOCOL"] == "HTTP/1.0"


def test_fields_of_one_name_are_joined() -> None:
    environ = head_of("GET / HTTP/1.1\r\nX-A: 1\r\nx-a:2\r\nX-a: \t3\xe4 ").environ
    assert environ["HTTP_X_A"] == "1,2,3\xe4"


@pytest.mark.parametrize("name", ["Transfer_Encoding", "Content_Length", "X_Forwarded_Proto", "Host_", "SCRIPT_NAME"])
def test_a_name_with_an_underscore_is_dropped(name: str) -> None:
    """The environment cannot tell it from the name with a hyphen, which a proxy may have checked."""
    head = head_of(f"POST / HTTP/1.1\r\n{name}: chunked")
    assert head.length == 0
    assert not [value for value in head.environ.values() if value == "chunked"]
    refuse = Rules(header_map="refuse")
    assert refusal_of(POST + f"{name}: chunked".encode(), rules=refuse) == BAD


@pytest.mark.parametrize("name", ["Transfer_Encoding", "Content_Length", "content_type", "TRANSFER_ENCODING"])
def test_no_underscore_says_what_the_body_is(name: str) -> None:
    """A proxy before us does not take such a field for the length, whoever may send it."""
    data = POST + f"{name}: 5".encode()
    for rules in (Rules(header_map="dangerous"), Rules(forwarder_headers=frozenset("*"), trusts=bool)):
        assert refusal_of(data, PROXY, rules) == BAD


def test_a_field_with_an_underscore_that_is_allowed() -> None:
    environ = head_of("GET / HTTP/1.1\r\nX_Y: 1\r\nX-Y: 2", rules=Rules(header_map="dangerous")).environ
    assert environ["HTTP_X_Y"] == "1,2"
    assert "HTTP_X_Y" not in head_of("GET / HTTP/1.1\r\nX_Y: 1").environ, "what was allowed once is not remembered"


@pytest.mark.parametrize("field", ["X-Forwarded-Proto: https", "X-Forwarded-Protocol: ssl", "X-Forwarded-Ssl: on"])
def test_a_proxy_says_the_scheme(field: str) -> None:
    text = f"GET / HTTP/1.1\r\n{field}"
    assert head_of(text, PROXY).environ["wsgi.url_scheme"] == "https"
    assert head_of(text, None).environ["wsgi.url_scheme"] == "https", "a Unix socket is trusted"
    assert head_of(text, STRANGER).environ["wsgi.url_scheme"] == "http"
    assert head_of(text.rpartition(" ")[0] + " x", PROXY).environ["wsgi.url_scheme"] == "http"


def test_a_proxy_must_not_contradict_itself() -> None:
    for fields in (
        b"X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off",
        b"X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http",
        b"X-Forwarded-Proto: https\r\nX-Forwarded-Proto: https",
    ):
        assert refusal_of(GET + fields, PROXY) == BAD
        assert read_head(GET + fields, STRANGER, RULES).environ["wsgi.url_scheme"] == "http"


def test_the_prefix_of_a_trusted_proxy() -> None:
    environ = head_of("GET /pre%41/x%41 HTTP/1.1\r\nSCRIPT_NAME: /pre%41", PROXY).environ
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/pre%41", "/xA")
    environ = head_of("GET /pre HTTP/1.1\r\nscript_name: /pre/", PROXY).environ
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/pre", "")
    for target in (b"/", b"/prefix", b"/Pre/x", b"*"):
        method = b"OPTIONS " if target == b"*" else b"GET "
        assert refusal_of(method + target + b" HTTP/1.1\r\nHost: a\r\nSCRIPT_NAME: /pre", PROXY) == BAD
    assert refusal_of(b"GET /pre HTTP/1.1\r\nHost: a\r\nSCRIPT_NAME: /pre\r\nScript_Name: /pre", PROXY) == BAD


@pytest.mark.parametrize("peer", [PROXY, STRANGER])
def test_nobody_sets_the_prefix_by_a_name_without_underscore(peer: str) -> None:
    environ = head_of("GET /pre/x HTTP/1.1\r\nScript-Name: /pre\r\nPath-Info: /y", peer).environ
    assert "SCRIPT_NAME" not in environ
    assert environ["PATH_INFO"] == "/pre/x"


def test_the_prefix_of_the_service() -> None:
    rules = Rules(script_name="/pre")
    assert head_of("GET /pre/predict HTTP/1.1", rules=rules).environ["PATH_INFO"] == "/predict"
    assert refusal_of(b"GET /predict HTTP/1.1\r\nHost: a", rules=rules) == BAD


def test_limits_that_are_off() -> None:
    rules = Rules(limit_request_line=0)
    assert head_of(f"GET /{'a' * 10_000} HTTP/1.1", rules=rules).environ["PATH_INFO"] == f"/{'a' * 10_000}"


# Gunicorn's own parser as the oracle.


class _Socket:
    """What gunicorn needs of a socket: it answers to Expect."""

    def send(self, data: bytes) -> int:
        return len(data)


def by_gunicorn(data: bytes, peer: str) -> tuple[dict[str, Any], int | None]:
    """The environment and the length of the body. Raises what gunicorn raises."""
    request = Request(CONFIG, IterUnreader([data + b"\r\n\r\n"]), (peer, 1))
    _, environ = create(request, _Socket(), (peer, 1), ("127.0.0.1", 80), CONFIG)
    reader = request.body.reader
    return environ, None if isinstance(reader, ChunkedReader) else reader.length


#: What we refuse although gunicorn does not, by the detail of the refusal.
STRICTER = re.compile(
    r"a request of HTTP/1\.1 must have the field Host|Host must be a name"
    r"|the target must (have a host|be a path)"  # absolute forms of other schemes, or without a host
    r"|Transfer-Encoding must be chunked alone"  # gunicorn takes "gzip, chunked", and hands the gzip on
    r"|Expect must be 100-continue"  # given twice
    r"|the field (Transfer-Encoding|x-forwarded-(proto|protocol|ssl)|script_name) must be given once"
    r"|the path must begin with the service's prefix",  # gunicorn takes /prefixes for a path below /prefix
    re.IGNORECASE,
)


def compare(data: bytes, peer: str) -> None:
    """What we accept, gunicorn accepts, with the same meaning; what only gunicorn accepts is listed."""
    try:
        theirs, their_length = by_gunicorn(data, peer)
    except Exception:  # noqa: BLE001 - whatever it is, gunicorn refuses the request
        with pytest.raises(RequestError):
            read_head(data, peer, RULES)
        return
    try:
        head = read_head(data, peer, RULES)
    except RequestError as error:
        refusal = error.detail
    else:
        refusal = ""
    if refusal:
        assert STRICTER.match(refusal), refusal
        return
    ours = head.environ
    assert head.length == (None if their_length is None else min(their_length, 10**18))
    for key in ("REQUEST_METHOD", "QUERY_STRING", "wsgi.url_scheme", "SERVER_PROTOCOL", "RAW_URI"):
        assert ours[key] == theirs[key], key
    if ours["REQUEST_METHOD"] != "CONNECT":  # urlsplit takes the host for a scheme.
        assert ours["PATH_INFO"] == theirs["PATH_INFO"] or ("://" in ours["RAW_URI"] and ours["PATH_INFO"] == "/")
    assert ours.get("SCRIPT_NAME", "") == theirs["SCRIPT_NAME"].rstrip("/")
    skipped = {"HTTP_TRANSFER_ENCODING", "HTTP_SCRIPT_NAME"}  # The body has a length, and the prefix a key of its own.
    if not ours["RAW_URI"].startswith("/"):
        skipped.add("HTTP_HOST")  # The target names it.
    assert fields_of(ours, skipped) == fields_of(theirs, skipped)


def fields_of(environ: dict[str, Any], skipped: set[str]) -> dict[str, str]:
    return {key: environ[key] for key in environ if key.startswith(("HTTP_", "CONTENT_")) and key not in skipped}


NAMES = st.sampled_from(
    [
        *(
            "Host",
            "host",
            "Content-Length",
            "content-length",
            "Content_Length",
            "Transfer-Encoding",
            "Transfer_Encoding",
        ),
        *("Connection", "Expect", "Content-Type", "X-A", "x-a", "X_A", "X-Forwarded-Proto", "X-Forwarded-Ssl"),
        *(
            "SCRIPT_NAME",
            "Script-Name",
            "PATH_INFO",
            "Path-Info",
            "X-Forwarded-Protocol",
            "X A",
            "X ",
            " X",
            "",
            "\xdf",
        ),
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        [
            *(
                "",
                "a",
                "5",
                "0",
                "+5",
                "-5",
                " 5 ",
                "5,5",
                "5\t",
                "\u00b2",
                "0x5",
                "a:80",
                "[::1]:8",
                "a b",
                "on",
                "ssl",
            ),
            *("chunked", "Chunked", "gzip", "gzip, chunked", "chunked, chunked", "identity", "identity,chunked", "br"),
            *(
                "chunked\x0b",
                '"chunked"',
                "\tchunked",
                "chunked,",
                "close",
                "keep-alive",
                "100-continue",
                "https",
                "http",
            ),
            *("/pre", "/", "a\r\n b", "a\rb", "a\nb", "\xff", "\x7f", "\0"),
        ]
    ),
    st.text(st.characters(max_codepoint=255), max_size=8),
)
TARGETS = st.one_of(
    st.sampled_from(
        [
            *(
                "/",
                "*",
                "/pre/x",
                "/pre",
                "/prex",
                "//a/b",
                "a:80",
                "http://b/c?d",
                "http://b",
                "HTTP://b?c",
                "http://",
                "x",
            ),
            *("https://u@b/", "ftp://b/", "/a?b#c", "/a#b?c", "/%41%zz%", "/\xff", "/a//b?//c", "http:/a", "/a://b"),
            *("http://[::1]:80/a", "http://[::1/", "/[", "/a;b?c;d", "/?", "/#", "?", "#", ""),
        ]
    ),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12).map("/{}".format),
)
LINES = st.one_of(
    st.builds(
        "{} {} {}".format,
        st.sampled_from(["GET", "POST", "OPTIONS", "CONNECT", "get", "G", "GET#", "M-SEARCH", "A" * 20, "A" * 21]),
        TARGETS,
        st.sampled_from(
            ["HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "http/1.1", "HTTP/1.1 ", "HTTP/1.\xb2"]
        ),
    ),
    st.builds("GET {} HTTP/1.1".format, TARGETS),
    st.sampled_from(["GET /", "GET", "GET  / HTTP/1.1", "GET / a HTTP/1.1", "GET\t/ HTTP/1.1"]),
)
FIELDS = st.lists(st.builds("{}:{}{}".format, NAMES, st.sampled_from(["", " ", "\t"]), VALUES), max_size=5)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Heads of which many are nearly right."""
    fields = draw(FIELDS)
    if draw(st.booleans()):
        fields.append("Host: a")
    data = bytearray("\r\n".join([draw(LINES), *fields]).encode("latin-1"))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        kind, byte = draw(st.sampled_from(["set", "insert", "remove"])), draw(st.integers(0, 255))
        data[place : place + (kind != "insert")] = b"" if kind == "remove" else bytes([byte])
    head = bytes(data).partition(b"\r\n\r\n")[0]
    # An empty line before a request is the connection's affair; an empty head cannot come about.
    return head.lstrip(b"\r\n") or b"G"


@given(heads(), st.sampled_from([PROXY, STRANGER]))
@example(b"GET /pre/x HTTP/1.1\r\nHost: a\r\nScript-Name: /pre", STRANGER)
@example(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Proto: https", PROXY)
@example(b"GET /x#y HTTP/1.1\r\nHost: a\r\nX: \xff", STRANGER)
def test_a_head_means_what_it_means_to_gunicorn(data: bytes, peer: str) -> None:
    compare(data, peer)


def test_the_oracle_is_asked() -> None:
    """The comparison above would find a difference."""
    environ, length = by_gunicorn(POST + b"Content-Length: 5\r\nX-A: b", PROXY)
    assert length == 5
    assert environ["HTTP_X_A"] == "b"
    assert by_gunicorn(POST + b"Transfer-Encoding: chunked", PROXY)[1] is None
