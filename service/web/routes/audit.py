"""The route of the audit trail."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from flask import Response

from models.schemas import Text, left_out
from service.access.audit import Action, Subject, list_records
from service.web.context import context
from service.web.openapi import Resource, refusals
from service.web.pagination import NumberPage, page

__all__ = ["routes"]

routes = Resource("audit", __name__, description="Who made, published, deleted and downloaded what.")


class AuditPage(NumberPage):
    """A page of records, newest first; those of one key, owner, action, kind or subject if these are given."""

    key = ma.fields.String(load_default=left_out)
    owner = ma.fields.String(load_default=left_out)
    action = Text(choices=tuple(action.value for action in Action), load_default=left_out)
    kind = Text(choices=tuple(kind.value for kind in Subject), load_default=left_out)
    subject = ma.fields.String(load_default=left_out)


@routes.route("/audit", methods=["GET"])
@routes.arguments(AuditPage, location="query")
@routes.response(200, "RecordList")
@routes.doc(responses=refusals(401, 403))
def list_audit(query: dict[str, Any]) -> Response:
    """List the records of the audit trail, newest first.

    It needs a key with the scope `admin`. `after` takes a record's id. Records are kept for
    `TRAINYARD_AUDIT_RETENTION_DAYS`.
    """
    limit, after = query.pop("limit"), query.pop("after")
    conditions = {name: value for name, value in query.items() if value is not None}
    with context().database.read() as connection:
        rows = list_records(connection, limit + 1, None if after is None else int(after), conditions)
    return page(rows, limit)
