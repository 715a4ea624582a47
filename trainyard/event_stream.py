"""Server-sent events (WHATWG HTML, section 9.2), over connections that may break."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from trainyard.errors import Busy, Unreachable
from trainyard.requests import Request
from trainyard.retrying import Patience
from trainyard.transport import Transport

__all__ = ["Event", "follow", "parse"]

#: Seconds without a sign of life after which a stream counts as broken; the service sends one every 15.
SILENCE = 40.0


@dataclass(frozen=True)
class Event:
    """What has happened to a job: ``type`` is ``state``, ``epoch``, ``checkpoint`` or ``log``, ``data`` its members.

    ``at`` is the time, which the list of events has and a stream has not.
    """

    id: int
    type: str
    data: Mapping[str, Any]
    at: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Event:
        """An entry of a list of events."""
        known = {name: document.get(name) for name in ("id", "type", "data", "at")}
        extra = {name: value for name, value in document.items() if name not in known}
        return cls(int(document["id"]), str(document["type"]), document["data"], known["at"], extra)


def parse(lines: Iterable[str]) -> Iterator[Event]:
    """The events in the lines of a stream; comments and other fields are left out."""
    number, kind, data = 0, "message", list[str]()
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield Event(number, kind, json.loads("\n".join(data)))
            kind, data = "message", []
        elif name == "id":
            number = int(value)
        elif name == "event":
            kind = value
        elif name == "data":
            data.append(value)


def follow(
    transport: Transport,
    request: Request,
    after: int | None,
    is_over: Callable[[], bool],
    patience: float,
) -> Iterator[Event]:
    """The events of a stream as they come.

    If the connection breaks or the stream ends, it goes on behind the last event, unless ``is_over`` says that nothing
    will follow. Raises Unreachable if the service was away for ``patience`` seconds.
    """
    waiting, last = Patience(patience), after
    while True:
        resumed, before = request if last is None else _behind(request, last), last
        try:
            with transport.send(resumed, stream=True, timeout=SILENCE, retries=0) as response:
                waiting.renew()
                for event in parse(response.lines()):
                    last = event.id
                    yield event
            if is_over():
                return
            if last == before:
                waiting.wait()  # A service that is about to stop ends streams at once.
        except (Unreachable, Busy) as error:
            if not waiting.wait(error.retry_after if isinstance(error, Busy) else None):
                raise


def _behind(request: Request, last: int) -> Request:
    return Request(request.method, request.target, {**request.headers, "Last-Event-ID": str(last)})
