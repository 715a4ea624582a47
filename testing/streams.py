"""Event streams of the service, read line by line."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from testing.harness import Client

__all__ = ["Event", "Stream"]


class Event(NamedTuple):
    """One server-sent event."""

    id: int
    type: str
    data: dict[str, Any]


class Stream:
    """An event stream; ``last_id`` is the id from which a client would go on. With ``refused``, a 503 is no error."""

    def __init__(self, client: Client, path: str, last: int | None = None, *, refused: bool = False) -> None:
        self.last_id: int | None = last
        self._connection = http.client.HTTPConnection(urlsplit(client.base).netloc, timeout=30)
        headers = {"Accept": "text/event-stream", **({} if last is None else {"Last-Event-ID": str(last)})}
        self._connection.request("GET", path, headers=headers)
        self.response = self._connection.getresponse()
        if refused and self.response.status == 503:
            self._connection.close()
            return
        assert self.response.status == 200
        assert self.response.headers["Content-Type"].startswith("text/event-stream")

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.response.close()
        self._connection.close()

    def greeting(self) -> str:
        """The comment that comes first."""
        return self.response.readline().decode().strip(": \n")

    def __iter__(self) -> Iterator[Event]:
        fields: dict[str, str] = {}
        for raw in self.response:
            line = raw.decode().rstrip("\n")
            if line and not line.startswith(":"):
                field, _, value = line.partition(": ")
                fields[field] = value
            elif not line and fields:
                self.last_id = int(fields["id"])
                if "data" in fields:
                    yield Event(self.last_id, fields["event"], json.loads(fields["data"]))
                fields = {}
