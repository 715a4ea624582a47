"""Answers that are compressed if the request accepts it (RFC 9110, section 12.5.3)."""

from __future__ import annotations

import gzip
import zlib

from service.web.protocols.exchange import Reply

__all__ = ["compressed"]

#: Bytes of a body from which on it is compressed. Many clients accept it without a wish for it, and it takes a multiple
#: of the time in which most rows are predicted. So long an answer is never made on the loop, which must not wait.
WORTH = 128 * 1024
#: Higher levels take several times as long for numbers, which they hardly make smaller.
_LEVEL = 1


def compressed(reply: Reply, accepted: str) -> Reply:
    """The reply with its body compressed by what ``Accept-Encoding`` accepts; the same one if that is not worth it.

    Only JSON is: the raw bytes of probabilities become hardly smaller.
    """
    body = reply.body
    if not isinstance(body, bytes) or len(body) < WORTH or reply.content_type != "application/json":
        return reply
    coding = _coding(accepted)
    if coding is None:
        return reply
    smaller = gzip.compress(body, _LEVEL, mtime=0) if coding == "gzip" else zlib.compress(body, _LEVEL)
    return reply._replace(body=smaller, headers=(*reply.headers, ("Content-Encoding", coding)))


def _coding(accepted: str) -> str | None:
    """The coding with the highest weight that is offered, gzip of equal ones; None if none is accepted."""
    weights: dict[str, float] = {}
    for part in accepted.lower().split(","):
        name, _, parameter = part.partition(";")
        weights[name.strip()] = _weight(parameter)
    best = max(("gzip", "deflate"), key=lambda name: weights.get(name, weights.get("*", 0.0)))
    return best if weights.get(best, weights.get("*", 0.0)) > 0 else None


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
