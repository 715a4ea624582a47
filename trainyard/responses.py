"""What the service answers."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from trainyard.closing import Closing
from trainyard.errors import Unreachable
from trainyard.requests import Request

__all__ = ["Response"]

BLOCK = 1 << 16


class Response(Closing):
    """A response: its ``status``, its ``headers`` by lower-case name, and its body.

    The body is in ``content``. If a stream was asked for, it is read by iterating over its blocks, ``lines()`` or
    ``save(path)``, and closed by ``close()`` or at the end of a with-block.
    """

    def __init__(
        self,
        url: str,
        request: Request,
        answer: http.client.HTTPResponse,
        close: Callable[[], None] | None = None,
        *,
        repeated: bool = False,
    ) -> None:
        self.request = request
        self.status = answer.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in answer.getheaders()}
        #: Whether the request was sent before, and may have been carried out then.
        self.repeated = repeated
        self._url, self._answer, self._close = url, answer, close
        self._content: bytes | None = None

    @property
    def content(self) -> bytes:
        """The whole body."""
        if self._content is None:
            self._content = b"".join(self)
        return self._content

    @property
    def text(self) -> str:
        """The whole body as text."""
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The document in the body."""
        return json.loads(self.content)

    @property
    def is_json(self) -> bool:
        """Whether the body says that it is a JSON document."""
        return self.headers.get("content-type", "").partition(";")[0].endswith("json")

    def __iter__(self) -> Iterator[bytes]:
        """The blocks of the body as they arrive; raises Unreachable if the connection breaks before the end."""
        try:
            while block := self._answer.read1(BLOCK):
                yield block
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(self._url, f"the connection broke: {str(error) or type(error).__name__}") from error
        if self._answer.length:
            raise Unreachable(self._url, f"the connection broke {self._answer.length} bytes before the end")
        self._answer.close()  # read1 does not say that the end was reached: the connection would not be free

    def lines(self) -> Iterator[str]:
        """The lines of the body as they arrive, without their ends."""
        rest = b""
        for block in self:
            *whole, rest = (rest + block).split(b"\n")
            for line in whole:
                yield line.removesuffix(b"\r").decode()
        if rest:
            yield rest.decode()

    def save(self, path: str | os.PathLike[str], check: Callable[[Path], None] | None = None) -> Path:
        """Write the body to a file, which is there as a whole or not at all.

        ``check`` may look at it before that, and raise an error.
        """
        import tempfile  # takes 10 ms, which a command that saves nothing need not wait for

        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=".trainyard-") as folder:
            part = Path(folder) / place.name
            with part.open("wb") as file:
                file.writelines(self)
            if check is not None:
                check(part)
            part.replace(place)
        return place

    def close(self) -> None:
        """Close the connection of a stream."""
        if self._close is not None:
            self._close()

    def __repr__(self) -> str:
        return f"<Response {self.status} to {self.request.method} {self.request.target}>"
