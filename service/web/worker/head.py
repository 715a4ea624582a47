"""The head of a request (RFC 9112, sections 2 to 6), read as strictly as gunicorn reads it, or more so.

What two servers may read in two ways is refused, so that no request can be smuggled behind another.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from models.errors import shortened

__all__ = ["HEAD_BYTES", "Head", "RequestError", "Rules", "read_fields", "read_head"]

#: Maximum size of a head: all fields and the request line together.
HEAD_BYTES = 65_536
#: Numbers of bytes with more digits exceed every limit.
_LENGTH_DIGITS = 18
#: Spellings of field names whose keys are remembered.
_KNOWN_NAMES = 1_000

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_METHOD = re.compile(r"[!$%&'*+\-.^_`|~0-9A-Z]{3,20}")
_VERSION = re.compile(r"HTTP/1\.[0-9]")
#: RFC 3986, section 2: everything else must be percent-encoded.
_TARGET = re.compile(r"[\x21-\x7e]+")
_ABSOLUTE = re.compile(r"[Hh][Tt][Tt][Pp][Ss]?://([^/?#]*)([^#]*)")
#: RFC 9110, section 5.5: visible characters, spaces, tabs and obs-text. A line ends with CR LF, and with nothing else.
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n")
#: RFC 3986, sections 3.2.2 and 3.2.3.
_HOST = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=%]*|\[[0-9A-Fa-f:.vV]+\])(?::[0-9]*)?")
#: Fields that may stand once (RFC 9110, section 5.3).
_SINGLE = {"HTTP_HOST", "CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING", "SCRIPT_NAME"}
#: Keys of fields that say what the body is. A proxy does not read these fields if they are spelled with underscores.
_OF_BODY = {"CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING"}
#: Fields that a trailer must not have (RFC 9110, section 6.5.1).
_NOT_IN_TRAILERS = {
    *("HTTP_HOST", "CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_TRANSFER_ENCODING", "HTTP_TRAILER", "HTTP_AUTHORIZATION"),
    *("HTTP_TE", "HTTP_CONTENT_ENCODING", "HTTP_CONTENT_RANGE"),
}


class RequestError(Exception):
    """A request that is refused below the application: status, code and detail of the problem document.

    ``headers`` are those of the answer beside the usual ones.
    """

    def __init__(self, status: int, code: str, detail: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.headers = status, code, detail, headers

    @property
    def phrase(self) -> str:
        """The name of the status."""
        return HTTPStatus(self.status).phrase


class Head(NamedTuple):
    """A head: the request's part of the WSGI environment, and how its body and its answer are framed.

    ``length`` is the number of bytes of the body, None if it is chunked.
    """

    environ: dict[str, Any]
    length: int | None
    keep_alive: bool
    expects_continue: bool
    old: bool

    def again(self) -> Head:
        """The same head, with an environment of its own."""
        return self._replace(environ=self.environ.copy())

    @property
    def method(self) -> str:
        """The method."""
        method: str = self.environ["REQUEST_METHOD"]
        return method


@dataclass(frozen=True)
class Rules:
    """Limits of a head, and which peers may say what a proxy says: gunicorn's settings of the same names."""

    limit_request_line: int = 4094
    limit_request_fields: int = 100
    limit_request_field_size: int = 8190
    header_map: str = "drop"
    #: The prefix of all paths, unless a trusted proxy names another one.
    script_name: str = ""
    #: The keys of these fields in the environment, and the value that means https.
    secure_scheme_headers: dict[str, str] = field(default_factory=dict)
    forwarder_headers: frozenset[str] = frozenset()
    #: Whether the peer at an address, None for a Unix socket, is a trusted proxy.
    trusts: Callable[[str | None], bool] = lambda _address: False
    scheme: str = "http"


def read_head(data: bytes | bytearray, peer: str | None, rules: Rules) -> Head:
    """Read a head, which is without the empty line at its end; ``peer`` is the client's address, None if it has none.

    Raises RequestError.
    """
    text = data.decode("latin-1")
    line, _, fields = text.partition("\r\n")
    if len(line) > rules.limit_request_line > 0:
        detail = f"the request line must have at most {rules.limit_request_line} bytes. Received: {len(line)}"
        raise RequestError(414, "uri_too_long", detail)
    bad = _FORBIDDEN.search(text)
    if bad is not None:
        raise _refused(f"the head must not have the character {_shown(bad[0])}; lines end with \\r\\n")
    method, target, version = _request_line(line)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "RAW_URI": target,
        "SERVER_PROTOCOL": version,
        "wsgi.url_scheme": rules.scheme,
    }
    if fields:
        _add_fields(environ, fields, peer, rules)
        environ["wsgi.url_scheme"] = _scheme(environ, peer, rules)
    old = version == "HTTP/1.0"
    _add_target(environ, method, target, old)
    _split_path(environ, environ.get("SCRIPT_NAME", rules.script_name))
    length = _body_length(environ, old)
    keep_alive = not old
    connection = environ.get("HTTP_CONNECTION")
    if connection is not None:
        options = [option.strip(" \t").lower() for option in connection.split(",")]
        keep_alive = "close" not in options and (keep_alive or "keep-alive" in options)
    if method == "CONNECT":  # What follows is no request (RFC 9110, section 9.3.6).
        keep_alive = False
    expects = environ.get("HTTP_EXPECT")
    if expects is not None and expects.lower() != "100-continue":
        raise RequestError(417, "expectation_failed", f"Expect must be 100-continue. Received: {_shown(expects)}")
    return Head(environ, length, keep_alive, expects is not None and not old, old)


def read_fields(data: bytes, rules: Rules) -> None:
    """Check the trailer of a chunked body, which nothing uses. Raises RequestError."""
    text = data.decode("latin-1")
    bad = _FORBIDDEN.search(text)
    if bad is not None:
        raise _refused(f"the trailer must not have the character {_shown(bad[0])}; lines end with \\r\\n")
    environ: dict[str, Any] = {}
    if text:
        _add_fields(environ, text, "", Rules(rules.limit_request_line, rules.limit_request_fields))
    forbidden = sorted(_NOT_IN_TRAILERS & environ.keys())
    if forbidden:
        name = forbidden[0].removeprefix("HTTP_").replace("_", "-").title()
        raise _refused(f"the trailer must not have the field {name}")


def _request_line(line: str) -> tuple[str, str, str]:
    parts = line.split(" ")
    if len(parts) != 3:
        raise _refused(f"the request line must be METHOD TARGET HTTP/1.1. Received: {_shown(line)}")
    method, target, version = parts
    if not _METHOD.fullmatch(method):
        raise _refused(f"the method must be 3 to 20 capital letters. Received: {_shown(method)}")
    if not _VERSION.fullmatch(version):
        raise _refused(f"the version must be HTTP/1.1 or HTTP/1.0. Received: {_shown(version)}")
    if not _TARGET.fullmatch(target):
        raise _refused(f"the target must be percent-encoded printable ASCII. Received: {_shown(target)}")
    return method, target, version


#: The environment's key of each spelling of a field's name that was received so far.
_keys: dict[str, str] = {}


def _add_fields(environ: dict[str, Any], text: str, peer: str | None, rules: Rules) -> None:
    lines = text.split("\r\n")
    if len(lines) > rules.limit_request_fields:
        detail = f"a request must have at most {rules.limit_request_fields} fields. Received: {len(lines)}"
        raise RequestError(431, "headers_too_large", detail)
    longest = rules.limit_request_field_size - 2
    for line in lines:
        if len(line) > longest:
            detail = f"a field must have at most {longest + 2} bytes. Received: {len(line) + 2}"
            raise RequestError(431, "headers_too_large", detail)
        name, colon, value = line.partition(":")
        key = _keys.get(name)
        if not colon or key is None:
            key = _new_key(line, peer, rules)
            if key is None:
                continue
        value = value.strip(" \t")
        if key not in environ:
            environ[key] = value
        elif key in _SINGLE or (key in rules.secure_scheme_headers and rules.trusts(peer)):
            raise _refused(f"the field {name} must be given once")
        else:
            environ[key] = f"{environ[key]},{value}"


def _new_key(line: str, peer: str | None, rules: Rules) -> str | None:
    """The environment's key of a field whose name is not among the known ones, None if the field is dropped.

    Raises RequestError.
    """
    name, colon, _ = line.partition(":")
    if line.startswith((" ", "\t")):
        raise _refused("a field must not be folded over several lines")
    if not colon:
        raise _refused(f"a field must be NAME: VALUE. Received: {_shown(line)}")
    if not _TOKEN.fullmatch(name):
        raise _refused(f"the name of a field must be a token, without spaces. Received: {_shown(name)}")
    upper = name.upper()
    # The environment has one key for "X_Forwarded_For" and "X-Forwarded-For", so a trusted proxy alone may send this.
    if "_" in name and rules.header_map != "dangerous" and not _may_name(upper, peer, rules):
        if rules.header_map == "refuse":
            raise _refused(f"the name of a field must not have an underscore. Received: {_shown(name)}")
        return None
    if upper == "SCRIPT_NAME":  # The field "Script-Name" has the key HTTP_SCRIPT_NAME, which nothing trusts.
        return upper
    key = upper.replace("-", "_")
    if "_" in name and {key, f"HTTP_{key}"} & _OF_BODY:
        raise _refused(f"the name of this field must not have an underscore. Received: {_shown(name)}")
    if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        key = f"HTTP_{key}"
    if len(_keys) < _KNOWN_NAMES and "_" not in name:
        _keys[name] = key
    return key


def _may_name(upper: str, peer: str | None, rules: Rules) -> bool:
    named = upper in rules.forwarder_headers or "*" in rules.forwarder_headers
    return named and rules.trusts(peer)


def _scheme(environ: dict[str, Any], peer: str | None, rules: Rules) -> str:
    """The scheme, which a trusted proxy may set. Raises RequestError if its fields contradict each other."""
    found = {
        "https" if environ[key] == secure else "http"
        for key, secure in rules.secure_scheme_headers.items()
        if key in environ
    }
    if not found or not rules.trusts(peer):
        return rules.scheme
    if len(found) > 1:
        raise _refused("the fields of the proxy must agree whether the scheme is https")
    return found.pop()


def _add_target(environ: dict[str, Any], method: str, target: str, old: bool) -> None:
    """Add path and query (RFC 9112, section 3.2). Raises RequestError."""
    host = environ.get("HTTP_HOST")
    if target[0] != "/":
        absolute = _ABSOLUTE.fullmatch(target.partition("#")[0])
        if absolute is not None:
            # The host of the target is the one that counts (RFC 9112, section 3.2.2).
            environ["HTTP_HOST"], target = absolute[1], absolute[2] or "/"
            if not absolute[1] or not _HOST.fullmatch(absolute[1]):
                raise _refused(f"the target must have a host. Received: {_shown(absolute[0])}")
            if target[0] == "?":
                target = f"/{target}"
        elif not ((method == "OPTIONS" and target == "*") or (method == "CONNECT" and _HOST.fullmatch(target))):
            raise _refused(f"the target must be a path that begins with /. Received: {_shown(target)}")
    if host is None:
        if not old:
            raise _refused("a request of HTTP/1.1 must have the field Host")
    elif not _HOST.fullmatch(host):
        raise _refused(f"Host must be a name or an address, with a port or without. Received: {_shown(host)}")
    if "#" in target:
        target = target.partition("#")[0]
    environ["PATH_INFO"], _, environ["QUERY_STRING"] = target.partition("?")


def _split_path(environ: dict[str, Any], prefix: str) -> None:
    """Take the service's prefix off the path, and decode what is behind it (PEP 3333). Raises RequestError."""
    path, prefix = environ["PATH_INFO"], prefix.rstrip("/")
    if prefix:
        if path != prefix and not path.startswith(f"{prefix}/"):
            raise _refused(f"the path must begin with the service's prefix {_shown(prefix)}. Received: {_shown(path)}")
        path, environ["SCRIPT_NAME"] = path[len(prefix) :], prefix
    environ["PATH_INFO"] = unquote_to_bytes(path).decode("latin-1") if "%" in path else path


def _body_length(environ: dict[str, Any], old: bool) -> int | None:
    """The length of the body (RFC 9112, section 6.3), None if it is chunked. Raises RequestError."""
    length, coding = environ.get("CONTENT_LENGTH"), environ.get("HTTP_TRANSFER_ENCODING")
    if coding is None:
        if length is None:
            return 0
        if not (length.isascii() and length.isdigit()):
            raise _refused(f"Content-Length must be a whole number. Received: {_shown(length)}")
        return int(length) if len(length) <= _LENGTH_DIGITS else 10**_LENGTH_DIGITS
    if length is not None:
        raise _refused("a request must not have both Content-Length and Transfer-Encoding")
    if old:
        raise _refused("a request of HTTP/1.0 must not have Transfer-Encoding")
    codings = [each.strip(" \t").lower() for each in coding.split(",")]
    if codings.count("chunked") > 1 or ("chunked" in codings and codings[-1] != "chunked"):
        raise _refused(f"Transfer-Encoding must end with its only chunked. Received: {_shown(coding)}")
    if codings[-1] != "chunked":
        raise _refused(f"Transfer-Encoding must be chunked. Received: {_shown(coding)}")
    if len(codings) > 1:
        detail = f"Transfer-Encoding must be chunked alone; Content-Encoding may be gzip. Received: {_shown(coding)}"
        raise RequestError(501, "not_implemented", detail)
    del environ["HTTP_TRANSFER_ENCODING"]  # The application reads a body of known length.
    return None


def _refused(detail: str) -> RequestError:
    return RequestError(400, "bad_request", detail)


def _shown(text: str) -> str:
    """What was received, in printable ASCII and not too long."""
    return ascii(shortened(text))
