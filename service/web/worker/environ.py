"""The part of the WSGI environment (PEP 3333) that does not come from a request's head."""

from __future__ import annotations

import os
from typing import IO, Any

from gunicorn.config import Config
from gunicorn.http.message import _ip_in_allow_list
from gunicorn.http.wsgi import FileWrapper, WSGIErrorsWrapper

from service.web.worker.head import Rules

__all__ = ["Peer", "Server"]

#: Gunicorn counts these as "the default", and others as "as many as allowed".
_MOST_FIELDS = 32_768
_MOST_LINE = 8_190


#: Bytes of a file that are sent at a time. Each piece is handed from a thread to the loop.
_PIECE_BYTES = 262_144


def _file_wrapper(file: IO[bytes], size: int = 0) -> FileWrapper:
    """A file as the body of a response (PEP 3333). ``size`` is a suggestion, and may be too small."""
    return FileWrapper(file, max(size, _PIECE_BYTES))


class Server:
    """What is the same for all requests of a worker."""

    def __init__(self, cfg: Config) -> None:
        self._cfg = cfg
        self.environment: dict[str, Any] = {
            "wsgi.version": (1, 0),
            "wsgi.errors": WSGIErrorsWrapper(cfg),
            "wsgi.multithread": True,
            "wsgi.multiprocess": cfg.workers > 1,
            "wsgi.run_once": False,
            "wsgi.file_wrapper": _file_wrapper,
            "SERVER_SOFTWARE": "trainyard",
            "SCRIPT_NAME": "",
        }

    def rules(self) -> Rules:
        """The limits and the trust of gunicorn's settings."""
        cfg = self._cfg
        line, fields, size = cfg.limit_request_line, cfg.limit_request_fields, cfg.limit_request_field_size
        return Rules(
            limit_request_line=_MOST_LINE if line < 0 else min(line, _MOST_LINE),
            limit_request_fields=fields if 0 < fields <= _MOST_FIELDS else _MOST_FIELDS,
            limit_request_field_size=size if size > 0 else _MOST_LINE,
            header_map=cfg.header_map,
            script_name=os.environ.get("SCRIPT_NAME", ""),
            secure_scheme_headers={
                f"HTTP_{name.upper().replace('-', '_')}": value for name, value in cfg.secure_scheme_headers.items()
            },
            forwarder_headers=frozenset(name.upper() for name in cfg.forwarder_headers),
            trusts=self._trusts,
            scheme="https" if cfg.is_ssl else "http",
        )

    def _trusts(self, address: str | None) -> bool:
        cfg = self._cfg
        return address is None or _ip_in_allow_list(address, cfg.forwarded_allow_ips, cfg.forwarded_allow_networks())

    def complete(self, environ: dict[str, Any], peer: Peer, size: int, body: IO[bytes]) -> dict[str, Any]:
        """The whole environment of a request whose body has ``size`` bytes."""
        whole = {**self.environment, **peer.environment, **environ, "wsgi.input": body}
        if size or "CONTENT_LENGTH" in environ:
            whole["CONTENT_LENGTH"] = str(size)
        elif environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            whole["CONTENT_LENGTH"] = "0"
        if "SERVER_NAME" not in whole:  # A Unix socket has no name.
            # A host in brackets is an address, which has colons, too.
            host, bracket, port = environ.get("HTTP_HOST", "").rpartition("]")
            name, _, port = port.partition(":")
            whole["SERVER_NAME"] = host + bracket + name
            whole["SERVER_PORT"] = port or ("443" if environ["wsgi.url_scheme"] == "https" else "80")
        return whole


class Peer:
    """A client: its address, and what the environment has of it and of our end of the connection."""

    def __init__(self, client: Any, server: Any) -> None:
        self.address: str | None = client[0] if isinstance(client, tuple) else None
        self.environment: dict[str, Any] = {"REMOTE_ADDR": self.address or ""}
        if self.address is not None:
            self.environment["REMOTE_PORT"] = str(client[1])
        if isinstance(server, tuple):
            self.environment |= {"SERVER_NAME": server[0], "SERVER_PORT": str(server[1])}
