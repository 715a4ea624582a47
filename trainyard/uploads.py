"""Sending tables to a service, once."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard import tables
from trainyard.bodies import FileBody, json_text
from trainyard.datasets import TABLE_TYPES, Dataset
from trainyard.errors import Conflict, NotFound

if TYPE_CHECKING:
    from trainyard.client import Trainyard

__all__ = ["fitting", "upload"]

#: Seconds for which an upload may take to be read.
READING = 600.0


@dataclass(frozen=True)
class _Table:
    """A table as a file: its name in the service if no other is given, and options that its types give."""

    body: FileBody
    name: str
    options: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """The SHA-256 of the file."""
        with self.body.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def upload(client: Trainyard, data: Any, name: str | None, options: Mapping[str, Any], *, exact: bool) -> Dataset:
    """A dataset with these rows, which is the one there if they have been uploaded before.

    If another dataset has the name, ``exact`` refuses that, and otherwise the rows get a name with a part of their
    SHA-256.
    """
    with _prepared(data) as table:
        given = {**table.options, **{name: value for name, value in options.items() if value is not None}}
        wanted, digest = fitting(name or table.name), table.digest
        try:
            return _once(client, table.body, {"name": wanted, **given}, digest)
        except Conflict as error:
            if error.code != "name_taken" or exact:
                raise
        mark = hashlib.sha256(f"{digest} {json.dumps(given, sort_keys=True)}".encode()).hexdigest()[:8]
        other = f"{wanted[:54]}-{mark}"
        try:
            return client.dataset(other)
        except NotFound:
            return _once(client, table.body, {"name": other, **given}, digest)


def _once(client: Trainyard, body: FileBody, query: Mapping[str, Any], digest: str) -> Dataset:
    """The dataset that this file was uploaded as under this name; the service finds that out by the key."""
    text = json.dumps([query, digest], sort_keys=True)
    key = {"Idempotency-Key": f"content-{hashlib.sha256(text.encode()).hexdigest()}"}
    response = client.request("POST", "/datasets", body, query=query, headers=key, timeout=READING)
    if response.headers.get("idempotent-replayed") == "true":
        try:
            return client.dataset(response.json()["id"])
        except NotFound:  # It was deleted since.
            response = client.request("POST", "/datasets", body, query=query, timeout=READING)
    return Dataset.of(response.json(), client)


@contextmanager
def _prepared(data: Any) -> Iterator[_Table]:
    path = tables.as_file(data)
    if path is not None:
        kind = TABLE_TYPES.get(path.suffix.lower(), "application/octet-stream")
        yield _Table(FileBody(path, kind), tables.ENDINGS.sub("", path.name), {})
        return
    import tempfile

    with tempfile.TemporaryDirectory(prefix="trainyard-") as folder:
        file = Path(folder) / "rows.ndjson"
        with file.open("w", encoding="utf-8", newline="\n") as lines:
            lines.writelines(f"{json_text(row)}\n" for row in tables.records(data))
        body = FileBody(file, TABLE_TYPES[".ndjson"])
        yield _Table(body, f"rows-{_Table(body, '', {}).digest[:8]}", _options(data))


def _options(data: Any) -> dict[str, Any]:
    """What the types of a frame say that JSON does not, and the label of ``(X, y)``."""
    pair = isinstance(data, tuple) and len(data) == 2
    frame = data[0] if pair else data
    options: dict[str, Any] = {"label": tables.label_name(*data)} if pair else {}
    if tables.is_frame(frame):
        kinds = {"category": "category", "datetime64": "datetime"}
        types = {
            name: kinds[str(kind).partition("[")[0]]
            for name, kind in zip(tables.named_columns(frame), frame.dtypes, strict=True)
            if str(kind).partition("[")[0] in kinds
        }
        if types and not any(re.search("[:,]", name) for name in types):
            options["types"] = types
    return options


def fitting(name: str) -> str:
    """A name as the service takes it, from any text: ``"My file"`` becomes ``my-file``."""
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss")).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9._-]+", "-", plain).strip("-._")[:63] or "rows"
