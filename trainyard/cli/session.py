"""What a command has: the service that it talks to, and where it prints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import click

from trainyard.cli.output import Output

if TYPE_CHECKING:
    from trainyard.addresses import Address
    from trainyard.requests import Request
    from trainyard.responses import Response
    from trainyard.transport import HttpTransport

__all__ = ["Choices", "Session"]

#: Seconds without a byte after which the service counts as gone; what it is sent it may read and compute for longer.
PATIENCE, LONG_PATIENCE = 30.0, 300.0


@dataclass
class Choices:
    """The options that every command has."""

    url: str | None = None
    key: str | None = None
    quiet: bool = False
    as_json: bool = False
    curl: bool = False


class Session:
    """One command's service and output, made when they are needed."""

    def __init__(self, choices: Choices) -> None:
        self.choices = choices

    @cached_property
    def output(self) -> Output:
        """Where the command prints."""
        return Output(as_json=self.choices.as_json, quiet=self.choices.quiet)

    @cached_property
    def address(self) -> Address:
        """Where the service is: what was given, else TRAINYARD_URL, else this machine."""
        import os

        from trainyard.addresses import DEFAULT_URL, Address

        given = self.choices.url or os.environ.get("TRAINYARD_URL") or DEFAULT_URL
        try:
            return Address.parse(given)
        except ValueError as error:
            raise click.UsageError(f"--url or TRAINYARD_URL: {error}") from None

    @property
    def key(self) -> str | None:
        """What was given, else TRAINYARD_KEY."""
        import os

        return (self.choices.key or os.environ.get("TRAINYARD_KEY") or "").strip() or None

    @cached_property
    def transport(self) -> HttpTransport:
        """Sends requests, again if that is safe."""
        from trainyard.transport import HttpTransport

        return HttpTransport(self.address, self.key, PATIENCE, retries=2)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if "transport" in self.__dict__:
            self.transport.close()

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> Request:
        """A request as a value; ``options`` are those of ``trainyard.requests.request_for``."""
        from trainyard.requests import request_for

        return request_for(method, path, body, **options)

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The service's document for a request. With --curl it is shown, and the command ends."""
        return self.send(self.request(method, path, body, **options)).json()

    def send(self, request: Request, *, stream: bool = False) -> Response:
        """The response to a request. With --curl it is shown, and the command ends."""
        self.show(request)
        timeout = PATIENCE if request.method == "GET" and not stream else LONG_PATIENCE
        return self.transport.send(request, stream=stream, timeout=timeout)

    def streamed(self, request: Request) -> AbstractContextManager[Response]:
        """The response to a request whose answer is long, to be closed."""
        return self.send(request, stream=True)

    def show(self, *requests: Request | str) -> None:
        """With --curl, print these requests, which may be lines already, and end the command."""
        if not self.choices.curl:
            return
        for request in requests:
            click.echo(request if isinstance(request, str) else self.curl(request))
        if self.choices.key:
            click.echo("The lines take the key from the variable TRAINYARD_KEY.", err=True)
        raise click.exceptions.Exit(0)

    def curl(self, request: Request) -> str:
        """A request as a line for a shell."""
        from trainyard.cli.curl import curl_line

        return curl_line(self.address, request, has_key=self.key is not None)

    def result(self, document: Any, show: Callable[[], None]) -> None:
        """Print the service's document if it is asked for, else what ``show`` prints."""
        if self.output.as_json:
            self.output.document(document)
        else:
            show()

    def pages(
        self,
        path: str,
        query: Mapping[str, Any],
        limit: int,
        place: Callable[[Mapping[str, Any]], Any] = itemgetter("id"),
    ) -> dict[str, Any]:
        """So many entries of a list from as many pages as that takes, as one document of the service's form."""
        rows: list[Any] = []
        asked = dict(query)
        while True:
            page = self.ask("GET", path, query={**asked, "limit": min(100, limit - len(rows))})
            rows += page["data"]
            if not page["has_more"] or len(rows) >= limit:
                return {**page, "data": rows}
            asked["after"] = page.get("after") or place(rows[-1])
