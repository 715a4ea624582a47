"""``Idempotency-Key``: a request that is sent again is answered again, and makes nothing twice.

The header is that of draft-ietf-httpapi-idempotency-key-header. The answer is stored under its key in the very
transaction that makes what was asked for, so there is never one without the other. A refusal or a fault makes nothing
and is not kept: the same key may be sent again, with the body mended too.

That a request with the same key is under way is told by a lock, which goes with its process. The lock spares work and
tells clients; that nothing is made twice rests on the primary key of the table alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from copy import deepcopy
from functools import wraps
from time import time
from typing import Any, NamedTuple

import sqlalchemy as sa
from flask import Response, g, request

from models.errors import ConflictError, InvalidError, MalformedError
from service.store.tables import IDEMPOTENCY_KEYS as KEYS
from service.web.context import Context, context
from service.web.openapi import refusals

__all__ = ["idempotent", "remember"]

View = Callable[..., Response]

MAXIMUM_LENGTH = 255
#: A string as structured fields have it (RFC 9651, section 3.3.3), and as the draft wants the header.
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
#: What most clients send. Two headers reach us joined by a comma, which therefore stands in no bare key.
_BARE = re.compile(r"[!#-+\--:<-\[\]-~]*")
#: Headers that belong to an answer; the others belong to the request at hand.
_KEPT_HEADERS = ("Content-Type", "Location")

_PARAMETER = {
    "in": "header",
    "name": "Idempotency-Key",
    "description": "Any text of the client's choice, such as a UUID, bare or in double quotes. The same request under "
    "the same key is answered as it was the first time, with `Idempotent-Replayed: true`, and makes nothing again; "
    "keys are kept for `TRAINYARD_IDEMPOTENCY_SECONDS`. Only what has made something is kept: after a refusal the key "
    "is free. While the first request is under way: 409 `idempotency_key_in_use`; for another payload: 422 "
    "`idempotency_key_reused`.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 2 * MAXIMUM_LENGTH + 2},
}


class _Claim(NamedTuple):
    """The key of a request, the method and path it is for, and the payload's SHA-256."""

    scope: str
    key: str
    payload: str


def idempotent(view: View) -> View:
    """Let a route take the header; its view calls ``remember`` in the transaction in which it makes something."""

    @wraps(view)
    def answer(*arguments: Any, **options: Any) -> Response:
        given = request.headers.get("Idempotency-Key")
        if given is None:
            return view(*arguments, **options)
        parts, scope, key = context(), f"{request.method} {request.path}", _key(given)
        with parts.keys.hold(scope, key):
            claim = _Claim(scope, key, _payload())
            known = _answer_to(parts, claim)
            if known is not None:
                return known
            g.idempotency = claim
            try:
                return view(*arguments, **options)
            except (sa.exc.IntegrityError, ConflictError):
                # Where several machines share the database, another one may have been faster with this very key.
                known = _answer_to(parts, claim)
                if known is None:
                    raise
                return known

    _describe(answer)
    return answer


def remember(connection: sa.Connection, response: Response) -> Response:
    """Keep the answer under the request's key, if it has one; answers that have become too old go."""
    claim: _Claim | None = g.get("idempotency")
    if claim is not None:
        now = time()
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
    """The answer that was given under a key; raises InvalidError where it was given to another payload."""
    oldest = time() - parts.settings.idempotency_seconds
    query = sa.select(KEYS).where(KEYS.c.scope == claim.scope, KEYS.c.key == claim.key, KEYS.c.stored_at >= oldest)
    with parts.database.read() as connection:
        row = connection.execute(query).first()
    if row is None:
        return None
    if row.payload != claim.payload:
        raise InvalidError(
            "idempotency_key_reused",
            f"the Idempotency-Key {claim.key!r} was sent with another payload; a new request needs a new key",
        )
    return Response(row.body, row.status, {**json.loads(row.headers), "Idempotent-Replayed": "true"})


def _key(given: str) -> str:
    """The key that a header carries, which is the same with quotes and without; raises MalformedError."""
    quoted = _QUOTED.fullmatch(given)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else given
    if (quoted or _BARE.fullmatch(given)) and 1 <= len(key) <= MAXIMUM_LENGTH:
        return key
    raise MalformedError(
        "invalid_idempotency_key",
        f"the Idempotency-Key must be one key of 1 to {MAXIMUM_LENGTH} printable ASCII characters, in double quotes "
        f"where it has spaces, commas or semicolons. Received: {given[:80]!r}",
    )


def _payload() -> str:
    """SHA-256 of what was sent: the query and the body's bytes.

    Of a form it is that of its fields and files, as the text between the parts is drawn anew for each request.
    """
    payload: dict[str, Any] = {"query": sorted(request.args.items(multi=True))}
    if request.mimetype == "multipart/form-data":
        payload["form"] = sorted(request.form.items(multi=True))
        payload["files"] = []
        for name, file in request.files.items(multi=True):
            payload["files"].append((name, hashlib.file_digest(file.stream, "sha256").hexdigest()))  # type: ignore[arg-type]
            file.stream.seek(0)
        payload["files"].sort()
    else:
        payload["body"] = hashlib.sha256(request.get_data(parse_form_data=False)).hexdigest()
    return hashlib.sha256(json.dumps(payload).encode()).hexdigest()


def _describe(view: Any) -> None:
    """Add header and refusals to what flask-smorest knows of a view, as its own decorators do."""
    view._apidoc = deepcopy(view._apidoc)
    view._apidoc["arguments"]["parameters"].append(_PARAMETER)
    responses = view._apidoc["manual_doc"]["responses"]
    view._apidoc["manual_doc"]["responses"] = {**refusals(400, 409), **responses}
