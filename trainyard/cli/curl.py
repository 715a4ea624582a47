"""A request as a line for a shell."""

from __future__ import annotations

import shlex

from trainyard.addresses import Address
from trainyard.bodies import FileBody, JsonBody, NoBody, RawBody
from trainyard.requests import Request

__all__ = ["curl_line"]

#: The service knows a body by its content, and a line is not sent again by itself.
_LEFT_OUT = ("Content-Type", "Idempotency-Key")


def curl_line(address: Address, request: Request, *, has_key: bool = False) -> str:
    """The line that sends ``request`` with curl.

    A key is taken from the variable TRAINYARD_KEY, so that it does not show.
    """
    if address.scheme == "unix":
        words = ["curl", "--unix-socket", shlex.quote(address.host), shlex.quote(f"http://localhost{request.target}")]
    else:
        words = ["curl", shlex.quote(f"{address.url}{request.target}")]
    body = request.body
    if request.method != ("GET" if isinstance(body, NoBody) else "POST"):
        words += ["-X", request.method]
    if has_key:
        words += ["-H", '"Authorization: Bearer $TRAINYARD_KEY"']
    for name, value in request.headers.items():
        if name not in _LEFT_OUT and value != "*/*":
            words += ["-H", shlex.quote(f"{name}: {value}")]
    if isinstance(body, JsonBody):
        words += ["-d", shlex.quote(body.data.decode())]
    elif isinstance(body, RawBody):
        words += ["--data-binary", shlex.quote(body.data.decode("utf-8", "surrogateescape"))]
    elif isinstance(body, FileBody):
        words += ["--data-binary", shlex.quote(f"@{body.path}")]
    elif not isinstance(body, NoBody):
        words += ["--data-binary", "@-"]
    return " ".join(words)
