"""Downloads, each of which leaves a record in the audit trail."""

from __future__ import annotations

from http import HTTPStatus

from flask import Response, request

from service.access.audit import Action, Subject, record
from service.web.context import context

__all__ = ["HDF5", "HDF5_KINDS", "record_download"]

HDF5 = "application/x-hdf5"
#: Content types of an HDF5 file. Makers of clients know the second one; a file is sent as it if ``Accept`` prefers it.
HDF5_KINDS = (HDF5, "application/octet-stream")


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
