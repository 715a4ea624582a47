"""The gate: who asks, whether it may, and whether a page of another site asks in somebody's name.

It decides by the head of a request, before its body is read.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from flask import Flask
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from models.errors import describe, shortened
from models.identifiers import NAME_PATTERN
from models.registry.callers import SERVICE, Caller
from service.access.exposure import REMEDY, is_loopback
from service.access.key_ring import Found, KeyRing
from service.access.keys import Key, Scope
from service.access.limits import Limits
from service.access.rates import Rates
from service.access.secret import is_secret
from service.settings import Settings
from service.web.scopes import OPEN, scopes_of
from service.web.worker.head import RequestError
from service.web.worker.records import KEY
from service.web.worker.refusals import CORS, common_headers, refusal, request_id_of

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["ADMITTED", "CALLER", "LIMITS", "Gate", "GateServer"]

#: Keys in ``environ``: who asks, and its limits if they are its own.
CALLER, LIMITS = "trainyard.caller", "trainyard.limits"
#: Key in ``environ`` for what lets in further requests with the same head until a key is made or revoked.
ADMITTED = "trainyard.admitted"
#: Methods that change nothing.
_SAFE = {"GET", "HEAD", "OPTIONS"}
#: What a browser says of requests of the user's own, and of those of a page of this service.
_OWN_SITE = {"none", "same-origin"}
_CHALLENGE = 'Bearer realm="trainyard"'
#: Methods and paths whose endpoints are kept; to look one up takes longer than a prediction.
_MOST_PATHS = 1_000
#: Seconds for which a browser may remember what a page of another site may send.
_PREFLIGHT_SECONDS = 600
_ALLOWED_HEADERS = (
    "Accept, Authorization, Content-Encoding, Content-Type, Idempotency-Key, If-None-Match, "
    "Inference-Header-Content-Length, Last-Event-ID, Trainyard-Owner, Trainyard-Sticky, X-Request-Id"
)


class _Admitted(NamedTuple):
    """Who asks with a head, with which limits and key, and the count of changes at which that was found out."""

    caller: Caller
    limits: Limits
    key: str | None
    changes: bytes | None


class Gate:
    """Admits requests, or refuses them."""

    def __init__(self, app: Flask, settings: Settings, ring: KeyRing) -> None:
        self._app, self._settings, self._ring = app, settings, ring
        self._limits, self._rates = Limits.of(settings), Rates(settings.rate_store)
        self._own_limits: dict[str, Limits] = {}
        self._endpoints: dict[tuple[str, str], str | None] = {}
        self._origins = frozenset(_words(settings.origins))
        self._hosts = frozenset(_words(settings.hosts.lower()))

    def admit(self, environ: dict[str, Any], peer: str | None, *, wait: bool = False) -> bool:
        """Find out who asks, and put it into ``environ``. Raises RequestError if the request must not be answered.

        Returns False if the database would have to be waited for, unless ``wait`` is set.
        """
        if CALLER in environ:
            return True
        passed: _Admitted | None = environ.get(ADMITTED)
        if passed is not None and self._ring.is_unchanged(passed.changes):
            environ[CALLER], environ[LIMITS], environ[KEY] = passed.caller, passed.limits, passed.key
            return True
        self._require_own_site(environ)
        endpoint = self._endpoint(environ)
        if endpoint in OPEN:
            return _let_nobody_in(environ)
        if self._settings.keys == "off":
            self._require_host(environ)
            return self._let_in(environ, Found(False, None), peer, wait=wait)
        secret = _secret_of(environ.get("HTTP_AUTHORIZATION"))
        found = self._find(secret, wait=wait)
        if found is None:
            return False
        if not found.needed:
            self._require_this_machine(environ, peer)
            return self._let_in(environ, found, peer, wait=wait)
        if self._hosts:
            self._require_host(environ)
        if environ["REQUEST_METHOD"] == "OPTIONS":  # A browser sends no key with it.
            return _let_nobody_in(environ)
        if found.key is None:
            raise _unknown_key(secret)
        environ[KEY] = found.key.id
        _require_scope(found.key, endpoint)
        return self._let_in(environ, found, found.key.id, wait=wait)

    def _let_in(self, environ: dict[str, Any], found: Found, who: str | None, *, wait: bool) -> bool:
        """Count the request, and say in ``environ`` who asks. Returns False if that takes time, unless ``wait``."""
        key = found.key
        caller = _acting(SERVICE if key is None else key.caller, environ)
        limits = self._limits if key is None else self._limits_of(key)
        most = limits.requests_per_second
        if most:
            if self._rates.shared and not wait:
                return False
            if not self._rates.allow(who or "", most):
                detail = f"there may be at most {most:,} requests a second (TRAINYARD_MAX_REQUESTS_PER_SECOND)"
                raise RequestError(429, "too_many_requests", detail, (("Retry-After", "1"),))
        environ[CALLER], environ[LIMITS] = caller, limits
        if not most and (key is None or key.expires_at is None):
            environ[ADMITTED] = _Admitted(caller, limits, caller.key, found.changes)
        return True

    def _limits_of(self, key: Key) -> Limits:
        """The limits of a key; those that it has for itself never change."""
        if not key.limits:
            return self._limits
        found = self._own_limits.get(key.id)
        if found is None:
            found = self._own_limits[key.id] = self._limits.with_overrides(key.limits)
        return found

    def _endpoint(self, environ: dict[str, Any]) -> str | None:
        """The endpoint of a request; None if there is none, which the application reports."""
        asked = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if asked not in self._endpoints:
            if len(self._endpoints) >= _MOST_PATHS:
                self._endpoints.clear()
            self._endpoints[asked] = self._look_up(*asked)
        return self._endpoints[asked]

    def _look_up(self, method: str, path: str) -> str | None:
        routes, path = self._app.url_map.bind(""), path.encode("latin-1").decode(errors="replace")
        try:
            try:
                endpoint: str = routes.match(path, method)[0]
            except RequestRedirect:  # To the same path with a slash at its end.
                endpoint = routes.match(f"{path}/", method)[0]
        except HTTPException:
            return None
        return endpoint

    def _find(self, secret: str | None, *, wait: bool) -> Found | None:
        try:
            return self._ring.find(secret) if wait else self._ring.at_once(secret)
        except sa.exc.OperationalError:
            detail = "the database did not answer; try again"
            raise RequestError(503, "database_unavailable", detail) from None

    def _require_own_site(self, environ: dict[str, Any]) -> None:
        """Refuse what a page of another site sends (Fetch metadata, and Fetch standard, section 3.2).

        Somebody may follow a link from there. Other programs than browsers send neither header.
        """
        site, origin = environ.get("HTTP_SEC_FETCH_SITE"), environ.get("HTTP_ORIGIN")
        if site is None and origin is None:
            return
        if origin is not None and origin in self._origins:
            environ[CORS] = origin
            return
        safe = environ["REQUEST_METHOD"] in _SAFE
        if site is not None:
            followed = safe and environ.get("HTTP_SEC_FETCH_MODE") == "navigate"
            if site in _OWN_SITE or followed:
                return
        elif origin is None or _authority(origin) == environ.get("HTTP_HOST", "").lower():
            return
        page = f"a page of {shortened(origin)}" if origin is not None else "a page of another site"
        raise RequestError(
            403, "foreign_page", f"{page} must not use this service; TRAINYARD_ORIGINS lists the origins that may"
        )

    def _require_host(self, environ: dict[str, Any]) -> None:
        """Refuse a name of this service that is not one of those that it was given."""
        host = environ.get("HTTP_HOST")
        if host is None or not self._hosts or _is_known(host.lower(), self._hosts):
            return
        raise RequestError(403, "unknown_host", f"{_hosts_text(self._hosts)}. Received: {describe(host)}")

    def _require_this_machine(self, environ: dict[str, Any], peer: str | None) -> None:
        """Without keys, refuse whoever is not on this machine, and a page that has its own name mean this machine."""
        if peer and not is_loopback(peer):
            raise RequestError(403, "not_loopback", f"without keys, the service answers this machine alone: {REMEDY}")
        if any(field in environ for field in _OF_PROXIES):
            detail = f"without keys, the service answers this machine alone, and no proxy for others: {REMEDY}"
            raise RequestError(403, "not_loopback", detail)
        host = environ.get("HTTP_HOST")
        if host is None or _is_known(host.lower(), self._hosts):
            return
        detail = f"without keys, {_hosts_text(self._hosts)}. Received: {describe(host)}. Or {REMEDY}"
        raise RequestError(403, "unknown_host", detail)


#: Who asks for what is open to everybody: it sees no row.
_NOBODY = Caller("~")
#: Bytes that it may send.
_NOBODY_BYTES = 4_096
#: What a proxy adds to a request.
_OF_PROXIES = ("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_X_REAL_IP")


def _let_nobody_in(environ: dict[str, Any]) -> bool:
    """Let in who needs no key; a body would take memory and disk from those that have one."""
    length = environ.get("CONTENT_LENGTH", "0")
    if "HTTP_TRANSFER_ENCODING" in environ or not length.isdecimal() or int(length) > _NOBODY_BYTES:
        raise RequestError(413, "too_large", f"the body must have at most {_NOBODY_BYTES} bytes without a key")
    environ[CALLER] = _NOBODY
    return True


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


@lru_cache(maxsize=1000)
def _is_known(host: str, known: frozenset[str]) -> bool:
    """Whether a ``Host`` means this machine or one of the known names, with any port."""
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return is_loopback(name) or name in known


def _hosts_text(known: frozenset[str]) -> str:
    others = "".join(f", {name}" for name in sorted(known))
    return f"Host must be localhost{others}, or one that TRAINYARD_HOSTS lists"


def _authority(origin: str) -> str:
    """Host and port of an origin; empty for the origin ``null``."""
    return origin.partition("://")[2].lower()


def _acting(caller: Caller, environ: dict[str, Any]) -> Caller:
    """The caller, who acts for another owner if it sees all and says so."""
    owner: str | None = environ.get("HTTP_TRAINYARD_OWNER")
    if owner is None or owner == caller.owner:
        return caller
    if not caller.sees_all:
        detail = "Trainyard-Owner is for keys with the scope admin; leave it out"
        raise RequestError(403, "scope_missing", detail)
    if re.fullmatch(NAME_PATTERN, owner) is None:
        raise RequestError(400, "bad_request", f"Trainyard-Owner must be an owner's name. Received: {describe(owner)}")
    return Caller(owner, key=caller.key)


def _secret_of(authorization: str | None) -> str | None:
    """What stands for a key in ``Authorization``: the token, or a password (RFC 6750 and RFC 7617); None if absent."""
    if authorization is None:
        return None
    scheme, _, given = authorization.partition(" ")
    given = given.strip()
    if scheme.lower() != "basic":
        return given if scheme.lower() == "bearer" else authorization
    try:
        user, _, password = base64.b64decode(given, validate=True).decode().partition(":")
    except ValueError:
        return ""
    return password or user


def _unknown_key(secret: str | None) -> RequestError:
    if secret is None:
        detail = "a key is required: Authorization: Bearer ty_…, or the key as the password of basic authentication"
        return RequestError(401, "key_required", detail, (("WWW-Authenticate", _CHALLENGE),))
    detail = "the key is unknown, revoked or expired"
    if not is_secret(secret):
        detail = "the key is not complete: it is ty_ and 49 letters and digits, of which the last six are a checksum"
    challenge = f'{_CHALLENGE}, error="invalid_token"'
    return RequestError(401, "invalid_key", detail, (("WWW-Authenticate", challenge),))


def _require_scope(key: Key, endpoint: str | None) -> None:
    wanted = scopes_of(endpoint)
    if not key.may(wanted):
        needed = " or ".join(scope.value for scope in Scope if scope in wanted)
        has = ", ".join(sorted(key.scopes))
        raise RequestError(403, "scope_missing", f"this needs a key with the scope {needed}; this key has {has}")


class GateServer:
    """WSGI middleware: the gate for requests that did not pass it before, and what browsers ask before a request."""

    def __init__(self, application: WSGIApplication, gate: Gate) -> None:
        self._application, self._gate = application, gate

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            self._gate.admit(environ, environ.get("REMOTE_ADDR") or None, wait=True)
        except RequestError as error:
            found = refusal(environ, error.status, error.code, error.detail)
            headers = [
                ("Content-Type", found.content_type),
                ("Content-Length", str(len(found.body))),
                ("X-Request-Id", request_id_of(environ)),
                *([("Retry-After", "1")] if error.status == 503 else []),
                *error.headers,
                *common_headers(environ),
            ]
            start_response(found.status_line, headers)
            return [found.body]
        if "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ and environ["REQUEST_METHOD"] == "OPTIONS":
            return _preflight(environ, start_response)
        return self._application(environ, start_response)


def _preflight(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Say what a page of another site may send (Fetch standard, section 3.2.2)."""
    allowed = [
        ("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE"),
        ("Access-Control-Allow-Headers", _ALLOWED_HEADERS),
        ("Access-Control-Max-Age", str(_PREFLIGHT_SECONDS)),
    ]
    headers = [("Content-Length", "0"), ("X-Request-Id", request_id_of(environ)), *common_headers(environ)]
    start_response("204 No Content", headers + (allowed if CORS in environ else []))
    return []
