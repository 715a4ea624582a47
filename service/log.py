"""The log of a process: one line for each message on standard error, as JSON, or as text for a person at a terminal.

The code logs by the standard library's ``logging``. No line has a row of data or a secret: calls do not log them, what
an exception quotes is left out, and whatever looks like a key is.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Iterator, MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from models.clock import rfc3339, utc_now
from models.errors import shortened
from service.log_output import Output

if TYPE_CHECKING:
    from structlog.stdlib import ProcessorFormatter

__all__ = ["configure", "formatter", "make_ready", "message_of", "output", "redacted", "shows_text"]

#: Characters of a message, and of an exception, of which the end says most.
EVENT_LENGTH, EXCEPTION_LENGTH = 2_000, 8_000
#: Characters of the message of an exception within its traceback.
QUOTED_LENGTH = 300
#: What looks like a key of this service.
_SECRET = re.compile(r"ty_[A-Za-z0-9_]{20,}")
#: Characters that may control a terminal, or end a line for some readers. JSON escapes the others.
_CONTROLS = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_ALL_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
#: What an exception quotes: a value that was received, a key, a cell of a table.
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)

Event = MutableMapping[str, Any]


def configure(process: str, form: str) -> None:
    """Log as ``process`` from now on, on standard error; ``form`` is ``TRAINYARD_LOG_FORMAT``.

    Warnings and exceptions that nothing handles become lines too.
    """
    formatter.process = process
    formatter.text = sys.stderr.isatty() if form == "auto" else form == "text"
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    root.addHandler(_Handler())
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    sys.excepthook = _report
    threading.excepthook = lambda failed: _report(failed.exc_type, failed.exc_value, failed.exc_traceback)


def make_ready() -> None:
    """Import what makes lines now: for processes that must not open a file later, or should not take the time."""
    formatter.make_ready()


def shows_text() -> bool:
    """Whether lines are text for a person, rather than JSON."""
    return formatter.text


def redacted(text: str) -> str:
    """A text, or lines, without what looks like a key."""
    return _SECRET.sub("ty_…", text) if "ty_" in text else text


class Formatter(logging.Formatter):
    """Makes a line of a record. structlog is imported with the first one: that takes longer than some processes need
    to start, and many of them log nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.process, self.text = "python", False
        self._made: tuple[bool, ProcessorFormatter] | None = None

    def format(self, record: logging.LogRecord) -> str:
        return self.make_ready().format(record)

    def make_ready(self) -> ProcessorFormatter:
        """Import structlog. Returns its formatter."""
        if self._made is None or self._made[0] is not self.text:
            self._made = self.text, self._make()
        return self._made[1]

    def _make(self) -> ProcessorFormatter:
        import orjson
        from structlog.processors import ExceptionRenderer, JSONRenderer
        from structlog.stdlib import ExtraAdder, ProcessorFormatter

        def dumps(event: Any, **_: Any) -> str:
            return orjson.dumps(event, default=str).decode()

        end: Any = _text if self.text else JSONRenderer(serializer=dumps)
        return ProcessorFormatter(
            foreign_pre_chain=[self._begin, ExtraAdder()],
            processors=[ProcessorFormatter.remove_processors_meta, ExceptionRenderer(_exception), _clean, end],
        )

    def _begin(self, _logger: Any, _name: str, event: Event) -> Event:
        record: logging.LogRecord = event["_record"]
        return {
            "at": rfc3339(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "process": self.process,
            "pid": os.getpid(),
            "logger": record.name,
            **event,
        }


#: Makes the lines of this process.
formatter = Formatter()


def _dropped(lines: int) -> bytes:
    if formatter.text:
        return f"{utc_now()} {formatter.process} warning {lines} lines of the log were dropped\n".encode()
    line = (
        f'{{"at":"{utc_now()}","level":"warning","process":"{formatter.process}","pid":{os.getpid()},'
        f'"logger":"trainyard.log","event":"lines of the log were dropped","dropped":{lines}}}\n'
    )
    return line.encode()


#: Standard error, for all lines of this process.
output = Output(2, _dropped)


class _Handler(logging.Handler):
    """Writes to ``output``."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            output.write([f"{self.format(record)}\n".encode()])
        except Exception:  # noqa: BLE001 - as every handler of logging
            self.handleError(record)


def _report(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if error is None or issubclass(kind, (KeyboardInterrupt, SystemExit)):
        return
    logging.getLogger("trainyard").critical("an exception ended this thread", exc_info=(kind, error, trace))


def _clean(_logger: Any, _name: str, event: Event) -> Event:
    """Texts without secrets and control characters, of a length that a log can take."""
    for key, value in event.items():
        if isinstance(value, str):
            exception = key == "exception"
            text = value[-EXCEPTION_LENGTH:] if exception else shortened(value, EVENT_LENGTH)
            text = text.encode(errors="replace").decode()
            event[key] = _CONTROLS.sub(_escaped, redacted(text))
    return event


def _escaped(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]


def _exception(exc_info: tuple[type[BaseException], BaseException, TracebackType | None]) -> str:
    """The traceback of an exception and of its causes, the newest exception last.

    Messages are without what they quote, except those of the system and of SQLAlchemy's drivers, which quote no data.
    """
    return "\n".join(reversed([_one(error) for error in _chain(exc_info[1])]))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _one(error: BaseException) -> str:
    frames = "".join(traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__)).format())
    return f"Traceback (most recent call last):\n{frames}{type(error).__qualname__}: {message_of(error)}"


def message_of(error: BaseException) -> str:
    """What an exception says, in one line and without what it quotes, which may be a value that a client has sent."""
    text = str(error)
    if not isinstance(error, OSError):
        text = _QUOTED.sub("'…'", text)
    return shortened(text.partition("\n")[0], QUOTED_LENGTH)


def _text(_logger: Any, _name: str, event: Event) -> str:
    """A line for a person; an exception follows in lines of its own."""
    shown = dict(event)
    exception = shown.pop("exception", None)
    first = " ".join(str(shown.pop(name)) for name in ("at", "process", "level", "event"))
    rest = "".join(f" {name}={value}" for name, value in shown.items() if name not in ("pid", "logger"))
    line = _ALL_CONTROLS.sub(_escaped, first + rest)
    return line if exception is None else f"{line}\n{exception}"
