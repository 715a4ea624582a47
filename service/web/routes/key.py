"""The route that shows a caller what it may do."""

from __future__ import annotations

from flask import Response, request

from models.errors import MissingError
from service.access.keys import Scope, find_key
from service.access.usage import Usage
from service.web.context import context
from service.web.json_bodies import json_response
from service.web.openapi import Resource, refusals
from service.web.worker.records import KEY

__all__ = ["routes"]

routes = Resource("key", __name__, description="What the caller's key may do.")


@routes.route("/key", methods=["GET"])
@routes.response(200, "Key")
@routes.doc(responses=refusals(401))
def show_key() -> Response:
    """Show the caller's owner, scopes and models, until when its key is good, its limits, and what is used of them.

    Without keys, the service answers as if everybody on its machine had a key of the owner `local` with every scope;
    `id` is null then.
    """
    parts, key_id = context(), request.environ.get(KEY)
    caller = parts.database.caller
    document = {
        "id": None,
        "hint": None,
        "scopes": sorted(Scope),
        "models": None,
        "created_at": None,
        "expires_at": None,
    }
    with parts.database.read() as connection:
        key = None if key_id is None else find_key(connection, key_id)
        usage = Usage(connection).document()
    if key_id is not None:
        if key is None:
            raise MissingError("not_found", "the key was deleted")
        document = {name: value for name, value in key.document().items() if name in document}
    return json_response({**document, "owner": caller.owner, "limits": parts.limits.document(), "usage": usage})
