"""Every parser of what clients send, as a function of bytes, with good inputs and what it may refuse them with.

A parser is right about an input if it accepts it or refuses it by one of its errors; anything else is a crash.
"""

from __future__ import annotations

import atexit
import csv
import gzip
import io
import re
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import marshmallow as ma
import orjson
from flask import Flask, send_file
from werkzeug.exceptions import HTTPException

from models.data.columns import ColumnSpec
from models.definition.definition import ModelDefinition
from models.errors import TrainyardError
from models.formats.row_pages import condition_of
from models.identifiers import NAME_PATTERN
from models.reading.dialect import dialect_of, normalize, rows_of
from models.reading.options import ReadOptions
from models.reading.read_table import ReadTable
from models.registry.callers import SERVICE
from models.registry.versions import require_version_form
from models.training.request import TrainSchema
from models.training.search import SweepSchema
from service.settings import Settings
from service.web import idempotency
from service.web.app import create_app
from service.web.compressed_body import CompressedBody
from service.web.file_bodies import fitting_name, received_upload, uploaded_file
from service.web.gate import CALLER
from service.web.json_bodies import parse_json
from service.web.large_json import parse_large
from service.web.pagination import HistoryPage
from service.web.worker.chunks import ChunkReader
from service.web.worker.head import RequestError, Rules, read_fields, read_head

__all__ = ["PARSERS", "Parser"]


class Parser(NamedTuple):
    """A parser, good inputs, its refusals, and the bytes of memory that it may take for a byte of input."""

    name: str
    parse: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    refusals: tuple[type[Exception], ...] = (TrainyardError,)
    factor: int = 64


#: In an input of a parser of JSON, it stands for rows of 40 KB, which are read in blocks.
_MANY = b"@"
#: What the gate adds to a request without a key.
_ADMITTED = {CALLER: SERVICE}
#: What is downloaded.
_CONTENT = bytes(range(256)) * 4
_ROWS = b"[0.5,-1e3,7]" + b",[1,2,3]" * 5_000
_COLUMNS = (
    ColumnSpec("a", "number"),
    ColumnSpec("a:b", "category", ("x", "y")),
    ColumnSpec("flag", "boolean", ("no", "yes")),
    ColumnSpec("day", "datetime"),
    ColumnSpec("note", "text"),
)


@cache
def _app() -> Flask:
    """The application, on data of its own, in which nothing is stored."""
    folder = tempfile.mkdtemp(prefix="trainyard-parsers-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    settings = Settings.read({"TRAINYARD_DATA": folder, "TRAINYARD_TRAINER": "external", "TRAINYARD_WORKERS": "1"})
    settings.prepare()
    return create_app(settings)


def _head(data: bytes) -> None:
    head = read_head(data, "127.0.0.1", Rules())
    assert head.length is None or head.length >= 0
    assert "\0" not in head.environ["RAW_URI"]


def _fields(data: bytes) -> None:
    read_fields(data, Rules())


def _chunks(data: bytes) -> None:
    """However a body arrives, it is read in the same way."""
    found = []
    for size in (len(data) or 1, 1, 7):
        reader, body = ChunkReader(Rules()), b""
        try:
            for place in range(0, len(data), size):
                body += reader.feed(data[place : place + size])
            found.append((body, reader.ended, None))
        except RequestError as error:
            found.append((b"", False, error.status))
    assert found[0] == found[1] == found[2], found


def _json(data: bytes) -> None:
    """Large bodies are read as small ones are."""
    body = data.replace(_MANY, _ROWS)
    outcomes: list[bool] = []
    refused: TrainyardError | None = None
    for parse in (parse_json, parse_large):
        try:
            parse(body, None)
            outcomes.append(True)
        except TrainyardError as error:
            outcomes.append(False)
            refused = error
    assert outcomes[0] == outcomes[1], outcomes
    if refused is not None:
        raise refused


def _documents(parse: Callable[[Any], object]) -> Callable[[bytes], object]:
    """A parser of what a JSON body holds."""

    def parse_bytes(data: bytes) -> object:
        return parse(parse_json(data))

    return parse_bytes


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"label": value}


def _options(value: Any) -> None:
    """What was read is written as it can be read again."""
    options = ReadOptions.of(_mapping(value))
    written = {name: each for name, each in options.document().items() if name not in ("thousands", "alone")}
    again = ReadOptions.of(written)
    assert again.document() | {"thousands": None} == options.document() | {"thousands": None}
    options.faults_of_names(["a", "b"])


def _query_options(data: bytes) -> None:
    """Options as a query has them: text alone."""
    pairs = (line.partition("=") for line in data.decode("utf-8", "replace").split("&"))
    ReadOptions.of({name: value for name, _, value in pairs})


def _definition(value: Any) -> None:
    """What was defined is written as the same definition."""
    definition = ModelDefinition.load(value)
    assert ModelDefinition.load(definition.document()) == definition


def _table(data: bytes) -> None:
    """A file's dialect, its rows, and the same rows written plainly."""
    with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as plain:
        file.write(data)
        file.flush()
        dialect, sample = dialect_of(file.fileno(), ReadOptions())
        assert all(len(name) <= len(data) + 20 for name in dialect.names)
        assert len(sample.rows) <= data.count(b"\n") + data.count(b"\r") + 1
        rows = [row.cells for row in rows_of(file.fileno(), dialect)]
        again = normalize(file.fileno(), dialect, plain.fileno())
        assert [row.cells for row in rows_of(plain.fileno(), again)] == rows


def _text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    """A parser of one value of a query, a header or a name."""
    return lambda data: parse(data.decode("utf-8", "replace"))


def _file_name(text: str) -> None:
    name = fitting_name(text)
    assert name is None or re.fullmatch(NAME_PATTERN, name), name


def _gzip(data: bytes) -> None:
    """At most so many bytes are unpacked as are asked for."""
    body = CompressedBody(io.BytesIO(data), len(data), 100_000)
    assert len(body.read(50_000)) <= 50_000
    body.read(50_000)


def _form(data: bytes) -> None:
    """A form whose boundary is b, as far as to its file."""
    options: dict[str, Any] = {"input_stream": io.BytesIO(data), "content_length": len(data)}
    options["environ_overrides"] = _ADMITTED
    with (
        _app().test_request_context(
            "/datasets", method="POST", content_type="multipart/form-data; boundary=b", **options
        ),
        received_upload(),
    ):
        uploaded_file()


def _disposition(data: bytes) -> None:
    """Headers of a body that is a file."""
    kind, _, disposition = data.decode("latin-1").partition("\n")
    headers = {"Content-Type": kind, "Content-Disposition": disposition}
    options: dict[str, Any] = {"headers": _sendable(headers), "environ_overrides": _ADMITTED}
    with _app().test_request_context("/datasets", method="POST", data=b"a,b\n1,2\n", **options):
        with received_upload():
            upload = uploaded_file()
        assert upload is None or upload.file_name is None or isinstance(upload.file_name, str)


def _range(data: bytes) -> None:
    """A part of a file is that part."""
    value, _, condition = data.decode("latin-1").partition("\n")
    headers = _sendable({"Range": value, "If-Range": condition} if condition else {"Range": value})
    with _app().test_request_context("/checkpoints/a/file", headers=headers):
        response = send_file(io.BytesIO(_CONTENT), "application/x-hdf5", etag="a", conditional=True)
        response.direct_passthrough = False
        body = response.get_data()
        assert response.status_code in (200, 206, 304)
        if response.status_code == 206:
            first, last = map(int, re.findall(r"bytes (\d+)-(\d+)/1024", response.headers["Content-Range"])[0])
            assert body == _CONTENT[first : last + 1]


def _sendable(headers: dict[str, str]) -> dict[str, str]:
    """Headers as they can arrive: our parser of heads refuses line ends within them."""
    return {name: re.sub(r"[\x00-\x1f\x7f]", "", value) for name, value in headers.items()}


def _pages(data: bytes) -> None:
    pairs = (line.partition("=") for line in data.decode("utf-8", "replace").split("&"))
    HistoryPage().load({name: value for name, _, value in pairs})


_HTTP = (RequestError,)
_FLASK = (TrainyardError, HTTPException)
_LOADED = (TrainyardError, ma.ValidationError)
_GOOD_HEAD = b"POST /predict?a=b HTTP/1.1\r\nHost: a:80\r\nContent-Type: application/json\r\nContent-Length: 3"
_FORM = (
    b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nx\r\n--b\r\nContent-Disposition: form-data; '
    b'name="file"; filename="a.csv"\r\nContent-Type: text/csv\r\n\r\na,b\n1,2\n\r\n--b--\r\n'
)
_TABLES = (b'a;b\n1,5;"x\ny"\n2;z\n', b"'a' 'b'\n1 2\n", b"a\tb\r\n1\t2\r\n")
_ZIPPED = gzip.compress(b"ab", mtime=0)
_FILES = (b"text/csv\nattachment; filename*=UTF-8''a%20b.csv", b"application/json\n")
_DETAILS = (
    b'{"rows":2,"details":{"columns":[{"name":"a","type":"number","levels":[],"reason":null}],"label":null,"weight":'
    b'null,"format":{"type":"csv"},"warnings":[],"profile":[{"name":"a","type":"number","missing":0,"distinct":2,"use":'
    b'true,"relation":null,"min":1,"max":2,"mean":1.5,"std":0.5,"quantiles":[1,2],"histogram":null}]},"arrays":'
    b'[[{"dtype":"<f8","spans":[[0,16]]}]]}'
)
#: What the reader of a child's document catches.
_UNBELIEVED = (TrainyardError, ValueError, KeyError, TypeError, AttributeError, OverflowError)
_TRAINING = b'{"model":"m","data":{"inputs":[[1]],"labels":[0]},"epochs":3,"validation":0.5,"publish":"best"}'
_DEFINITION = b'{"name":"m","inputs":2,"classes":["a","b"],"hidden":[3],"optimizer":{"type":"adam"},"loss":"focal"}'
_FEATURES = b'{"name":"m","classes":2,"features":[{"column":"a","type":"number","scale":"log","missing":"mean"}]}'
_SEARCH = b'{"train":{"model":"m","data":"d"},"over":{"/optimizer/learning_rate":{"min":0.1,"max":1,"scale":"log"}}}'

PARSERS: tuple[Parser, ...] = (
    Parser("head", _head, (_GOOD_HEAD, b"GET http://a/%41?b HTTP/1.0", b"OPTIONS * HTTP/1.1\r\nHost: [::1]"), _HTTP),
    Parser("trailer", _fields, (b"X: a\r\nY: b",), _HTTP),
    Parser("chunks", _chunks, (b"5;a=b\r\nhello\r\n0\r\nX: a\r\n\r\n", b"1\r\na\r\n0\r\n\r\nGET /"), _HTTP),
    Parser("JSON", _json, (b'{"inputs":[@],"a":[1.5e3,null,"\\u00e9:"]}', b'{"data":{"inputs":[@,[1,2,3]]}}', b"[1]")),
    Parser("options", _documents(_options), (b'{"label":"a","types":{"b":"number"},"missing":["x"],"decimal":","}',)),
    Parser("options in a query", _query_options, (b"label=a&types=b:number&missing=x,y&encoding=cp1252&dates=%d",)),
    Parser("dialect", _table, _TABLES, (TrainyardError, csv.Error), 400),
    Parser("stated table", lambda data: ReadTable.of(orjson.loads(data), 16), (_DETAILS,), _UNBELIEVED),
    Parser("definition", _documents(_definition), (_DEFINITION, _FEATURES), _LOADED, 256),
    Parser("training", _documents(TrainSchema().load), (_TRAINING,), _LOADED, 256),
    Parser("search", _documents(SweepSchema().load), (_SEARCH,), _LOADED, 256),
    Parser("version", _documents(require_version_form), (b"1", b'"default"', b'{"job":"job_1","checkpoint":"best"}')),
    Parser("where", _text(lambda text: condition_of(text, _COLUMNS, "/where")), (b"a:1", b"a:b:x", b"day:2024-01-01")),
    Parser("idempotency key", _text(idempotency.key_of), (b"a-b", b'"a \\" b"')),
    Parser("file name", _text(_file_name), ("Größe (2).csv.gz".encode(),)),
    Parser("pages", _pages, (b"limit=5&after=3:17&member=2",), _LOADED),
    Parser("gzip", _gzip, (_ZIPPED,), _FLASK),
    Parser("form", _form, (_FORM,), _FLASK, 256),
    Parser("file headers", _disposition, _FILES, _FLASK),
    Parser("range", _range, (b"bytes=0-9", b'bytes=-5\n"a"', b"bytes=1000-"), _FLASK),
)
