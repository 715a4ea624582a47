"""Downloads, each of which leaves a record in the audit trail."""

from __future__ import annotations

from http import HTTPStatus

from flask import Response, request

from service.access.audit import Action, Subject, record
from service.web.context import context

__all__ = ["record_download"]


def record_download(response: Response, kind: Subject, subject: str, owner: str) -> Response:
    """The response, which has something to download, once the trail has a record that this was downloaded.

    There is none if the response has no content, as to HEAD and if the client has the file already; each piece of a
    file has one. ``owner`` is whose it is. Raises OperationalError if the record cannot be written.
    """
    if request.method == "HEAD" or response.status_code == HTTPStatus.NOT_MODIFIED:
        return response
    try:
        with context().database.write() as connection:
            record(connection, Action.DOWNLOADED, kind, subject, owner)
    except BaseException:
        response.close()
        raise
    return response
