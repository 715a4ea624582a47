"""Downloads, each of which leaves a record in the audit trail."""

from __future__ import annotations

from http import HTTPStatus

from flask import Response, request

from service.access.audit import Action, Subject, record
from service.web.context import context

__all__ = ["record_download"]


def record_download(response: Response, kind: Subject, subject: str) -> Response:
    """The response, which has something to download, once the trail has a record that this was downloaded.

    There is none if the response has no content, as to HEAD and if the client has the file already; nor for a piece
    that does not begin at the beginning, since a client that resumes a download has a record of its first piece. Raises
    OperationalError if the record cannot be written.
    """
    if request.method == "HEAD" or response.status_code == HTTPStatus.NOT_MODIFIED or response.content_range.start:
        return response
    try:
        with context().database.write() as connection:
            record(connection, Action.DOWNLOADED, kind, subject)
    except BaseException:
        response.close()
        raise
    return response
