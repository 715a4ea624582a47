"""``Idempotency-Key``: a repeated request gets the first one's response and creates nothing again.

The header follows draft-ietf-httpapi-idempotency-key-header. One transaction creates the resource and stores the
response under its key, so neither exists without the other. Errors create nothing and are not stored: a client may
correct the body and send the same key again.

A lock marks each key in use; the kernel releases it when the process ends. The lock saves work and lets clients see
that a request is under way. The primary key of the table is what prevents a second creation.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from copy import deepcopy
from functools import wraps
from typing import Any, NamedTuple

import sqlalchemy as sa
from flask import Response, g, request

from models.errors import ConflictError, InvalidError, MalformedError, describe
from models.registry.callers import own
from service.store.locks import LockTakenError
from service.store.tables import IDEMPOTENCY_KEYS as KEYS
from service.web.bodies import uploaded
from service.web.context import Context, context
from service.web.json_bodies import read_body
from service.web.openapi import refusals

__all__ = ["idempotent", "idempotent_after", "key_of", "remember"]

View = Callable[..., Response]

MAXIMUM_LENGTH = 255
#: A sign of a string of structured fields (RFC 9651, section 3.3.3), which the draft requires.
_QUOTED_SIGN = r'[ !#-\[\]-~]|\\["\\]'
#: A sign of what most clients send. Servers join two headers by a comma, so a bare key must not contain one.
_BARE_SIGN = r"[!#-+\--:<-\[\]-~]"
_QUOTED, _BARE = re.compile(f'"((?:{_QUOTED_SIGN})*)"'), re.compile(f"{_BARE_SIGN}*")
_TIMES = f"{{1,{MAXIMUM_LENGTH}}}"
#: Headers to store with a response; the others depend on the request that is being answered.
_KEPT_HEADERS = ("Content-Type", "Location")

_PARAMETER = {
    "in": "header",
    "name": "Idempotency-Key",
    "description": "Any text that the client chooses, such as a UUID, bare or in double quotes. If the same request "
    "is sent again with the same key, the service creates nothing and returns the first response, with the header "
    "`Idempotent-Replayed: true`. Keys are stored for `TRAINYARD_IDEMPOTENCY_SECONDS`. Errors are not stored: after "
    "an error, the key can be used again. Returns 409 `idempotency_key_in_use` while the first request is under way, "
    "and 422 `idempotency_key_reused` if the payload differs.",
    "schema": {
        "type": "string",
        "pattern": f'^("({_QUOTED_SIGN}){_TIMES}"|{_BARE_SIGN}{_TIMES})$',
    },
}


class _Claim(NamedTuple):
    """A request's owner, its method and path (``scope``), its key, and the SHA-256 of its payload."""

    owner: str
    scope: str
    key: str
    payload: str


def idempotent(view: View) -> View:
    """Make a route accept the header. The view calls ``remember`` in the transaction that creates the resource."""
    return idempotent_after(nullcontext)(view)


def idempotent_after(receiving: Callable[[], AbstractContextManager[object]]) -> Callable[[View], View]:
    """Like ``idempotent`` for a view that runs in a block of ``receiving``, which receives the body.

    The key is in use from before that on.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def answer(*arguments: Any, **options: Any) -> Response:
            given = request.headers.get("Idempotency-Key")
            if given is None:
                with receiving():
                    return view(*arguments, **options)
            parts, scope, key = context(), f"{request.method} {request.path}", key_of(given)
            owner = parts.database.caller.owner
            with _hold(parts, f"{owner} {scope}", key), receiving():
                return _answer(parts, _Claim(owner, scope, key, _payload()), lambda: view(*arguments, **options))

        _describe(answer)
        return answer

    return decorate


def _answer(parts: Context, claim: _Claim, view: Callable[[], Response]) -> Response:
    """The response stored under a key, or the view's."""
    known = _answer_to(parts, claim)
    if known is not None:
        return known
    g.idempotency = claim
    try:
        return view()
    except (sa.exc.IntegrityError, ConflictError):
        # If several machines share the database, another one may have used this key first.
        known = _answer_to(parts, claim)
        if known is None:
            raise
        return known


@contextmanager
def _hold(parts: Context, scope: str, key: str) -> Iterator[None]:
    """Hold a key for the time of a request; raises ConflictError if another request holds it."""
    with ExitStack() as stack:
        try:
            stack.enter_context(parts.database.backend.keyed(scope, key))
        except LockTakenError:
            detail = f"a request with the Idempotency-Key {describe(key)} is under way; send this one again later"
            raise ConflictError("idempotency_key_in_use", detail) from None
        yield


def remember(connection: sa.Connection, response: Response) -> Response:
    """Store the response under the request's key, if it has one, and delete expired responses."""
    claim: _Claim | None = g.get("idempotency")
    if claim is not None:
        now = context().database.now(connection)
        # Those stored before the clock was set back are kept for no longer than the others.
        connection.execute(sa.update(KEYS).where(KEYS.c.stored_at > now).values(stored_at=now))
        connection.execute(sa.delete(KEYS).where(KEYS.c.stored_at < now - context().settings.idempotency_seconds))
        headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
        connection.execute(
            sa.insert(KEYS).values(
                **claim._asdict(),
                status=response.status_code,
                headers=json.dumps(headers),
                body=response.get_data(),
                stored_at=now,
            )
        )
    return response


def _answer_to(parts: Context, claim: _Claim) -> Response | None:
    """The response stored under a key, or None. Raises InvalidError if it belongs to another payload."""
    oldest = parts.database.now() - parts.settings.idempotency_seconds
    with parts.database.read() as connection:
        query = own(connection, sa.select(KEYS), KEYS).where(KEYS.c.scope == claim.scope, KEYS.c.key == claim.key)
        query = query.where(KEYS.c.stored_at >= oldest)
        row = connection.execute(query).first()
    if row is None:
        return None
    if row.payload != claim.payload:
        raise InvalidError(
            "idempotency_key_reused",
            f"the Idempotency-Key {describe(claim.key)} was used with another payload; send a new request "
            "with a new key",
        )
    return Response(row.body, row.status, {**json.loads(row.headers), "Idempotent-Replayed": "true"})


def key_of(given: str) -> str:
    """The key in a header, without its quotes. Raises MalformedError."""
    quoted = _QUOTED.fullmatch(given)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else given
    if (quoted or _BARE.fullmatch(given)) and 1 <= len(key) <= MAXIMUM_LENGTH:
        return key
    raise MalformedError(
        "invalid_idempotency_key",
        f"the Idempotency-Key must be one key of 1 to {MAXIMUM_LENGTH} printable ASCII characters, in double quotes "
        f"if it has spaces, commas or semicolons. Received: {describe(given)}",
    )


def _payload() -> str:
    """SHA-256 of the query and the body.

    A form is hashed by its fields and files, because clients choose a new boundary between its parts each time.
    """
    payload: dict[str, Any] = {"query": sorted(request.args.items(multi=True))}
    if request.mimetype == "multipart/form-data":
        payload["form"] = sorted(request.form.items(multi=True))
        payload["files"] = []
        for name, file in request.files.items(multi=True):
            payload["files"].append((name, hashlib.file_digest(file.stream, "sha256").hexdigest()))  # type: ignore[arg-type]
            file.stream.seek(0)
        payload["files"].sort()
    elif (upload := uploaded()) is not None:
        payload["body"] = hashlib.file_digest(upload, "sha256").hexdigest()  # type: ignore[arg-type]
        upload.seek(0)
    else:
        payload["body"] = hashlib.sha256(read_body(request)).hexdigest()
    return hashlib.sha256(json.dumps(payload).encode()).hexdigest()


def _describe(view: Any) -> None:
    """Add the header and its errors to a view's documentation, the way flask-smorest's decorators do."""
    view._apidoc = deepcopy(view._apidoc)
    view._apidoc["arguments"]["parameters"].append(_PARAMETER)
    responses = view._apidoc["manual_doc"]["responses"]
    view._apidoc["manual_doc"]["responses"] = {**refusals(400, 409), **responses}
