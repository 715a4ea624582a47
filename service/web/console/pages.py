"""Pages of the console: one shell for all its addresses, and its modules, styles and samples as files."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from flask import Blueprint, Response, abort, redirect, request
from werkzeug.security import safe_join

__all__ = ["HEADERS", "STATIC", "routes"]

#: Scripts and styles come from this service alone, none is inline, and no text becomes markup.
HEADERS = (
    (
        "Content-Security-Policy",
        (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
        ),
    ),
    ("Referrer-Policy", "no-referrer"),
)
STATIC = Path(__file__).resolve().parent / "static"

routes = Blueprint("console", __name__)


@routes.get("/console/static/<path:path>")
def static(path: str) -> Response:
    """Send a file. Browsers keep a copy and ask whether it still holds, so a new release shows at once."""
    return _file(path)


@routes.get("/console/")
@routes.get("/console/<path:address>")
def shell(address: str = "") -> Response:
    """Send the page that all screens share; its router reads the address."""
    if address.startswith("static/"):
        abort(404)
    return _file("index.html")


@routes.get("/console")
@routes.get("/favicon.ico")
def elsewhere() -> Response:
    """Lead to the console, or to its picture, from addresses that browsers and people try."""
    place = "/console/static/icon.svg" if request.path == "/favicon.ico" else "/console/"
    return redirect(place, 308)  # type: ignore[return-value]


class _Content(NamedTuple):
    """A file's bytes, plain and compressed, and what names them: equal bytes have equal tags."""

    plain: bytes
    compressed: bytes
    tag: str


@lru_cache(maxsize=256)
def _content(path: Path, _changed: int) -> _Content:
    plain = path.read_bytes()
    return _Content(plain, gzip.compress(plain, mtime=0), hashlib.sha256(plain).hexdigest()[:24])


def _file(name: str) -> Response:
    path = safe_join(str(STATIC), name)
    if path is None or not Path(path).is_file():
        abort(404)
    content = _content(Path(path), Path(path).stat().st_mtime_ns)
    zipped = request.accept_encodings["gzip"] > 0
    response = Response(content.compressed if zipped else content.plain)
    response.mimetype = mimetypes.guess_type(name)[0] or "application/octet-stream"
    response.set_etag(f"{content.tag}-gzip" if zipped else content.tag)
    response.headers["Cache-Control"] = "no-cache"
    response.vary.add("Accept-Encoding")
    if zipped:
        response.headers["Content-Encoding"] = "gzip"
    response.make_conditional(request)
    return response
