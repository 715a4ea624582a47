"""Tables as request bodies: the file itself or a field of a form, with options beside it."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Any, NamedTuple

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header

from models.errors import InvalidError, MalformedError, Problem, TooLargeError, escaped
from models.identifiers import NAME_PATTERN
from models.reading.options import OPTION_NAMES, ReadOptions
from service.uploads.received_table import ReceivedTable
from service.web.bodies import body_file, read_from, uploaded
from service.web.context import context
from service.web.json_bodies import parse_json, reserve_body
from service.web.memory import held_by

__all__ = [
    "FILE_TYPES",
    "UploadedFile",
    "fitting_name",
    "read_upload",
    "received_upload",
    "uploaded_file",
]

#: Content types of files, whatever they begin with. Other types hold what their content shows.
FILE_TYPES = re.compile(r"text/csv|text/tab-separated-values|.*(ndjson|jsonl|jsonlines|json-seq|parquet|csv)")
#: Members of a JSON object that is a dataset, and not one row of a file.
_MEMBERS = {"name", "inputs", "labels", "rows"}


class UploadedFile(NamedTuple):
    """A file that came as a body or in a form, the form's other fields, and the file's name if it has one."""

    file: IO[bytes]
    fields: dict[str, str]
    file_name: str | None


@contextmanager
def received_upload() -> Iterator[None]:
    """A block in which the body of the request is in a file, within ``TRAINYARD_MAX_DATASET_BYTES``.

    Raises RequestEntityTooLarge, NoRoomError if it would take what is kept of the disk, and, for a form,
    TooLargeError and MalformedError.
    """
    parts = context()
    limit, room = parts.file_bytes(request.environ, parts.settings.max_dataset_bytes), parts.files.disk.require_room
    # Werkzeug closes the files of a form that it has parsed, and forgets those of one that it refuses.
    with body_file(limit, parts.files.temporary, room) as body, ExitStack() as files:
        read_from(body, lambda: files.enter_context(parts.files.temporary()))
        if request.mimetype == "multipart/form-data":
            room(request.content_length or 0)  # Its files are written once more.
            _require_usable_form()
        yield


def _require_usable_form() -> None:
    """Read the form in the body.

    Raises TooLargeError if it has too many fields or a text that is too long, and MalformedError if a part has no name.
    """
    try:
        request.form  # noqa: B018 - werkzeug parses the form as soon as it is asked for
    except RequestEntityTooLarge:
        detail = (
            f"the form must have at most {request.max_form_parts:,} fields, and at most "
            f"{request.max_form_memory_size:,} bytes in each but 'file'. Received: more"
        )
        raise TooLargeError("form_too_large", detail) from None
    if None in {*request.form, *request.files}:  # Werkzeug keeps a part that states no name under None.
        raise MalformedError(
            "bad_request",
            "each part of the form must have a name, as in 'Content-Disposition: form-data; name=\"label\"'. Received: "
            "a part without one",
        )


def uploaded_file() -> UploadedFile | None:
    """The file in the current request; None if its body is a JSON object.

    Raises MalformedError if a form has no file, InvalidError for repeated or further files, and RequestEntityTooLarge
    if a JSON object exceeds the limit of bodies.
    """
    body = uploaded()
    assert body is not None
    if request.mimetype == "multipart/form-data":
        if "file" not in request.files:
            raise MalformedError("missing_file", "the form must have a field 'file' with the file")
        found = request.files["file"]
        found.stream.seek(0)
        return UploadedFile(found.stream, _fields_once(), found.filename or None)
    if _is_object(body):
        if (request.content_length or 0) > context().limits.body_bytes:
            request.max_content_length = context().limits.body_bytes
            raise RequestEntityTooLarge
        return None
    _, disposition = parse_options_header(request.headers.get("Content-Disposition"))
    return UploadedFile(body, {}, disposition.get("filename"))


def _is_object(body: IO[bytes]) -> bool:
    """Whether the body is a JSON object, and not a file with one such object a line."""
    head = body.read(4096)
    body.seek(0)
    kind = request.mimetype
    if kind.endswith(("/json", "+json")):
        return re.match(rb"\s*\[\s*\{", head) is None
    if FILE_TYPES.fullmatch(kind) or request.args.get("label") is not None:
        return False
    if not head.strip():
        return True
    if not head.lstrip().startswith(b"{") or (request.content_length or 0) > context().limits.body_bytes:
        return False
    try:
        held = held_by(request.environ)
        reserve_body(held, request.content_length or 0)
        value = parse_json(body.read(), held)
    except MalformedError:
        return False
    finally:
        body.seek(0)
    return isinstance(value, dict) and bool(_MEMBERS & value.keys())


def _fields_once() -> dict[str, str]:
    """The text fields of a form. Raises InvalidError for repeated fields and for files other than ``file``."""
    names = Counter([name for name, _ in request.form.items(multi=True)])
    names.update([name for name, _ in request.files.items(multi=True)])
    problems = [Problem(f"/{escaped(name)}", "must be given once") for name, count in names.items() if count > 1]
    others = request.files.keys() - {"file"}
    problems += [Problem(f"/{escaped(name)}", "must not be a file; the only file is 'file'") for name in sorted(others)]
    if problems:
        raise InvalidError.of(problems)
    return {key: request.form[key] for key in request.form}


@contextmanager
def read_upload(upload: UploadedFile, given: dict[str, Any]) -> Iterator[ReceivedTable]:
    """The table in a file, read by the options in ``given``; a block, at whose end its values are deleted.

    The charset of the body's type counts if no encoding is given.
    """
    options = {name: given[name] for name in OPTION_NAMES if given.get(name) is not None}
    charset = request.mimetype_params.get("charset")
    if charset and "encoding" not in options and not upload.fields:
        options["encoding"] = charset
    parts = context()
    reading = ReadOptions.of(options)
    temporary = parts.files.temporary
    with temporary() as exchange, temporary() as first, temporary() as second:
        yield parts.parser.table(upload.file, exchange, (first, second), reading, parts.limits.dataset_size)


def fitting_name(file_name: str | None) -> str | None:
    """A dataset's name made from a file's name: ``Größe (2).csv.gz`` becomes ``grosse-2``; None if nothing is left."""
    if not file_name:
        return None
    base = re.split(r"[/\\]", file_name)[-1].replace("ß", "ss").lower()
    base = re.sub(r"(\.(csv|tsv|txt|json|ndjson|jsonl|parquet|pq|gz|gzip|zst|zstd|data|dat))+$", "", base)
    plain = unicodedata.normalize("NFKD", base).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9._-]+", "-", plain).strip("-._")[:63]
    return name if re.fullmatch(NAME_PATTERN, name) else None
