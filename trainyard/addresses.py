"""Where a service is: the parts of its URL."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["DEFAULT_URL", "Address"]

DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Address:
    """The address of a service: over TCP, with TLS or without, or a socket in the file system.

    ``prefix`` comes before each path, for a service behind a proxy.
    """

    scheme: str
    host: str
    port: int | None
    prefix: str = ""

    @classmethod
    def parse(cls, url: str) -> Address:
        """The address in ``http://HOST:PORT``, ``https://HOST/PREFIX``, ``HOST:PORT`` or ``unix:PATH``.

        Raises ValueError for anything else.
        """
        if url.startswith("unix:"):
            return cls("unix", url.removeprefix("unix:").removeprefix("//"), None)
        whole = url if "://" in url else f"http://{url}"
        parts = urlsplit(whole)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"must be http://HOST:PORT, https://HOST or unix:PATH. Received: {url!r}")
        if parts.username is not None or parts.password is not None:
            raise ValueError("a URL must have no name and password: give the key as `key`, or in TRAINYARD_KEY")
        return cls(parts.scheme, parts.hostname, parts.port, parts.path.rstrip("/"))

    @property
    def url(self) -> str:
        """The address as text, without a slash at its end."""
        if self.scheme == "unix":
            return f"unix:{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.prefix}"

    @property
    def is_this_machine(self) -> bool:
        """Whether no network lies between."""
        return self.scheme == "unix" or self.host in ("127.0.0.1", "::1", "localhost")
