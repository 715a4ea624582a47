"""What a client raises: one class for each thing that a caller can do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "Busy",
    "Conflict",
    "Fault",
    "Forbidden",
    "Invalid",
    "JobFailed",
    "NotFound",
    "Refused",
    "TrainyardError",
    "Unauthorized",
    "Unreachable",
    "refusal",
]


class TrainyardError(Exception):
    """The base of all errors of this package."""


class Unreachable(TrainyardError):  # noqa: N818 - a state of the service, as NotFound and Busy are
    """The service did not answer: nothing listens there, the connection broke, or the time was up."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"no answer from the service at {url}: {reason}")
        self.url = url
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.url, self.reason)


@dataclass(frozen=True)
class Fault:
    """One fault of a request: where it is, and what is wrong there."""

    pointer: str
    detail: str
    row: int | None = None
    line: int | None = None
    column: str | None = None

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Fault:
        """A member of ``errors`` in a problem document."""
        places = {name: entry.get(name) for name in ("row", "line", "column")}
        return cls(str(entry.get("pointer", "")), str(entry.get("detail", "")), **places)

    def __str__(self) -> str:
        places = [
            f"{name} {getattr(self, name)}" for name in ("row", "line", "column") if getattr(self, name) is not None
        ]
        place = " ".join([self.pointer, f"({', '.join(places)})" if places else ""]).strip()
        return f"{place}: {self.detail}" if place else self.detail


class Refused(TrainyardError):  # noqa: N818
    """The service answered with an error.

    ``status`` is that of HTTP, ``code`` a stable word (docs/errors.md), ``detail`` a sentence, ``errors`` the faults
    of the request, ``total`` their number if there are more than are listed, and ``request_id`` what the service's log
    knows the request by. ``retry_after`` is the number of seconds after which the service asks to try again, and
    ``repeated`` says that the request was sent before and may have been carried out then.
    """

    repeated = False
    #: The problem document (RFC 9457), or the text of an answer that is none.
    document: Any = None

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: tuple[Fault, ...] = (),
        request_id: str | None = None,
        *,
        total: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(status, code, detail, errors, request_id)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        self.request_id = request_id
        self.total = len(errors) if total is None else total
        self.retry_after = retry_after

    def __str__(self) -> str:
        faults = [str(error) for error in self.errors]
        # The detail of a single fault, or the beginning of that of many, is the first fault.
        lines = faults if faults and self.detail.startswith(faults[0]) else [self.detail, *faults]
        if self.total > len(self.errors):
            lines.append(f"and {self.total - len(self.errors)} more")
        request = f", request {self.request_id}" if self.request_id else ""
        return "\n  ".join(lines) + f" [{self.status} {self.code}{request}]"

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.args, self.total, self.retry_after), {"document": self.document}


def _again(kind: type[Refused], arguments: tuple[Any, ...], total: int, retry_after: float | None) -> Refused:
    """A pickled refusal."""
    return kind(*arguments, total=total, retry_after=retry_after)


class Unauthorized(Refused):
    """401: the request has no key, or one that is not good."""


class Forbidden(Refused):
    """403: the key may not do this."""


class NotFound(Refused):
    """404: it does not exist, or belongs to somebody else."""


class Conflict(Refused):
    """409: the present state does not allow it."""


class Invalid(Refused):
    """400, 413 to 415 or 422: the request itself must be changed; ``errors`` says where."""


class Busy(Refused):
    """429 or 503: a quota is used up, or the service has too much to do."""


_BY_STATUS: dict[int, type[Refused]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: Invalid,
    414: Invalid,
    415: Invalid,
    422: Invalid,
    429: Busy,
    503: Busy,
}


def refusal(status: int, problem: Any, headers: Mapping[str, str]) -> Refused:
    """The error for a response with this status; ``problem`` is its document, or its text if it is none."""
    document: Mapping[str, Any] = problem if isinstance(problem, Mapping) else {}
    text = problem if isinstance(problem, str) else ""
    seconds = headers.get("retry-after", "")
    refused = _BY_STATUS.get(status, Refused)(
        status,
        str(document.get("code", "unknown")),
        str(document.get("detail") or document.get("title") or text.strip()[:300] or f"the service answered {status}"),
        tuple(Fault.of(entry) for entry in document.get("errors") or ()),
        document.get("request_id") or headers.get("x-request-id"),
        total=document.get("errors_total"),
        retry_after=float(seconds) if seconds.isdecimal() else None,
    )
    refused.document = problem
    return refused


class JobFailed(TrainyardError):  # noqa: N818
    """A job has failed or was cancelled; ``job`` is its last state, ``code`` and ``detail`` say why."""

    def __init__(self, code: str, detail: str, job: Any) -> None:
        super().__init__(code, detail, job)
        self.code = code
        self.detail = detail
        self.job = job

    def __str__(self) -> str:
        return f"{self.job.id} {self.job.state}: {self.detail} [{self.code}]"
