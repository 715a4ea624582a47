"""Pages of the console: one shell for all its addresses, and its modules, styles and samples as files."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, redirect, request, send_from_directory

__all__ = ["HEADERS", "routes"]

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


@routes.get("/console/static/<path:name>")
def static(name: str) -> Response:
    """Send a file. Browsers keep a copy and ask whether it still holds, so a new release shows at once."""
    return _file(name)


@routes.get("/console/")
@routes.get("/console/<path:address>")
def shell(address: str = "") -> Response:
    """Send the page that all screens share; its router reads the address."""
    return _file("index.html")


@routes.get("/console")
@routes.get("/favicon.ico")
def elsewhere() -> Response:
    """Lead to the console, or to its picture, from addresses that browsers and people try."""
    place = "/console/static/icon.svg" if request.path == "/favicon.ico" else "/console/"
    return redirect(place, 308)  # type: ignore[return-value]


def _file(name: str) -> Response:
    response = send_from_directory(STATIC, name, max_age=None)
    response.headers["Cache-Control"] = "no-cache"
    return response
