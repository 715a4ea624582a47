"""The route of versions as files that other programs run."""

from __future__ import annotations

import hashlib
import re
from io import BytesIO
from typing import Any

from flask import Response, request, send_file

from models.errors import MissingExtraError
from models.formats.mapped_parameters import MappedVersion, map_parameters
from models.registry import versions
from models.registry.versions import VersionRow
from models.schemas import StrictSchema, Text
from service.access.audit import Subject
from service.upkeep.inspection import intact_checkpoint
from service.web.context import context
from service.web.downloads import record_download
from service.web.making_room import makes_room
from service.web.memory import held_by
from service.web.openapi import Resource, partial_file, refusals
from service.web.pagination import NUMBER_PATTERN

__all__ = ["routes"]


routes = Resource("exports", __name__, description="Versions as files that other programs run.")

#: The content type of an ONNX file, as that of any file without one of its own.
_KIND = "application/octet-stream"
#: How often the parameters are in memory at most, if one layer has nearly all of them: stacked, as bytes, and twice as
#: parts of the file.
_COPIES = 4


class ExportQuery(StrictSchema):
    """Query parameter of an export."""

    format = Text(
        choices=("onnx",), load_default="onnx", metadata={"description": "The format of the file: ONNX (onnx.ai)."}
    )


@routes.route("/models/<name>/versions/<version>/export", methods=["GET"])
@routes.arguments(ExportQuery, location="query")
@routes.response(200, {"type": "string", "format": "binary"}, content_type=_KIND)
@routes.doc(responses={**partial_file(_KIND), **refusals(404, 409, 413, 501, 503)})
@makes_room
def export_version(query: dict[str, Any], name: str, version: str) -> Response:
    """Download a version, by number or alias, as a file that other programs run.

    An ONNX file holds preprocessing and networks in one graph, for example for ONNX Runtime, in any language.
    docs/export.md describes its inputs and outputs. A version that reads a column of texts cannot be exported (409
    `not_exportable`). This also works on a full disk.
    """
    parts, wanted = context(), int(version) if re.fullmatch(NUMBER_PATTERN, version) else version
    with parts.database.read() as connection:
        row = versions.resolve(connection, name, wanted)
    mapped = map_parameters(intact_checkpoint(parts.database, parts.files, row.checkpoint))
    held_by(request.environ).reserve(_COPIES * mapped.nbytes)
    content = _onnx(mapped, row)
    response = send_file(
        BytesIO(content),
        _KIND,
        as_attachment=True,
        download_name=f"{name}-{row.version}.onnx",
        etag=hashlib.sha256(content).hexdigest(),
    )
    return record_download(response, Subject.VERSION, f"{name}/{row.version}", parts.database.caller.owner)


def _onnx(mapped: MappedVersion, row: VersionRow) -> bytes:
    """The ONNX file of a version; raises MissingExtraError if the package that makes it is not installed."""
    try:
        from models.export.onnx_file import Exported, onnx_bytes
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise MissingExtraError("onnx", "to export a version as ONNX") from None
    return onnx_bytes(mapped, Exported(row.model, row.version, row.checkpoint))
